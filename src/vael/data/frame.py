"""Raw columns as they came, before anyone decides what they mean."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Frame:
    """Named columns of equal length, each an array `(N, *shape)`.

    A text column is an object array of `str`, with None where the value is missing; a numeric column with missing
    values is float64 with NaN there; whole numbers stay integers.

    name: What to call the data in messages and default run names, such as "digits" or "people.csv".
    origin: The source's name or absolute path, to read it again; None for data handed over in memory.
    labels: Names of columns the source itself calls labels.
    split: `(N,)` of "train", "validation" or "test" where the source says so, else None.
    marks: For each column, the texts that were read as missing.
    kinds: For columns whose kind the source itself knows, the kind and how it is known.
    notes: What was left out or changed in reading, a sentence each.
    first: The source's row that the first one is, where they are a piece of it; so messages count as the source does.
    """

    name: str
    columns: dict[str, NDArray[np.generic]]
    origin: str | None = None
    labels: tuple[str, ...] = ()
    split: NDArray[np.str_] | None = None
    marks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    kinds: dict[str, tuple[str, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    first: int = 0

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0
