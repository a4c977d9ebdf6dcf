"""The pieces that rows on disk come in, and how they are joined to what is kept in memory at a time."""

from collections.abc import Callable, Sequence
from itertools import accumulate

FEWEST_BLOCKS = 4  # in a window, so that what is neighbour on disk is not neighbour in a batch
WINDOW = 1 << 16  # rows that small blocks are joined to


def unasked(now: tuple[int, ...], following: tuple[int, ...]) -> None:
    """Nobody wants to know."""


class Blocks:
    """Blocks of consecutive rows: how long each is, and which are read together.

    sizes: Rows of each block. rows_wanted: What a window should hold at least, if blocks are small.
    expect: Told the blocks of the window that is about to be used, and of the one after it, to read them in time.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        rows_wanted: int = WINDOW,
        expect: Callable[[tuple[int, ...], tuple[int, ...]], None] = unasked,
    ) -> None:
        self.starts = [0, *accumulate(sizes)]
        self.rows_wanted, self.expect = rows_wanted, expect

    def __len__(self) -> int:
        return len(self.starts) - 1

    def rows(self, block: int) -> int:
        """How many rows a block has."""
        return self.starts[block + 1] - self.starts[block]

    def windows(self, order: Sequence[int]) -> list[tuple[int, ...]]:
        """The blocks in `order`, joined to windows of at least four, and of `rows_wanted` rows; the last has the rest.

        A function of the sizes alone, so that a resumed run has the same windows.
        """
        found: list[tuple[int, ...]] = []
        window: list[int] = []
        rows = 0
        for block in order:
            window.append(block)
            rows += self.rows(block)
            if len(window) >= FEWEST_BLOCKS and rows >= self.rows_wanted:
                found.append(tuple(window))
                window, rows = [], 0
        return [*found, tuple(window)] if window else found
