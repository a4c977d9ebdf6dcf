"""What data on disk offer, whatever they are: groups of rows, each of which can be read alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from vael.data.frame import Frame
from vael.data.schema import Schema


@dataclass(frozen=True)
class Group:
    """The rows of one piece of one file, or one block of small files.

    number: Of the piece in its file. rows: How many. first: Its first row in the file, counted from 0. start: The same
        in the whole source, files in the order of their names. split: What a folder's name says, or "".
    """

    file: Path
    number: int
    rows: int
    first: int
    start: int
    split: str = ""


class Store(Protocol):
    """Rows on disk in groups; until one is read, what is known of it is how many rows it has.

    name, origin: As of a `Frame`. files: How many there are. sampled, held_out: How many rows the schema is understood
    from, and how many of validation and test are kept in memory, at most or about.
    """

    @property
    def name(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def groups(self) -> tuple[Group, ...]: ...
    @property
    def files(self) -> int: ...
    @property
    def sampled(self) -> int: ...
    @property
    def held_out(self) -> int: ...
    @property
    def fingerprint(self) -> str:
        """A kind, a colon and a SHA-256; the kind says over what."""

    @property
    def nulls(self) -> dict[str, int]:
        """How many values of a column are missing in all rows, where that is known without reading them."""

    def __len__(self) -> int: ...

    def like(self, schema: Schema) -> Self:
        """The store, to be read as data of a known schema."""

    def read(self, group: Group, columns: Sequence[str]) -> Frame:
        """The `columns` of one group that are there, as a frame whose rows are counted as in its file."""

    def index(self, group: Group) -> NDArray[np.int64]:
        """The rows of the whole source that a group has, in its order, `(rows,)`."""

    def sample(self, groups: Sequence[Group], rows: int, seed: int) -> Frame:
        """At most about `rows` rows of `groups`, of each the same share chosen by `seed`, all columns, as one frame."""
