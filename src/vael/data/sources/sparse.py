"""Sparse counts: compressed rows or columns in a .npz file, as scipy writes them too, or a scipy matrix."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vael.data.frame import Frame
from vael.data.reading import Reading
from vael.data.sources.arrays import one_column
from vael.data.sources.features import largest, refuse_unknown, told
from vael.errors import DataError

Column = NDArray[np.generic]

MOST_COLUMNS = 5_000  # beyond it a decoder spends nearly all its weights on columns that are nearly always 0
PARTS = ("data", "indices", "indptr", "shape", "format", "_is_array")
NAMES = ("gene_names", "var_names", "feature_names")
LABELS = ("y", "label", "labels")


def is_sparse(source: object) -> bool:
    """Whether `source` is a scipy sparse matrix or array, or the arrays of one."""
    if isinstance(source, Mapping):
        return {"data", "indices", "indptr"} <= set(source)
    return hasattr(source, "tocsr") and hasattr(source, "shape")


def read_sparse(source: Any, name: str, reading: Reading) -> Frame:
    """A frame of the columns of a sparse matrix, dense: those that `reading.features` keeps, or all of them.

    source: A scipy matrix, or its arrays `data`, `indices`, `indptr` and `shape` `(N, F)`, with `format` csr or csc
        (csr when left out); beside them unique names of the columns, and labels of the rows.

    Columns without names are called x0, x1, … by their place in the whole matrix. Whole numbers from 0 up are counts.
    Raises DataError when the arrays do not fit each other, and on more than 5000 columns.
    """
    if not isinstance(source, Mapping):
        rows = source.tocsr()
        source = {"data": rows.data, "indices": rows.indices, "indptr": rows.indptr, "shape": np.asarray(rows.shape)}
    rows, columns, values, shape = _entries(source, name)
    named = next((key for key in NAMES if _fits(source, key, shape[1])), None)
    names = [f"x{i}" for i in range(shape[1])] if named is None else [str(word) for word in source[named]]
    totals = np.bincount(columns, weights=values, minlength=shape[1]).astype(np.float64)  # of whole ones if empty
    kept = _kept(names, values, totals, name, reading)
    dense = _dense(rows, columns, values, shape, kept)
    table = {names[place]: column for place, column in zip(kept, dense, strict=True)}
    labels = {key: one_column(source[key], name, key) for key in LABELS if _fits(source, key, shape[0], unique=False)}
    notes = [told(len(kept), totals, totals[kept])] if len(kept) < shape[1] else []
    unused = [key for key in source if key not in (*PARTS, *labels, named)]
    if unused:
        notes.append(f"left out, being neither counts nor labels: {', '.join(unused)}")
    return Frame(
        name, {**table, **labels}, labels=tuple(labels), kinds=_kinds(table, values), notes=tuple(notes)
    )  # fmt: skip


def _fits(source: Mapping[str, Any], key: str, length: int, *, unique: bool = True) -> bool:
    """Whether array `key` is there with a value for each column or row, all of them different if `unique`."""
    array = source.get(key)
    if array is None or np.shape(array) != (length,):
        return False
    return not unique or len(set(np.asarray(array).tolist())) == length


def _entries(source: Mapping[str, Any], name: str) -> tuple[Column, Column, Column, tuple[int, int]]:
    """Row, column and value of every stored number, and the matrix's shape; DataError when they do not fit."""
    data, indices, indptr = (np.asarray(source[key]) for key in ("data", "indices", "indptr"))
    kind = str(np.asarray(source.get("format", "csr")).astype("U"))
    shape = tuple(int(side) for side in np.ravel(source.get("shape", ())))
    across = {"csr": 0, "csc": 1}.get(kind)
    if across is None or len(shape) != 2:
        problem = f"its format is {kind}, not csr or csc" if across is None else f"its shape is {shape}, not (N, F)"
        raise DataError(
            f"{name}: a sparse matrix that cannot be read: {problem}.\n"
            f"  Save it with scipy.sparse.save_npz(file, matrix.tocsr())."
        )
    whole = (
        data.ndim == indices.ndim == indptr.ndim == 1
        and data.dtype.kind in "biuf"
        and {indices.dtype.kind, indptr.dtype.kind} <= {"i", "u"}
        and len(indptr) == shape[across] + 1
        and (indptr[:-1] <= indptr[1:]).all()
        and int(indptr[0]) == 0
        and int(indptr[-1]) == len(data) == len(indices)
        and (not len(indices) or (indices.min() >= 0 and indices.max() < shape[1 - across]))
    )
    if not whole:
        raise DataError(
            f"{name}: a damaged sparse matrix; data {data.shape}, indices {indices.shape}, indptr {indptr.shape} and "
            f"shape {shape} do not fit each other.\n  Fetch or save the file again."
        )
    along = np.repeat(np.arange(shape[across]), indptr[1:] - indptr[:-1])
    rows, columns = (along, indices) if across == 0 else (indices, along)
    return rows, columns.astype(np.int64), data, (shape[0], shape[1])


def _kept(
    names: list[str], values: Column, totals: NDArray[np.float64], name: str, reading: Reading
) -> NDArray[np.int64]:
    """Places of the columns to keep, in order."""
    if isinstance(reading.features, tuple):
        refuse_unknown(reading, names, name)
        wanted = set(reading.features)
        return np.asarray([place for place, known in enumerate(names) if known in wanted], dtype=np.int64)
    if reading.features is None and len(names) > MOST_COLUMNS:
        raise DataError(
            f"{name}: a sparse matrix of {len(names)} columns; without a choice at most {MOST_COLUMNS} are modelled.\n"
            f"  Keep those with the largest totals, for instance 500 of them: --features 500 (in Python, features=500)."
        )
    if reading.features is not None and len(values) and values.min() < 0:
        raise DataError(
            f"{name}: holds {values.min():g}, and --features keeps the columns with the largest totals of counts.\n"
            f"  Choose the columns yourself, by their names: features=[…] in Python."
        )
    return largest(totals, reading.features or len(names))


def _dense(
    rows: Column, columns: Column, values: Column, shape: tuple[int, int], kept: NDArray[np.int64]
) -> list[Column]:
    """The kept columns, each `(N,)` in the type of the stored values; numbers stored for one place twice add up."""
    order = np.argsort(columns, kind="stable")
    ends = np.searchsorted(columns[order], [kept, kept + 1])
    dense: list[Column] = []
    for first, last in ends.T:
        here = order[first:last]
        column = np.bincount(rows[here], weights=values[here], minlength=shape[0])
        if values.dtype.kind == "f":
            dense.append(column.astype(values.dtype))
        else:  # in the stored type, as samples will be, unless a sum does not fit
            most = 0 if values.dtype.kind == "b" else np.iinfo(values.dtype.type).max  # type: ignore[type-var]
            dense.append(column.astype(values.dtype if column.max(initial=0) <= most else np.int64))
    return dense


def _kinds(table: Mapping[str, Column], values: Column) -> dict[str, tuple[str, str]]:
    """All columns that vary are counts, if all stored values are whole numbers from 0 up."""
    if not len(values) or values.min() < 0 or (values.dtype.kind == "f" and (values != np.rint(values)).any()):
        return {}
    return {name: ("count", "sparse counts") for name, column in table.items() if column.min() < column.max()}
