"""Arrays: numpy, torch, lists, dicts of columns, .npy files.

A table is two-dimensional, one column per feature; three and four dimensions are pictures, channel first.
"""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vael.data.frame import Frame
from vael.data.reading import Reading
from vael.errors import DataError

Column = NDArray[np.generic]

FEWEST_PIXELS = 16  # an 8-bit table of at least this many columns is a flattened picture


def read_array(source: object, name: str = "") -> Frame:
    """A frame of an array, a tensor or a list of numbers.

    `(N,)` and `(N, F)` are tables with columns x0, x1, …; an 8-bit `(N, F)` with F ≥ 16, and pictures `(N, H, W)`,
    `(N, H, W, C)` or `(N, C, H, W)` with C of 1 or 3, are one field "x", channel first.

    Raises DataError naming the type when these are no numbers, and the shape when it is none of the above.
    """
    name = name or ("tensor" if isinstance(source, torch.Tensor) else "list" if isinstance(source, list) else "array")
    return Frame(name, event_columns(numbers(source, name), name))


def read_columns(source: Mapping[Any, object]) -> Frame:
    """A frame of a dict of columns: each an array, tensor or list of equal length; texts are welcome."""
    columns = {str(key): one_column(value, "columns", str(key)) for key, value in source.items()}
    check_lengths(columns, "columns")
    return Frame("columns", columns)


def check_lengths(columns: Mapping[str, Column], name: str) -> None:
    """Raise DataError unless all columns have the same number of rows."""
    first = next(iter(columns), "")
    for other in columns:
        if len(columns[other]) != len(columns[first]):
            raise DataError(
                f"{name}: column {other!r} has {len(columns[other])} rows, column {first!r} has "
                f"{len(columns[first])}.\n  Give columns of equal length."
            )


# ── one array ────────────────────────────────────────────────────────────────────────────────────────────────


def numbers(source: object, name: str) -> Column:
    """`source` as an array of numbers or booleans; DataError naming its type, or the type of what it holds."""
    array = _as_array(source, name)
    if array.dtype.kind == "O":
        array = _numbers_of_objects(array, name)
    if array.dtype.kind not in "biuf":
        held = {"U": "text", "S": "bytes", "c": "complex numbers", "M": "dates", "m": "durations"}
        raise DataError(
            f"{name}: an array of numbers was expected, it holds {held.get(array.dtype.kind, array.dtype)}.\n"
            f"  Give text as a data frame or a dict of columns, where each column has a name and a type."
        )
    return array


