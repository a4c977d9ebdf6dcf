"""vael curve: distortion over rate, by a sweep over β."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from vael.cli.options import Device, Json, Output, Seed, about_data, values
from vael.errors import RecipeError


def curve(
    data: str,
    /,
    *,
    betas: str = "0.25,0.5,1,2,4,8",
    latent: int | None = None,
    likelihood: str | None = None,
    binarize: Literal["dynamic", "static", "threshold"] | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    column: Annotated[list[str] | None, Parameter(negative="")] = None,
    ignore: Annotated[list[str] | None, Parameter(negative="")] = None,
    label: Annotated[list[str] | None, Parameter(negative="")] = None,
    split: Annotated[list[str] | None, Parameter(negative="")] = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    output: Output = None,
    seed: Seed = 0,
    device: Device = "cpu",
    quiet: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
) -> None:
    """Fit DATA at each weight β of the rate, and draw where each model ends between rate and distortion.

    The test split is measured. Beside it stands the curve of the best linear model, where the likelihood is Gaussian.
    Example: vael curve wine --likelihood gaussian --set likelihood.scale=0.5 -o runs/wine-curve

    Parameters
    ----------
    data
        As for vael fit.
    betas
        Weights of the rate, above 0, with commas between them.
    latent, likelihood, binarize, epochs, steps, column, ignore, label
        As for vael fit, the same at each β.
    split
        As for vael fit: validation=SHARE, test=SHARE, or the name of a column.
    set_
        KEY=VALUE of the recipe, such as likelihood.scale=shared.
    output
        A folder for the runs, curve.json, curve.svg and curve.png; runs/<data>-curve-1, -2, … when left out. Runs that
        stand there are taken up where they ended.
    quiet
        No progress on stderr.
    """
    from vael.cli.show import Watcher, say, say_json
    from vael.files import write_bytes
    from vael.report.tradeoff import pictures
    from vael.runs.curve import curve as sweep
    from vael.runs.fit import nothing

    asked: dict[str, Any] = {
        "latent": latent, "likelihood": likelihood, "binarize": binarize, "epochs": epochs, "steps": steps,
        **about_data(
            column=column, ignore=ignore, label=label, missing=None, split=split, schema=None, resize=None,
            features=None,
        ),
    }  # fmt: skip
    found = sweep(
        data, betas=numbers(betas), output=output, settings=values(set_ or [], "--set"), seed=seed, device=device,
        watch=nothing if quiet else Watcher(), **{key: value for key, value in asked.items() if value is not None},
    )  # fmt: skip
    for ending, content in pictures(found.to_json()).items():
        write_bytes(Path(found.folder) / f"curve.{ending}", content)
    say(str(found))
    say(f"wrote       {found.folder}/curve.svg, curve.png, curve.json")
    if json:
        say_json(found.to_json())


def numbers(text: str) -> list[float]:
    """`0.5,1,2` as numbers. Raises RecipeError for anything else."""
    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        raise RecipeError(f"--betas {text}: expected numbers with commas between them, such as 0.5,1,2.") from error
