"""Which examples a step sees: a function of (seed, step), with every example once an epoch."""

import torch
from torch import Tensor

from vael.noise import stream


class Order:
    """An endless walk through N examples in batches of one size, newly shuffled every epoch.

    Step t takes places t·B … t·B + B − 1 of the epochs' permutations laid end to end, so the last batch of an epoch
    is filled from the next and no example is seen more often than another. Any step can be asked for at any time.
    """

    def __init__(self, examples: int, batch: int, seed: int) -> None:
        self.examples, self.batch, self.seed = examples, batch, seed
        self._epoch, self._permutation = -1, torch.empty(0, dtype=torch.int64)

    def _of_epoch(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            self._epoch = epoch
            self._permutation = torch.randperm(self.examples, generator=stream(self.seed, epoch, purpose="order"))
        return self._permutation

    def __call__(self, step: int) -> Tensor:
        """Positions of the examples of `step`, `(B,)`."""
        place, pieces = step * self.batch, []
        wanted = self.batch
        while wanted:
            epoch, offset = divmod(place, self.examples)
            piece = self._of_epoch(epoch)[offset : offset + wanted]
            pieces.append(piece)
            place, wanted = place + len(piece), wanted - len(piece)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)
