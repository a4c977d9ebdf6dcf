"""vael reproduce: a published figure, fitted again."""

from typing import Annotated

from cyclopts import Parameter

from vael.cli.options import Device, Json, Output


def reproduce(
    recipe: str,
    /,
    *,
    output: Output = None,
    device: Device = "cpu",
    quiet: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
    **options: str,
) -> None:
    """Fit and evaluate a ready RECIPE, and print what is expected beside what came; fails when a figure is missed.

    Example: vael reproduce bbans-mnist

    Parameters
    ----------
    recipe
        A name from `vael recipes`, or a .toml file.
    output
        Where its runs go, runs/<recipe>-1, -2, … when left out; runs that stand there are taken up where they ended.
    quiet
        No progress on stderr.
    options
        The recipe's own options, such as --stages 4.
    """
    from vael.cli.show import Watcher, say, say_json
    from vael.errors import TrainingError
    from vael.runs.fit import nothing
    from vael.runs.reproduce import reproduce as run_again
    from vael.runs.reproduce import told

    found = run_again(recipe, options=options, output=output, device=device, watch=nothing if quiet else Watcher())
    for name, figures in found.measured.items():
        words = [
            f"{figure} {told(number['value'], number['standard_error'])}"
            for figure, number in figures.items()
            if number is not None
        ]
        say(f"{name:<11} {', '.join(words)} nats")
    for verdict in found.verdicts:
        say(str(verdict))
    for picture in found.pictures:
        say(f"picture     {picture}")
    say(f"runs        {found.folder}")
    if json:
        say_json(found.to_json())
    if not found.met:
        missed = sum(not verdict.met for verdict in found.verdicts)
        raise TrainingError(f"{recipe}: {missed} of {len(found.verdicts)} expected figures are missed.")
