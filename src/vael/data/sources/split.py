"""The column that says which rows train, validate and test."""

import dataclasses
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from vael.data.frame import Frame
from vael.errors import DataError, RecipeError

SPLIT_COLUMN = "split"
SPLIT_WORDS = MappingProxyType(
    {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}
)


def with_split(frame: Frame, name: str | None = None) -> Frame:
    """`frame` with its rows' split read off column `name`, which stays; unchanged where `name` is "".

    Where nobody named a column, the source's own split counts, else a column called "split" if it holds nothing but
    train, valid, validation, val and test: one that merely happens to be called so is ordinary data. A column the
    user named has to be there (RecipeError) and to hold nothing but those words (DataError naming the row).
    """
    if name == "" or (name is None and (frame.split is not None or SPLIT_COLUMN not in frame.columns)):
        return frame
    column = frame.columns.get(name or SPLIT_COLUMN)
    if column is None:
        raise RecipeError(f"{frame.name}: no column {name!r} to split by. There are: {', '.join(frame.columns)}.")
    words = split_words(column)
    if (words != "").all():
        return dataclasses.replace(frame, split=words)
    if name is None:
        return frame
    row = int(np.flatnonzero(words == "")[0])
    raise DataError(
        f"{frame.name}, column {name!r}, row {row + 1}: {column[row]!r} names no split.\n"
        f"  Write train, validation or test in every row, or leave the split to a share of the rows."
    )


def split_words(column: NDArray[np.generic]) -> NDArray[np.str_]:
    """ "train", "validation" or "test" for each row, "" where the value is none of the words for them."""
    return np.asarray([SPLIT_WORDS.get(str(word).strip().lower(), "") for word in column.tolist()], dtype="<U10")
