"""Which examples a step sees: a function of (seed, step), with every example once an epoch."""

from bisect import bisect_right
from itertools import accumulate

import torch
from torch import Tensor

from vael.data.blocks import Blocks
from vael.noise import stream

Window = tuple[int, ...]  # blocks that are read together


class Order:
    """An endless walk through N examples in batches of one size, newly shuffled every epoch.

    Step t takes places t·B … t·B + B − 1 of the epochs' permutations laid end to end, so the last batch of an epoch
    is filled from the next and no example is seen more often than another. Any step can be asked for at any time.

    blocks: Where examples are read from the disk in blocks. An epoch then permutes the blocks, joins neighbours to
    windows, and permutes the examples inside each window; what is kept in memory is a window, not an epoch.
    """

    def __init__(self, examples: int, batch: int, seed: int, blocks: Blocks | None = None) -> None:
        self.examples, self.batch, self.seed, self.blocks = examples, batch, seed, blocks
        self._epoch, self._permutation = -1, torch.empty(0, dtype=torch.int64)
        self._windows_of, self._windows, self._ends = -1, list[Window](), list[int]()
        self._window = (-1, -1)

    def _of_epoch(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            self._epoch = epoch
            self._permutation = torch.randperm(self.examples, generator=stream(self.seed, epoch, purpose="order"))
        return self._permutation

    def _from(self, epoch: int, offset: int) -> Tensor:
        """An epoch's permutation from place `offset` on, to its end or to that of the window which holds the place."""
        if self.blocks is None:
            return self._of_epoch(epoch)[offset:]
        windows, ends = self._windows_in(epoch, self.blocks)
        number = bisect_right(ends, offset)
        if (epoch, number) != self._window:
            self._window = epoch, number
            self._permutation = self._of_window(epoch, number, windows[number], self.blocks)
            following = windows[number + 1] if number + 1 < len(windows) else self._first_window(epoch + 1, self.blocks)
            self.blocks.expect(windows[number], following)
        return self._permutation[offset - (ends[number - 1] if number else 0) :]

    def _of_window(self, epoch: int, number: int, window: Window, blocks: Blocks) -> Tensor:
        held = torch.cat([torch.arange(blocks.starts[block], blocks.starts[block + 1]) for block in window])
        return held[torch.randperm(len(held), generator=stream(self.seed, epoch, number, purpose="order"))]

    def _windows_in(self, epoch: int, blocks: Blocks) -> tuple[list[Window], list[int]]:
        """The windows of an epoch, and the place where each ends."""
        if epoch != self._windows_of:
            self._windows_of, self._windows = epoch, blocks.windows(self._blocks_in(epoch, blocks))
            self._ends = list(accumulate(sum(map(blocks.rows, window)) for window in self._windows))
        return self._windows, self._ends

    def _blocks_in(self, epoch: int, blocks: Blocks) -> list[int]:
        order: list[int] = torch.randperm(len(blocks), generator=stream(self.seed, epoch, purpose="blocks")).tolist()
        return order

    def _first_window(self, epoch: int, blocks: Blocks) -> Window:
        return blocks.windows(self._blocks_in(epoch, blocks))[0]

    def __call__(self, step: int) -> Tensor:
        """Positions of the examples of `step`, `(B,)`."""
        place, pieces = step * self.batch, []
        wanted = self.batch
        while wanted:
            epoch, offset = divmod(place, self.examples)
            piece = self._from(epoch, offset)[:wanted]
            pieces.append(piece)
            place, wanted = place + len(piece), wanted - len(piece)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)
