"""vael reconstruct: what the model makes of each example."""

from functools import partial
from pathlib import Path
from typing import Literal

from vael.cli.options import Device, Engine, Json, Output


def reconstruct(
    run: Path | None = None,
    data: str | None = None,
    /,
    *,
    split: Literal["train", "validation", "test"] | None = None,
    output: Output = None,
    engine: Engine = "process",
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Write the centre of p(x|z) at the posterior mean of every example.

    A .png shows the first 64 beside their originals.
    Example: vael reconstruct runs/digits-1 -o pairs.png

    Parameters
    ----------
    run
        A run folder; the latest in runs/ when left out.
    data
        Other data; every row of it is reconstructed. A .parquet or .feather file, or a folder of them,
        where the output is a folder.
    split
        Which part of the run's own data, when DATA is left out; test by default.
    output
        .png for pictures; .csv, .csv.gz, .parquet or .npz for any data. figures/reconstructions.* when left out. A
        folder, a name without an ending, gets a .parquet file for each file of DATA; those that are there are left.
    """
    from vael.cli.show import say, say_json
    from vael.cli.write import default_output, in_bulk, in_one_file, whole, write
    from vael.data import originals
    from vael.runs import load
    from vael.runs.bulk import is_folder, tasks_of

    if is_folder(output):
        tasks = partial(tasks_of, verb="reconstruct", source=whole(data, split), output=output, options={})
        return in_bulk(run, tasks, output, engine=engine, device=device, json=json)
    in_one_file(engine)
    found = load(run, device=device)
    seen = found.split_of(data, split)
    columns = found.reconstruct(seen)
    path = write(
        output or default_output(found, "reconstructions"),
        columns,
        found.schema,
        originals=originals(seen, found.schema),
    )
    say(f"wrote       {path} ({len(seen)} examples)")
    if json:
        say_json({"run": str(found.folder), "file": str(path), "examples": len(seen)})
