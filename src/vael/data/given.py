"""What p(x | given) is conditioned on, as numbers: fields beside x, and parts of a picture."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vael.data.frame import Frame
from vael.data.schema import Field, Schema
from vael.data.transforms import fit_view, to_model
from vael.errors import DataError, RecipeError

Box = tuple[int, int, int, int]  # rows from … to, columns from … to, counted from 0, the second of each left out


def numbers_of(field: Field) -> int:
    """How many numbers a given field becomes: a one among zeros for a category, else one; and a flag for holes."""
    return (field.levels if field.kind == "category" else 1) + bool(field.missing)


def fitted(field: Field, column: NDArray[np.generic]) -> Field:
    """A given field with its view fitted on `column`: what is no code is standardised."""
    return field if field.coded else fit_view(dataclasses.replace(field, view="standard"), column)


def encode_given(frame: Frame, schema: Schema) -> Tensor | None:
    """The given fields of every row, side by side, `(N, C)`; None where there are none.

    A hole is zeros and a flag that says so. Raises DataError for a missing column, a value that the field cannot take,
    and a hole where there was none when the model was fitted.
    """
    if not schema.given:
        return None
    return torch.cat([_numbers(field, frame) for field in schema.given], -1)


def _numbers(field: Field, frame: Frame) -> Tensor:
    if field.name not in frame.columns:
        raise DataError(
            f"{frame.name}: no column {field.name!r}, on which the model is conditioned.\n  Give data that hold it."
        )
    values = torch.from_numpy(to_model(field, frame.columns[field.name], frame.name, first=frame.first))
    hole = values.isnan()
    if hole.any() and not field.missing:
        row = int(hole.nonzero()[0, 0])
        raise DataError(
            f"{frame.name}, column {field.name!r}, row {frame.first + row + 1}: is empty, and the model was fitted on "
            f"a column without holes.\n  Fill it in, or fit on data that have such rows."
        )
    if not torch.isfinite(values[~hole]).all():
        raise DataError(f"{frame.name}, column {field.name!r}: holds an infinity, of which nothing can be told.")
    return spelled(field, values.nan_to_num()) * (~hole)[:, None] + _flags(field, hole)


def _flags(field: Field, hole: Tensor) -> Tensor:
    flags = torch.zeros(len(hole), numbers_of(field))
    if field.missing:
        flags[:, -1] = hole.float()
    return flags


def spelled(field: Field, values: Tensor) -> Tensor:
    """Values as the model sees them `(N,)`, codes or standardised numbers, as the numbers that are given, `(N, C)`."""
    if field.kind == "category":
        found = torch.eye(field.levels)[values.long()]
    elif field.coded:
        found = (values / max(field.levels - 1, 1)).float().unsqueeze(-1)
    else:
        found = values.float().unsqueeze(-1)
    return torch.nn.functional.pad(found, (0, bool(field.missing)))


def given_row(schema: Schema, said: Mapping[str, Any]) -> Tensor:
    """The given numbers `(1, C)` that a person says by name, such as {"label": 3}.

    Raises RecipeError for a field that is not given, or one left out; DataError for a value it cannot take.
    """
    names = [field.name for field in schema.given]
    for name in said:
        if name not in names:
            part = ["a part of each picture"] if schema.part is not None else []
            raise RecipeError(f"given {name!r}: the model is conditioned on {', '.join([*names, *part]) or 'nothing'}.")
    lacking = [field.name for field in schema.given if field.name not in said and not field.missing]
    if lacking or schema.part is not None:
        what = "a part of each picture" if schema.part is not None else f"{lacking[0]!r} too"
        raise RecipeError(
            f"given: the model is conditioned on {what}.\n"
            f"  Say all of {', '.join(names)}, or take rows of data instead."
        )
    columns = {field.name: _cell(field, said.get(field.name)) for field in schema.given}
    found = encode_given(Frame("given", columns), schema)
    assert found is not None
    return found


def codes_told(told: Tensor) -> Tensor:
    """The code `(N,)` that each row of zeros with a one `(N, levels)` tells, −1 where all are zeros: a hole."""
    return torch.where(told.any(-1), told.argmax(-1), -1)


def given_code(field: Field, value: Any) -> int:
    """The code of one value of a field of classes. Raises DataError where it is none."""
    return int(to_model(field, _cell(field, value), "given")[0])


def _cell(field: Field, value: Any) -> NDArray[np.generic]:
    """One value of a field, in the type of its column."""
    if value is None:
        return np.array([np.nan]) if field.dtype != "str" else np.array([None], dtype=object)
    if field.dtype == "str":
        return np.array([str(value)], dtype=object)
    try:
        return np.array([float(value)])
    except (TypeError, ValueError) as error:
        raise DataError(f"given {field.name}={value!r}: is not a number.") from error


# ── parts of a picture ───────────────────────────────────────────────────────────────────────────────────────


def boxes(texts: Sequence[str]) -> tuple[Box, ...]:
    """`ROWS,COLUMNS` texts such as "14:28,0:14" or ":,13" as boxes; −1 stands for the end.

    Raises RecipeError for anything else.
    """
    found = []
    for text in texts:
        sides = [_side(side.strip()) for side in text.split(",")]
        if len(sides) != 2 or None in sides:
            raise RecipeError(
                f"given part {text!r}: expected ROWS,COLUMNS, each FROM:TO or a number, such as 14:28,0:14."
            )
        (top, bottom), (left, right) = sides  # type: ignore[misc]
        found.append((top, bottom, left, right))
    return tuple(found)


def _side(text: str) -> tuple[int, int] | None:
    if re.fullmatch(r"\d+", text):
        return int(text), int(text) + 1
    match = re.fullmatch(r"(\d*):(\d*)", text)
    return (int(match[1] or 0), int(match[2]) if match[2] else -1) if match else None


def part_of(field: Field) -> Tensor | None:
    """Which numbers of a picture are given, `(F,)` booleans; None where none are. Raises RecipeError for no pixels."""
    if not field.part:
        return None
    if len(field.shape) != 3:
        raise RecipeError(f"given part: is for pictures; {field.name!r} has shape {field.shape}.")
    seen = torch.zeros(field.shape, dtype=torch.bool)
    height, width = field.shape[1:]
    for top, bottom, left, right in field.part:
        seen[:, top : height if bottom < 0 else bottom, left : width if right < 0 else right] = True
    if not seen.any() or seen.all():
        raise RecipeError(
            f"given part: {'no' if not seen.any() else 'every'} pixel of pictures of {height} × {width} is given."
        )
    return seen.flatten()


def part_weight(field: Field) -> Tensor | None:
    """What each number of x is multiplied by to be given, `(F,)`: 0 where it is not; grey levels come to [0, 1]."""
    part = part_of(field)
    if part is None:
        return None
    return part / (field.levels - 1) if field.kind == "image" and field.view == "whole" else part.float()


def with_part(x: Tensor, told: Tensor | None, first: int, schema: Schema) -> Tensor:
    """New examples x `(n, *event)` with the given part of a picture put back, from row `first` of `told` on."""
    weight = None if schema.part is None else part_weight(schema.modelled[0])
    if weight is None or told is None:
        return x
    pixels = told[first : first + len(x), -schema.dims :].to(x)
    own = pixels / torch.where(weight > 0, weight, torch.ones_like(weight))
    return torch.where(weight > 0, own, x.flatten(1)).reshape(x.shape)
