"""vael analogy: arithmetic on latents."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vael.cli.options import Device, Json, Output, pairs, row_numbers


def analogy(
    run: Path | None = None,
    data: str | None = None,
    /,
    *,
    rows: str,
    towards: Annotated[str | None, Parameter()] = None,
    away: Annotated[str | None, Parameter()] = None,
    steps: int = 7,
    output: Output = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Write what stands at z_c + z_b − z_a, or a row moved along the difference between two classes.

    Examples: vael analogy runs/digits-1 --rows 3,8,11 -o fourth.png
              vael analogy runs/digits-1 --rows 3 --towards digit=8 --away digit=3 -o moved.png

    Parameters
    ----------
    run
        A run folder; the latest in runs/ when left out.
    data
        Other data, to take the rows from; the run's own when left out.
    rows
        Three rows a,b,c, counted from 1: a is to b as c is to what is written. With --towards one row.
    towards
        LABEL=VALUE: the row moves by the mean latent of the training rows of that class …
    away
        … less that of this class; of all rows when left out.
    steps
        Places of that way: from 0 to the whole difference.
    output
        .png for pictures; .csv, .csv.gz, .parquet or .npz for any data. figures/analogy.* when left out.
    """
    from vael.cli.show import say, say_json
    from vael.cli.write import default_output, write
    from vael.errors import RecipeError
    from vael.runs import load

    found, numbers = load(run, device=device), row_numbers(rows)
    path = output or default_output(found, "analogy")
    if towards is None:
        if away is not None:
            raise RecipeError("--away: is where a way to --towards begins; give both, or three rows alone.")
        write(path, found.analogy(numbers, data), found.schema)
        say(f"wrote       {path} (row {numbers[0]} is to {numbers[1]} as {numbers[2]} is to this)")
    else:
        if len(numbers) != 1:
            raise RecipeError(f"--rows {rows}: with --towards a single row moves.")
        (there,) = pairs([towards], "--towards").items()
        back = None if away is None else next(iter(pairs([away], "--away").items()))
        write(path, found.moved(numbers[0], there, back, data, steps=steps), found.schema, across=steps)
        say(f"wrote       {path} (row {numbers[0]} towards {towards}, {steps} steps)")
    if json:
        told = {"rows": numbers, "towards": towards, "away": away}
        say_json({"run": str(found.folder), "file": str(path), **told})