def _as_array(source: object, name: str) -> Column:
    if isinstance(source, torch.Tensor):
        plain = source.detach().to_dense().cpu()
        return (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
    if isinstance(source, np.ma.MaskedArray):
        return np.ma.filled(source.astype(np.float64), np.nan) if source.mask.any() else np.asarray(source)
    if isinstance(source, (list, tuple)):
        source = [item.detach().cpu().numpy() if isinstance(item, torch.Tensor) else item for item in source]
    elif not hasattr(source, "__array__"):
        raise DataError(
            f"cannot read data from a {type(source).__name__}.\n"
            f"  Give a file, a built-in name, an array, a tensor, a list, a dict of columns, a data frame or a "
            f"torch data set."
        )
    try:
        return np.asarray(source)
    except ValueError as error:
        raise DataError(f"{name}: its rows differ in length, so they are no table ({error}).") from error


def _numbers_of_objects(array: Column, name: str) -> NDArray[np.float64]:
    for place, value in np.ndenumerate(array):
        if value is not None and not isinstance(value, (bool, int, float, np.number, np.bool_)):
            raise DataError(
                f"{name}, row {place[0] + 1}: {value!r} is a {type(value).__name__}, not a number.\n"
                f"  Give text as a data frame or a dict of columns, where each column has a name and a type."
            )
    return array.astype(np.float64)


def one_column(source: object, name: str, column: str) -> Column:
    """A column of a table, `(N,)` or an array field: numbers as they are, texts as `str` with None for missing."""
    array = _as_array(source, f"{name}, column {column!r}")
    if array.ndim == 0:
        raise DataError(f"{name}, column {column!r}: one value, expected one per row.\n  Give a list or an array.")
    if array.dtype.kind == "U" or (array.dtype.kind == "O" and any(isinstance(value, str) for value in array.flat)):
        return texts(source if isinstance(source, (list, tuple)) else array, name, column)
    array = numbers(array, f"{name}, column {column!r}")
    return picture_axes(array, f"{name}, column {column!r}") if array.ndim > 2 else array


def label_columns(arrays: list[Column], name: str) -> dict[str, Column]:
    """Labels of one split after the other, `(N,)` or `(N, k)` each, as the column y or the columns y0, y1, …"""
    flat = [array.reshape(len(array), -1) for array in arrays]
    if len({array.shape[1] for array in flat}) > 1:
        raise DataError(f"{name}: the arrays of labels differ in the shape of a row.")
    label = np.concatenate(flat)
    names = ["y"] if label.shape[1] == 1 else [f"y{i}" for i in range(label.shape[1])]
    return {key: one_column(label[:, i], name, key) for i, key in enumerate(names)}


def texts(values: Any, name: str, column: str) -> Column:
    """An object array of `str` and None; DataError naming row and type of anything else."""
    found = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        if value is None or value != value:
            found[row] = None
        elif isinstance(value, str):
            found[row] = str(value)
        else:
            raise DataError(
                f"{name}, column {column!r}, row {row + 1}: {value!r} is a {type(value).__name__} among texts.\n"
                f"  Make the column all text or all numbers."
            )
    return found


def event_columns(array: Column, name: str) -> dict[str, Column]:
    """The columns an array stands for; see `read_array`."""
    if array.ndim == 0:
        raise DataError(f"{name}: a single number, expected rows.\n  Give an array of shape (rows, columns).")
    if 0 in array.shape[1:]:
        raise DataError(f"{name}: shape {array.shape}, rows that hold no values.\n  Give at least one column.")
    if array.ndim == 1:
        return {"x0": array}
    if array.ndim > 2:
        return {"x": picture_axes(array, name)}
    if array.dtype == np.uint8 and array.shape[1] >= FEWEST_PIXELS:
        return {"x": array}
    return {f"x{i}": np.ascontiguousarray(array[:, i]) for i in range(array.shape[1])}


def picture_axes(array: Column, name: str) -> Column:
    """Pictures with the channel first, `(N, C, H, W)` with C of 1 or 3; DataError on any other shape."""
    if array.ndim == 3:
        return array[:, None]
    if array.ndim == 4 and array.shape[1] in (1, 3):
        return array
    if array.ndim == 4 and array.shape[3] in (1, 3):
        return np.ascontiguousarray(array.transpose(0, 3, 1, 2))
    raise DataError(
        f"{name}: an array of shape {array.shape}, expected a table (N, F) or pictures (N, H, W), (N, H, W, C) or "
        f"(N, C, H, W) with 1 or 3 channels.\n  Reshape it."
    )


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────


def read_npy(path: Path, _: Reading) -> Frame:
    """A frame of the one array in a .npy file; DataError when the file is damaged or holds pickled objects."""
    return read_array(load_arrays(path), path.name)


def load_arrays(path: Path) -> Any:
    """The array of a .npy file, or a dict of the arrays of a .npz file."""
    try:
        with path.open("rb") as file:  # numpy leaves a damaged file open
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded if path.suffix == ".npy" else {"x": loaded}
            arrays = {key: loaded[key] for key in loaded.files}
            return arrays if path.suffix == ".npz" else arrays[loaded.files[0]]
    except (ValueError, EOFError, OSError, LookupError, zipfile.BadZipFile, zlib.error) as error:
        # numpy takes any file it does not know for a pickle; only these first bytes are one, or can hold one.
        if "allow_pickle" in str(error) and path.read_bytes().startswith((b"\x93NUMPY", b"PK", b"\x80")):
            raise DataError(
                f"{path.name}: holds Python objects, which can run code when opened; it was not opened.\n"
                f"  Save arrays of numbers or text (dtype other than object)."
            ) from error
        raise DataError(
            f"{path.name}: damaged, no whole {path.suffix} file ({path.stat().st_size} bytes).\n"
            f"  Fetch or save the file again."
        ) from error
