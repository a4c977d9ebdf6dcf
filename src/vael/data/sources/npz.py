"""Several arrays in one .npz file: x of each split with its labels, a sparse matrix, or columns."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vael.data.frame import Frame
from vael.data.reading import Reading
from vael.data.sources.arrays import check_lengths, event_columns, label_columns, load_arrays, numbers, one_column
from vael.data.sources.sparse import is_sparse, read_sparse
from vael.errors import DataError

Column = NDArray[np.generic]

PARTS = {
    "train": ("train",),
    "validation": ("validation", "valid", "val"),
    "test": ("test",),
}


def read_npz(path: Path, reading: Reading) -> Frame:
    """A frame of a .npz file.

    x_train, x_test and x_valid (or x_validation, x_val) become one column set with its split; else x or X; with the
    labels y beside them. data, indices and indptr are a sparse matrix. Any other single array is taken as x, and
    one-dimensional arrays of one length as columns.

    Raises DataError when the file is damaged, holds pickled objects or several unknown arrays.
    """
    arrays = {key.lower(): value for key, value in load_arrays(path).items()}
    if is_sparse(arrays):
        return read_sparse(arrays, path.name, reading)
    parts = _parts(arrays)
    if parts:
        return _frame_of_parts(arrays, parts, path.name)
    if "x" in arrays or len(arrays) == 1:
        key = "x" if "x" in arrays else next(iter(arrays))
        return _frame_of_parts(arrays, {"": key}, path.name)
    if arrays and all(value.ndim == 1 for value in arrays.values()) and len({len(v) for v in arrays.values()}) == 1:
        return _frame_of_columns(load_arrays(path), path.name)
    held = ", ".join(f"{key} {value.shape}" for key, value in arrays.items()) or "none"
    raise DataError(
        f"{path.name}: which array are the data? It holds: {held}.\n"
        f"  Name it x (or x_train and x_test), its labels y, and save the file again."
    )


def _parts(arrays: Mapping[str, Column]) -> dict[str, str]:
    """Which array holds x of each split, in the order train, validation, test."""
    return {part: f"x_{word}" for part, words in PARTS.items() for word in words if f"x_{word}" in arrays}


def _frame_of_parts(arrays: Mapping[str, Column], parts: Mapping[str, str], name: str) -> Frame:
    held = {key: event_columns(numbers(arrays[key], f"{name}, array {key!r}"), name) for key in parts.values()}
    columns = _stacked(list(held.values()), list(parts.values()), name)
    rows = [len(arrays[key]) for key in parts.values()]
    split = np.repeat(np.asarray(list(parts), dtype="<U10"), rows) if "" not in parts else None
    keys = ["y" + key[1:] if key.startswith("x") else "y" for key in parts.values()]
    labels = {}
    # Labels of only some splits would leave holes: they are left out.
    if all(key in arrays for key in keys):
        labels = label_columns([arrays[key] for key in keys], name)
        check_lengths({**columns, **labels}, name)
    unused = [key for key in arrays if key not in parts.values() and not (labels and key in keys)]
    notes = (f"left out, being neither x nor y: {', '.join(unused)}",) if unused else ()
    return Frame(name, {**columns, **labels}, labels=tuple(labels), split=split, notes=notes)


def _stacked(parts: list[dict[str, Column]], keys: list[str], name: str) -> dict[str, Column]:
    for key, part in zip(keys, parts, strict=True):
        shapes = [{column: values.shape[1:] for column, values in one.items()} for one in (parts[0], part)]
        if shapes[0] != shapes[1]:
            raise DataError(f"{name}: arrays {keys[0]!r} and {key!r} differ in the shape of a row.")
    if len(parts) == 1:
        return parts[0]
    return {column: np.concatenate([part[column] for part in parts]) for column in parts[0]}


def _frame_of_columns(arrays: Mapping[str, Column], name: str) -> Frame:
    columns: dict[str, Column] = {}
    for key, value in arrays.items():
        # An array of text has no other word for missing than the empty one.
        texts_or_none: object = [text or None for text in value.tolist()] if value.dtype.kind == "U" else value
        columns[key] = one_column(texts_or_none, name, key)
    return Frame(name, columns)
