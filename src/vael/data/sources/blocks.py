"""A folder of pictures in blocks of files, opened when they are asked for."""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vael.data.frame import Frame
from vael.data.schema import Schema
from vael.data.sources.folder import LABEL, find_pictures
from vael.data.sources.groups import Group
from vael.data.sources.pictures import Size, open_pictures

BLOCK = 512  # pictures


@dataclass(frozen=True)
class PictureBlocks:
    """Pictures on disk, known by their names and sizes until they are opened.

    A block holds files from all over the folder, so that it shows no class more than another. size: What each picture
    is brought to, if anything. known: Shape of the pictures of a model. greys: Whether the model sees grey levels, so
    that a block of one-bit pictures is black and white, not zero and one.
    """

    name: str
    origin: str
    names: tuple[str, ...]
    labels: tuple[str | None, ...]
    splits: tuple[str, ...]
    size: Size | None = None
    known: tuple[int, int, int] | None = None
    greys: bool = False
    sampled = 4 * BLOCK
    held_out = 10_000

    @staticmethod
    def open(folder: Path, size: Size | None = None) -> "PictureBlocks":
        """The pictures in `folder`; raises DataError where there are none, or some lie outside the split's folders."""
        found = find_pictures(folder)
        splits = [""] * len(found.names) if found.split is None else found.split.tolist()
        origin = str(folder.resolve())
        return PictureBlocks(folder.name, origin, tuple(found.names), tuple(found.labels), tuple(splits), size)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def files(self) -> int:
        return len(self.names)

    @property
    def nulls(self) -> dict[str, int]:
        return {}

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        """The files in the order of the blocks: shuffled once and for all, split by split."""
        shuffled = np.random.default_rng(0).permutation(len(self.names))
        order: NDArray[np.int64] = shuffled[np.argsort(np.asarray(self.splits)[shuffled], kind="stable")]
        return order

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        ordered, start = np.asarray(self.splits)[self._order], 0
        found: list[Group] = []
        for split in sorted(set(self.splits)):
            left = int((ordered == split).sum())
            while left:
                rows = min(BLOCK, left)
                found.append(Group(Path(self.origin), len(found), rows, start, start, split))
                start, left = start + rows, left - rows
        return tuple(found)

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for name in self.names:
            digest.update(f"{name}|{(Path(self.origin) / name).stat().st_size}\n".encode())
        return f"sizes:{digest.hexdigest()}"

    def like(self, schema: Schema) -> "PictureBlocks":
        field = schema.modelled[0]
        shape = field.shape if len(field.shape) == 3 else None
        return dataclasses.replace(self, known=shape, greys=field.kind == "image")

    def index(self, group: Group) -> NDArray[np.int64]:
        return self._order[group.start : group.start + group.rows]

    def read(self, group: Group, columns: Sequence[str]) -> Frame:
        return self._opened(self.index(group))

    def _opened(self, rows: NDArray[np.int64]) -> Frame:
        paths = {self.names[row]: Path(self.origin) / self.names[row] for row in rows.tolist()}
        x, _ = open_pictures(paths, self.name, size=self.size, known=self.known, greys=self.greys)
        if not any(self.labels):
            return Frame(self.name, {"x": x}, origin=self.origin)
        labels = np.asarray([self.labels[row] for row in rows.tolist()], dtype=object)
        return Frame(self.name, {"x": x, LABEL: labels}, origin=self.origin, labels=(LABEL,))

    def sample(self, groups: Sequence[Group], rows: int, seed: int) -> Frame:
        own = np.concatenate([self.index(group) for group in groups])
        return self._opened(np.random.default_rng(seed).permutation(own)[:rows])
