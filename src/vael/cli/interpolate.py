"""vael interpolate: examples along the way from one row to another."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vael.cli.options import Device, Json, Output, row_numbers


def interpolate(
    run: Path | None = None,
    data: str | None = None,
    /,
    *,
    rows: str,
    steps: int = 10,
    spherical: Annotated[bool, Parameter(negative="")] = False,
    output: Output = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Write the centres of p(x|z) along the way between the posterior means of two or more rows.

    A .png has a line of pictures for each pair of rows, with the two originals at its ends; a table has the columns
    of the data, and from_row, to_row and step before them.
    Example: vael interpolate runs/digits-1 --rows 3,8 -o way.png

    Parameters
    ----------
    run
        A run folder; the latest in runs/ when left out.
    data
        Other data, to take the rows from; the run's own when left out.
    rows
        Numbers of the rows, such as 3,8 or 3,8,12, counted from 1, below a table's header. The run's own data are
        counted as they stand in their source, whatever split a row is in.
    steps
        Points of each way, both ends among them.
    spherical
        Along great circles of the latent space instead of straight lines.
    output
        .png for pictures; .csv, .csv.gz, .parquet or .npz for any data. figures/interpolation.* when left out.
    """
    from vael.cli.show import say, say_json
    from vael.cli.write import default_output, lined_up, numbered, write
    from vael.data import originals
    from vael.runs import load

    found, numbers = load(run, device=device), row_numbers(rows)
    columns = found.interpolate(numbers, data, steps=steps, spherical=spherical)
    path = output or default_output(found, "interpolation")
    if path.suffix.lower() == ".png":
        ends = originals(found.rows(numbers, data), found.schema)
        write(path, lined_up(ends, columns, steps), found.schema, across=steps + 2, apart=(1, steps + 1))
    else:
        write(path, numbered(numbers, columns, steps), found.schema)
    ways = len(numbers) - 1
    say(f"wrote       {path} ({ways} way{'s' * (ways != 1)} of {steps} steps)")
    if json:
        say_json({"run": str(found.folder), "file": str(path), "rows": numbers, "steps": steps, "spherical": spherical})
