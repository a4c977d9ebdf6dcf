"""vael encode: the latent behind each example."""

from functools import partial
from pathlib import Path
from typing import Literal

from vael.cli.options import Device, Engine, Json, Output


def encode(
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
    """Write the posterior mean of every example: columns z1 … zD, the same at every call.

    Example: vael encode runs/digits-1 digits -o codes.npz

    Parameters
    ----------
    run
        A run folder; the latest in runs/ when left out.
    data
        Other data; every row of it is encoded. A .parquet or .feather file, or a folder of them, where the output is
        a folder.
    split
        Which part of the run's own data, when DATA is left out; test by default.
    output
        .npz, .npy, .csv, .csv.gz or .parquet; latents.npz in the run when left out. A folder, a name without an ending,
        gets a .parquet file for each file of DATA; those that are there are left alone.
    """
    from vael.cli.show import say, say_json
    from vael.cli.write import in_bulk, in_one_file, whole
    from vael.data import Schema
    from vael.data.outputs import write_columns
    from vael.runs import load
    from vael.runs.bulk import is_folder, tasks_of

    if is_folder(output):
        tasks = partial(tasks_of, verb="encode", source=whole(data, split), output=output, options={})
        return in_bulk(run, tasks, output, engine=engine, device=device, json=json)
    in_one_file(engine)
    found = load(run, device=device)
    means = found.encode(data, split=split)
    path = output or found.folder.path / "latents.npz"
    if path.suffix in (".npz", ".npy"):
        write_columns(path, {"z": means}, Schema(()))
    else:
        write_columns(path, {f"z{unit + 1}": means[:, unit] for unit in range(means.shape[1])}, Schema(()))
    say(f"wrote       {path} ({means.shape[0]} examples × {means.shape[1]} latents, posterior means)")
    if json:
        say_json({"run": str(found.folder), "file": str(path), "examples": means.shape[0], "latent": means.shape[1]})
