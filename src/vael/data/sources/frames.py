"""Data frames: pandas, polars, pyarrow and whatever else narwhals reads; .parquet and .feather files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vael.data.frame import Frame
from vael.data.reading import Reading
from vael.data.sources.arrays import numbers, texts
from vael.errors import DataError

Column = NDArray[np.generic]


def is_frame(source: object) -> bool:
    """Whether `source` is a data frame or a series that narwhals reads, found without importing any of them."""
    import narwhals

    readable = narwhals.from_native(source, eager_only=True, allow_series=True, pass_through=True)
    return isinstance(readable, (narwhals.DataFrame, narwhals.Series))


def read_frame(source: Any, name: str = "table") -> Frame:
    """A frame of a data frame's columns: numbers, booleans, texts and categories; dates become texts.

    Nulls become NaN in numbers and None in texts. Raises DataError naming column and type for anything else.
    """
    import narwhals

    table = narwhals.from_native(source, eager_only=True, allow_series=True)
    if isinstance(table, narwhals.Series):
        return Frame(name, {str(table.name or "x0"): _column(table, name, str(table.name or "x0"))})
    names = [str(column) for column in table.columns]
    if len(set(names)) < len(names):
        raise DataError(f"{name}: two columns have the same name.\n  Give each column a name of its own.")
    # By place, not by name: the labels of a pandas frame can be numbers or tuples.
    return Frame(
        name, {key: _column(series, name, key) for key, series in zip(names, table.iter_columns(), strict=True)}
    )


def read_parquet(path: Path, _: Reading) -> Frame:
    """A frame of a .parquet file; DataError when the file is damaged."""
    from pyarrow import parquet

    return _arrow_file(path, "parquet", parquet.read_table)


def read_feather(path: Path, _: Reading) -> Frame:
    """A frame of a .feather (Arrow) file; DataError when the file is damaged."""
    from pyarrow import feather

    return _arrow_file(path, "feather", feather.read_table)


def _arrow_file(path: Path, kind: str, reader: Callable[..., Any]) -> Frame:
    import pyarrow

    try:
        # Not mapped from the disk: what is read must not change under us when the file does.
        table = reader(path, memory_map=False)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, OSError) as error:
        raise DataError(f"{path.name}: damaged, no whole {kind} file ({error}).\n  Save the file again.") from error
    return read_frame(table, path.name)


def _column(series: Any, source: str, name: str) -> Column:
    import narwhals

    kind = series.dtype
    absent = series.is_null().to_numpy().astype(bool)
    if kind.is_numeric():
        if absent.any() and not kind.is_float():
            series = series.cast(narwhals.Float64())
        values = series.to_numpy()
        return numbers(values if values.dtype.kind != "O" else values.astype(np.float64), source)
    if kind == narwhals.Boolean and not absent.any():
        return np.asarray(series.to_numpy(), dtype=bool)
    listed = [None if gone else value for value, gone in zip(series.to_list(), absent, strict=True)]
    if kind.is_temporal() or kind == narwhals.Boolean:
        listed = [None if value is None else str(value) for value in listed]
    if all(value is None for value in listed):
        return np.full(len(listed), np.nan)
    if not any(isinstance(value, str) for value in listed):
        return _of_objects(listed, source, name)
    return texts(listed, source, name)


def _of_objects(values: list[Any], source: str, name: str) -> Column:
    """Numbers held as Python objects; DataError naming the type of whatever is none."""
    for row, value in enumerate(values):
        if value is not None and not isinstance(value, (bool, int, float, np.number, np.bool_)):
            raise DataError(
                f"{source}, column {name!r}, row {row + 1}: a {type(value).__name__} is neither number nor text.\n"
                f"  Turn the column into numbers or texts, or leave it out."
            )
    return np.asarray([np.nan if value is None else float(value) for value in values])
