"""Where data come from: sets by name, files, folders of pictures, arrays, frames, data sets; each read into a `Frame`.

A new kind of file is a reader in a file of its own and a line in `SUFFIXES`.
"""

import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vael.data.frame import Frame
from vael.data.reading import Reading
from vael.data.schema import Schema
from vael.data.sources.arrays import read_array, read_columns, read_npy
from vael.data.sources.blocks import PictureBlocks
from vael.data.sources.builtin import BUILTIN, read_builtin
from vael.data.sources.csv import read_csv
from vael.data.sources.datasets import is_dataset, read_dataset
from vael.data.sources.features import with_features
from vael.data.sources.folder import PICTURES, read_folder
from vael.data.sources.frames import is_frame, read_feather, read_frame, read_parquet
from vael.data.sources.groups import Store
from vael.data.sources.named import find_named
from vael.data.sources.npz import read_npz
from vael.data.sources.pictures import with_size
from vael.data.sources.sparse import is_sparse, read_sparse
from vael.data.sources.split import with_split
from vael.data.sources.tables import TableGroups, read_tables, table_files
from vael.data.sources.text import read_text
from vael.errors import DataError, ShapeError

__all__ = ["BUILTIN", "SUFFIXES", "open_groups", "read", "read_like"]

SUFFIXES: dict[str, Callable[[Path, Reading], Frame]] = {
    ".csv": read_csv,
    ".csv.gz": read_csv,
    ".tsv": read_csv,
    ".tsv.gz": read_csv,
    ".npy": read_npy,
    ".npz": read_npz,
    ".parquet": read_parquet,
    ".feather": read_feather,
    ".txt": read_text,
}


def read(source: object, reading: Reading | None = None, **options: Any) -> Frame:
    """The columns of `source`, as they came but for what `reading` asks for.

    source: The name of a set, built in, in VAEL_DATA, in the cache or to be downloaded; the path of a file or of a
        folder of pictures or of tables; an array, tensor or list; a dict of columns; a data frame; a scipy sparse
        matrix; a torch data set; or a `Frame`.
    reading: What a person says of the data; or its `options`, the arguments of `Reading.asked`.

    Raises DataError when there is no such source, or it is damaged, ragged, or holds neither numbers nor text.
    """
    reading = Reading.asked(**options) if reading is None else reading
    frame = _read_name(source, reading) if isinstance(source, (str, Path)) else _read_object(source, reading)
    if reading.resize is not None:
        frame = with_size(frame, reading.resize)
    if reading.features is not None:
        frame = with_features(frame, reading)
    return with_split(frame, reading.split_column)


def open_groups(source: object, size: tuple[int, int] | None = None) -> Store:
    """The tables or pictures in a file or folder, to be read piece by piece.

    size: Width and height that pictures are brought to.
    Raises DataError for what is no path, holds no such file, or holds files that differ in form.
    """
    if not isinstance(source, (str, Path)):
        raise DataError(
            f"stream: data in memory ({type(source).__name__}) are there already.\n"
            f"  Leave stream out, or give the path of a .parquet or .feather file or of a folder."
        )
    path = Path(source).expanduser()
    if str(source) in BUILTIN:
        raise DataError(f"{source}: is built in and small, and is not streamed.\n  Leave --stream out.")
    if isinstance(source, str) and re.fullmatch(r"[\w-]+", source) and not path.is_file():
        path = find_named(source, list(BUILTIN))
    if not path.exists():
        raise DataError(f"{path}: there is no such file.{_neighbour(path)}")
    if _holds_tables(path):
        return TableGroups.open(path)
    if not path.is_dir():
        raise DataError(
            f"{path}: cannot be streamed; that needs a .parquet or .feather file, or a folder of them or of pictures.\n"
            f"  Leave --stream out, or save the data as Parquet."
        )
    return PictureBlocks.open(path, size)


def read_like(source: object, schema: Schema, reading: Reading) -> Frame:
    """`source` read as the data of `schema` were by `reading`: the same sizes, columns, marks and columns of text."""
    frame = read(source, reading.like(schema))
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


def _read_object(source: object, reading: Reading) -> Frame:
    if isinstance(source, Frame):
        return source
    if is_dataset(source):
        return read_dataset(source)
    if is_sparse(source):
        return read_sparse(source, "matrix", reading)
    if isinstance(source, Mapping):
        return read_columns(source)
    return read_frame(source) if is_frame(source) else read_array(source)


def _read_name(source: str | Path, reading: Reading) -> Frame:
    name = str(source)
    if name in BUILTIN:
        return read_builtin(name)
    path = Path(source).expanduser()
    if isinstance(source, str) and re.fullmatch(r"[\w-]+", name) and not path.is_file():
        found = find_named(name, list(BUILTIN))
        return dataclasses.replace(_read_path(found, reading), name=name)
    return _read_path(path, reading)


def _read_path(path: Path, reading: Reading) -> Frame:
    if not path.exists():
        raise DataError(f"{path}: there is no such file.{_neighbour(path)}")
    reader = next((SUFFIXES[suffix] for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)
    if path.is_dir():
        reader = read_tables if _holds_tables(path) else read_folder
    if reader is None:
        raise DataError(
            f"{path}: a file of unknown kind; vael reads {', '.join(SUFFIXES)}, and folders of pictures "
            f"or of .parquet and .feather files.\n"
            f"  Save the data as one of these."
        )
    try:
        frame = reader(path, reading)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    return dataclasses.replace(frame, origin=str(path.resolve()))


def _holds_tables(path: Path) -> bool:
    """Whether a path is a Parquet or Arrow file, or a folder of such files and of no pictures."""
    pictures = (file for file in path.rglob("*") if file.suffix.lower() in PICTURES) if path.is_dir() else ()
    return bool(table_files(path)) and not any(pictures)


def _neighbour(path: Path) -> str:
    """A hint at a file of nearly that name in the same folder, or nothing."""
    near = difflib.get_close_matches(path.name, [file.name for file in path.parent.glob("*")], 1)
    return f" Did you mean {str(path.with_name(near[0]))!r}?" if near else "\n  Check the path."
