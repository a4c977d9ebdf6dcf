"""Columns to a file a person asked for: a sheet of pictures, or a table."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vael.data.outputs import grey_levels, is_picture, picture_sheet, write_columns
from vael.data.schema import Schema
from vael.errors import RecipeError
from vael.files import write_bytes
from vael.runs import Run

MOST_PICTURES = 400
PAIRS = 64

Columns = dict[str, NDArray[np.generic]]


def default_output(run: Run, name: str) -> Path:
    """`figures/<name>.png` in the run for pictures, `<name>.csv` for tables, `<name>.npz` for other arrays."""
    if is_picture(run.schema):
        return run.folder.figures / f"{name}.png"
    return run.folder.path / (f"{name}.csv" if run.schema.is_table else f"{name}.npz")


def write(path: Path, columns: Columns, schema: Schema, *, originals: Columns | None = None) -> Path:
    """Write `columns` in the format of the suffix; returns the path. Raises RecipeError for pictures of a table."""
    if path.suffix.lower() != ".png":
        write_columns(path, columns, schema)
        return path
    if not is_picture(schema):
        raise RecipeError(f"{path}: these data are no pictures; write .csv, .parquet or .npz.")
    field = schema.modelled[0]
    top = grey_levels(schema)
    pictures = columns[field.name]
    if originals is None:
        write_bytes(path, picture_sheet(pictures[:MOST_PICTURES], top))
    else:
        write_bytes(path, picture_sheet(originals[field.name][:PAIRS], top, pairs=pictures[:PAIRS]))
    return path
