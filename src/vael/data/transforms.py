"""From a field's own values to the numbers a model sees, and back; with the log-Jacobian of the change.

    z = (x − loc) / scale        log |dz/dx| = − log scale

A log-density of z plus the log-Jacobian is a log-density of x, in the user's units. A mass needs none.
"""

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from vael.data.schema import Field
from vael.errors import DataError

Floats = NDArray[np.float64]


def fit_view(field: Field, column: NDArray[np.generic]) -> Field:
    """`field` with the loc and scale of its view fitted on `column`, the rows that training may see.

    "standard" takes mean and standard deviation, "scaled" the geometric mean of what is above zero, "unit" brings the
    grey levels 0 … levels − 1 to [0, 1]. A spike is no part of it: the rest's own law is what a scale serves.
    """
    if field.view == "unit" and field.levels > 1:
        return dataclasses.replace(field, loc=0.0, scale=float(field.levels - 1))
    if field.view not in ("standard", "scaled"):
        return dataclasses.replace(field, loc=0.0, scale=1.0)
    values = column.astype(np.float64)
    values = values[~np.isnan(values)]
    if field.spike is not None:
        values = values[values != field.spike]
    if field.view == "scaled":
        above = values[values > 0]
        return dataclasses.replace(field, loc=0.0, scale=float(np.exp(np.log(above).mean())) if above.size else 1.0)
    loc = float(values.mean()) if values.size else 0.0
    # A column may be constant on the training rows alone: its grid, or 1, is then the only scale there is.
    spread = float(values.std()) if values.size else 0.0
    return dataclasses.replace(field, loc=loc, scale=spread or field.resolution or 1.0)


def to_model(field: Field, column: NDArray[np.generic], source: str, *, first: int = 0) -> Floats:
    """The column as a model sees it, float64, shape of `column`; NaN where a value is missing.

    source, first: What messages call the data, and the number of the first row in it, counted from 0.

    Raises DataError naming row and value when a value is not one the field can take.
    """
    values = _codes(field, column, source, first) if field.coded else column.astype(np.float64)
    return (values - field.loc) / field.scale


def _codes(field: Field, column: NDArray[np.generic], source: str, first: int) -> Floats:
    codes: dict[object, float] = {value: float(code) for code, value in enumerate(field.values)}
    if column.dtype.kind in "biuf" and not any(isinstance(value, str) for value in field.values):
        table = np.asarray([float(value) for value in field.values])
        order = np.argsort(table)
        ordered, values = table[order], column.astype(np.float64)
        place = order[np.searchsorted((ordered[1:] + ordered[:-1]) / 2, values)]
        # A place on a scale is the same in float32 and in text, 0.1 for all that they differ.
        slack = 1e-3 * float(np.diff(ordered).min()) if field.kind == "ordinal" else 0.0
        unknown = (np.abs(table[place] - values) > slack) & ~np.isnan(values)
        found: Floats = np.where(np.isnan(values), np.nan, place.astype(np.float64))
    else:
        found = np.asarray([np.nan if value is None or value != value else codes.get(value, -1.0) for value in column])
        unknown = found == -1.0
    if unknown.any():
        row = int(np.argwhere(unknown)[0][0])
        allowed = ", ".join(repr(value) for value in field.values[:12]) + (" …" if len(field.values) > 12 else "")
        raise DataError(
            f"{source}, column {field.name!r}, row {first + row + 1}: {_plain(column[row])!r} is not one of its "
            f"{len(field.values)} values ({allowed}).\n"
            f"  Correct the value, leave it empty if it is missing, or fit again with data that hold it."
        )
    return found


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist() if value.size < 10 else f"an array of shape {value.shape}"
    return value.item() if isinstance(value, np.generic) else value


def to_user(field: Field, values: Floats) -> NDArray[np.generic]:
    """What `to_model` made of a column, undone: codes become values, grids are rounded to, types return.

    What a law says beyond the field's range, as a Gaussian may, is brought to the nearest value in it: no picture wraps
    round, and no fraction is above 1.
    """
    if field.coded and field.values:
        codes = np.clip(np.rint(values), 0, len(field.values) - 1).astype(np.int64)
        dtype = object if any(isinstance(value, str) for value in field.values) else np.dtype(field.dtype)
        return np.asarray(field.values, dtype=dtype)[codes]
    least, greatest = field.limits
    own = np.clip(values * field.scale + field.loc, least, greatest)
    if field.resolution > 0:
        own = on_grid(own, field.resolution, field.offset)
        # The nearest point of a grid that does not pass through an end may lie beyond it.
        own = own + field.resolution * ((own < least) * 1.0 - (own > greatest))
    found = _cast(own, np.dtype(field.dtype))
    for end in field.excluded if field.ends else ():  # reached by rounding alone
        found[found == end] = field.ends[0 if end == least else 1]
    return found


def on_grid(values: Floats, step: float, offset: float) -> Floats:
    """The nearest points offset + k · step, with 0.30000000000000004 kept out of people's files."""
    nearest = offset + np.rint((values - offset) / step) * step
    for decimals in range(10):
        if all(abs(number * 10**decimals - round(number * 10**decimals)) < 1e-9 for number in (step, offset)):
            return np.round(nearest, decimals)
    return nearest


def _cast(values: Floats, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    if dtype.kind in "iu":
        limits = np.iinfo(dtype.type)  # type: ignore[type-var]
        return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
    return values.astype(dtype if dtype.kind == "f" else np.float64)


def log_jacobian(field: Field) -> float:
    """log |dz/dx| of one observed value, in nats; 0 for a field scored by probability mass."""
    return 0.0 if field.discrete else -math.log(field.scale)
