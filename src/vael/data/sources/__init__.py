"""Where data come from: built-in sets, files, arrays and data frames, each read into a `Frame`.

A new kind of file is a reader in a file of its own and a line in `SUFFIXES`.
"""

import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vael.data.frame import Frame
from vael.data.schema import Schema
from vael.data.sources.arrays import read_array, read_columns, read_npy, read_npz
from vael.data.sources.builtin import BUILTIN, read_builtin
from vael.data.sources.csv import read_csv
from vael.data.sources.frames import is_frame, read_frame, read_parquet
from vael.data.sources.named import find_named
from vael.data.sources.split import SPLIT_COLUMN, with_split
from vael.errors import DataError, ShapeError

__all__ = ["BUILTIN", "SUFFIXES", "read", "read_like"]

SUFFIXES: dict[str, Callable[..., Frame]] = {
    ".csv": read_csv,
    ".csv.gz": read_csv,
    ".tsv": read_csv,
    ".tsv.gz": read_csv,
    ".npy": read_npy,
    ".npz": read_npz,
    ".parquet": read_parquet,
}


def read(
    source: object,
    *,
    split_column: str | None = SPLIT_COLUMN,
    missing: Sequence[str] = (),
    text: Sequence[str] = (),
) -> Frame:
    """The columns of `source`, as they came.

    source: The name of a built-in set; the bare name of a file in the folder VAEL_DATA; a path; an array, tensor or
        list; a dict of columns; a data frame; or a `Frame`.
    split_column: The column that says which rows train, validate and test; None to take it as ordinary data.
    missing: Further texts that mark a missing value in a text file.
    text: Columns of a text file whose values are names even where they look like numbers.

    Raises DataError when there is no such source, or it is damaged, ragged, or holds neither numbers nor text.
    """
    if isinstance(source, Frame):
        frame = source
    elif isinstance(source, (str, Path)):
        frame = _read_name(source, missing, text)
    elif isinstance(source, Mapping):
        frame = read_columns(source)
    elif is_frame(source):
        frame = read_frame(source)
    else:
        frame = read_array(source)
    return with_split(frame, split_column)


def read_like(source: object, schema: Schema) -> Frame:
    """`source` read as the data of `schema` were: the same marks of missing values, the same columns as text."""
    marks = sorted({mark for field in schema for mark in field.marks})
    text = [field.name for field in schema if field.dtype == "str"]
    frame = read(source, missing=marks, text=text)
    _check_width(frame, schema)
    return frame


def _check_width(frame: Frame, schema: Schema) -> None:
    """Raise ShapeError when rows without column names are not as long as those of `schema`, or no pictures."""
    nameless = re.compile(r"x\d+")
    wanted = [field.name for field in schema]
    shape = schema.modelled[0].shape if not schema.is_table else ()
    if shape and schema.modelled[0].name not in frame.columns and all(map(nameless.fullmatch, frame.columns)):
        raise ShapeError(
            f"{frame.name}: each row has {len(frame.columns)} numbers, "
            f"the model was fitted on arrays of shape {shape}.\n"
            f"  Reshape the data to (rows, {', '.join(map(str, shape))})."
        )
    if len(wanted) != len(frame.columns) and all(map(nameless.fullmatch, [*wanted, *frame.columns])):
        raise ShapeError(
            f"{frame.name}: each row has {len(frame.columns)} numbers, the model was fitted on rows of {len(wanted)}.\n"
            f"  Give the same columns in the same order."
        )


def _read_name(source: str | Path, missing: Sequence[str], text: Sequence[str]) -> Frame:
    name = str(source)
    if name in BUILTIN:
        return read_builtin(name)
    path = Path(source).expanduser()
    if isinstance(source, str) and re.fullmatch(r"[\w-]+", name) and not path.is_file():
        found = find_named(name, list(BUILTIN))
        return dataclasses.replace(_read_path(found, missing, text), name=name)
    return _read_path(path, missing, text)


def _read_path(path: Path, missing: Sequence[str], text: Sequence[str]) -> Frame:
    reader = next((SUFFIXES[suffix] for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)
    if path.is_dir() or (path.exists() and reader is None):
        raise DataError(
            f"{path}: {'a folder' if path.is_dir() else 'a file of unknown kind'}; vael reads {', '.join(SUFFIXES)}.\n"
            f"  Save the data as one of these."
        )
    if not path.exists():
        raise DataError(f"{path}: there is no such file.{_neighbour(path)}")
    options = {"missing": missing, "text": text} if reader is read_csv else {}
    assert reader is not None  # refused above
    try:
        frame = reader(path, **options)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    return dataclasses.replace(frame, origin=str(path.resolve()))


def _neighbour(path: Path) -> str:
    """A hint at a file of nearly that name in the same folder, or nothing."""
    near = difflib.get_close_matches(path.name, [file.name for file in path.parent.glob("*")], 1)
    return f" Did you mean {str(path.with_name(near[0]))!r}?" if near else "\n  Check the path."
