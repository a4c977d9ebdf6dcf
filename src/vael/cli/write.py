"""Columns to a file a person asked for: a sheet of pictures, or a table."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from vael.cli.show import note, say, say_json
from vael.data.outputs import grey_levels, is_picture, picture_sheet, write_columns
from vael.data.schema import Schema
from vael.errors import RecipeError
from vael.files import write_bytes
from vael.runs import Run

if TYPE_CHECKING:
    from vael.runs.bulk import Done, Task

MOST_PICTURES = 400
PAIRS = 64

Columns = dict[str, NDArray[np.generic]]


def in_bulk(
    run: Path | None, tasks_for: Callable[[Run], Sequence["Task"]], output: Path, *, engine: Literal["process", "ray"],
    device: str, json: bool,
) -> None:  # fmt: skip
    """Open the run, do its tasks, tell of each file and of the whole."""
    from vael.runs import load
    from vael.runs.bulk import perform
    from vael.training import own_device

    found = load(run, device=own_device(device))
    tasks = tasks_for(found)
    done = perform(found, tasks, engine=engine, watch=note)
    told = tell_bulk(found, tasks[0].verb, done, output)
    if json:
        say_json(told)


def tell_bulk(run: Run, verb: str, done: "Done", output: Path) -> dict[str, Any]:
    """Say what was done; what --json has of it."""
    from vael.runs.bulk import summary

    rank = f"rank {done.rank} of {done.world}: " if done.world > 1 else ""
    speed = f", {done.rows / done.seconds:,.0f} rows/s" if done.rows else ""
    skipped = f"; {done.skipped} skipped, being there already" if done.skipped else ""
    say(f"wrote       {rank}{output}: {done.files} files, {done.rows:,} rows{speed}{skipped}")
    told: dict[str, Any] = {
        "run": str(run.folder), "folder": str(output), "files": done.files, "examples": done.rows,
        "skipped": done.skipped, "seconds": round(done.seconds, 3), "rank": done.rank, "world": done.world,
    }  # fmt: skip
    if verb == "evaluate" and done.outputs:
        found = summary(done.outputs)
        for name, label in {"elbo": "ELBO", "rate": "rate", "distortion": "distortion", "log_px": "log p(x)"}.items():
            none = run.model.lacking is not None and not math.isfinite(found[name].value)
            say(f"{label:<12}" + (f"none: {run.model.lacking}" if none else f"{found[name]} nats per example"))
        told |= {name: asdict(number) for name, number in found.items()}
    return told


def whole(data: str | None, split: str | None) -> str:
    """The data that an output folder is made from. Raises RecipeError where none are named, or a split of the run's."""
    if data is None or split is not None:
        raise RecipeError("an output folder gets a file for each file of DATA: name DATA, and leave out --split.")
    return data


def in_one_file(engine: str) -> None:
    """Raise RecipeError for an engine where the output is no folder."""
    if engine != "process":
        raise RecipeError(f"--engine {engine}: shares out the files of a folder; give -o a folder.")


def default_output(run: Run, name: str) -> Path:
    """`figures/<name>.png` in the run for pictures, `<name>.csv` for tables, `<name>.npz` for other arrays."""
    if is_picture(run.schema):
        return run.folder.figures / f"{name}.png"
    return run.folder.path / (f"{name}.csv" if run.schema.is_table else f"{name}.npz")


def write(
    path: Path, columns: Columns, schema: Schema, *, originals: Columns | None = None, across: int | None = None,
    apart: Sequence[int] = (),
) -> Path:  # fmt: skip
    """Write `columns` in the format of the suffix; returns the path. Raises RecipeError for pictures of a table.

    originals: Pictures to set beside those of `columns`. across: Pictures in a row. apart: Columns of pictures, counted
        from 0, that stand further from the one before.
    """
    if path.suffix.lower() != ".png":
        write_columns(path, columns, schema)
        return path
    if not is_picture(schema):
        raise RecipeError(f"{path}: these data are no pictures; write .csv, .parquet or .npz.")
    field = schema.modelled[0]
    top = grey_levels(schema)
    pictures = columns[field.name]
    if across is not None:
        write_bytes(path, picture_sheet(pictures, top, across, apart=apart))
    elif originals is None:
        write_bytes(path, picture_sheet(pictures[:MOST_PICTURES], top))
    else:
        write_bytes(path, picture_sheet(originals[field.name][:PAIRS], top, pairs=pictures[:PAIRS]))
    return path


def lined_up(ends: Columns, ways: Columns, steps: int) -> Columns:
    """Pictures line by line: an original, the `steps` of the way to the next one, that next original."""

    def lines(originals: NDArray[Any], pictures: NDArray[Any]) -> NDArray[Any]:
        each = pictures.reshape(len(originals) - 1, steps, *pictures.shape[1:])
        lined = np.concatenate([originals[:-1, None], each, originals[1:, None]], axis=1)
        return lined.reshape(-1, *pictures.shape[1:])

    return {name: lines(ends[name], ways[name]) for name in ends}


def numbered(rows: list[int], ways: Columns, steps: int) -> Columns:
    """The columns of `ways`, and before them the rows that a line lies between, and its step."""
    pairs = list(pairwise(rows))
    places: Columns = {
        "from_row": np.repeat([start for start, _ in pairs], steps),
        "to_row": np.repeat([end for _, end in pairs], steps),
        "step": np.tile(np.arange(1, steps + 1), len(pairs)),
    }
    return {**{_free(name, ways): column for name, column in places.items()}, **ways}


def _free(name: str, columns: Columns) -> str:
    """`name`, with underscores until no column of the data has it."""
    while name in columns:
        name += "_"
    return name
