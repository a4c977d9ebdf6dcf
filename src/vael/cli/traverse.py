"""vael traverse: what x does when one latent moves."""

from pathlib import Path

from vael.cli.options import Device, Json, Output, row_numbers


def traverse(
    run: Path | None = None,
    data: str | None = None,
    /,
    *,
    row: int | None = None,
    units: str | None = None,
    steps: int = 9,
    output: Output = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Write centres of p(x|z) with one unit of z at a time moved through the quantiles of N(0, 1).

    A .png has a line of pictures for each unit; a table has the columns of the data, and unit and value before them.
    Example: vael traverse runs/digits-1 --row 3 -o units.png

    Parameters
    ----------
    run
        A run folder; the latest in runs/ when left out.
    data
        Other data, to take the row from; the run's own when left out.
    row
        The row whose posterior mean is moved, counted from 1; z = 0 when left out.
    units
        Numbers of the units, such as 1,4,7; the eight whose posterior mean moves most over the test split when left
        out.
    steps
        Values of each unit, from the 2 % quantile of N(0, 1) to its 98 %.
    output
        .png for pictures; .csv, .csv.gz, .parquet or .npz for any data. figures/traversal.* when left out.
    """
    from vael.cli.show import say, say_json
    from vael.cli.write import default_output, write
    from vael.runs import load

    found = load(run, device=device)
    chosen = None if units is None else [number - 1 for number in row_numbers(units)]
    columns, moved = found.traverse(row, data, units=chosen, steps=steps)
    path = output or default_output(found, "traversal")
    if path.suffix.lower() == ".png":
        columns = {name: column for name, column in columns.items() if name not in ("unit", "value")}
    write(path, columns, found.schema, across=steps)
    names = ", ".join(f"z{unit + 1}" for unit in moved)
    say(f"wrote       {path} ({names}; {steps} values each)")
    if json:
        told = {"units": [unit + 1 for unit in moved], "steps": steps, "row": row}
        say_json({"run": str(found.folder), "file": str(path), **told})
