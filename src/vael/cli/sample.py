"""vael sample: new examples."""

from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vael.cli.options import Device, Engine, Json, Output, Seed


def sample(
    run: Path | None = None,
    /,
    *,
    number: Annotated[int, Parameter(name=["--number", "-n"])] = 64,
    mean: Annotated[bool, Parameter(negative="")] = False,
    given: Annotated[list[str] | None, Parameter(negative="")] = None,
    rows: str | None = None,
    output: Output = None,
    engine: Engine = "process",
    seed: Seed = 0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Draw new examples from RUN: a sheet of pictures, or a table in the data's own types and units.

    Example: vael sample runs/digits-1 -n 64 -o sheet.png

    Parameters
    ----------
    run
        A run folder; the latest in runs/ when left out.
    number
        How many.
    mean
        Show the centre of p(x|z) for each drawn z, instead of a draw from it.
    given
        NAME=VALUE of a conditional model, for every field it is conditioned on; may be repeated. What is given in
        training rows, drawn by the seed, when left out.
    rows
        Rows of the run's own data that what is given is taken from in turn, counted from 1, such as 3,8.
    output
        .png for pictures; .csv, .csv.gz, .parquet or .npz for any data. figures/samples.* in the run when left out. A
        folder, a name without an ending, gets .parquet files of a million rows; those that are there are left alone.
    """
    from vael.cli.options import row_numbers, values
    from vael.cli.show import say, say_json
    from vael.cli.write import default_output, in_bulk, in_one_file, write
    from vael.errors import RecipeError
    from vael.runs import load
    from vael.runs.bulk import is_folder, sampling_tasks

    said = values(given, "--given") if given else None
    if is_folder(output):
        if rows is not None:
            raise RecipeError("sample: --rows is for one file; in a folder say --given NAME=VALUE, the same for all.")
        tasks = partial(sampling_tasks, number=number, output=output, seed=seed, mean=mean, given=said)
        return in_bulk(run, tasks, output, engine=engine, device=device, json=json)
    in_one_file(engine)
    found = load(run, device=device)
    columns = found.sample(number, seed=seed, mean=mean, given=said, rows=row_numbers(rows) if rows else None)
    path = write(output or default_output(found, "samples"), columns, found.schema)
    say(f"wrote       {path} ({number} {'means' if mean else 'draws'}, seed {seed})")
    if json:
        say_json({"run": str(found.folder), "file": str(path), "examples": number, "mean": mean, "seed": seed})
