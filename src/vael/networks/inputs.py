"""What an encoder sees of x: pictures brought to one range, rows made into features."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot


class Rescaled(nn.Module):
    """(x − loc) / scale, then another network: for grey values 0 … levels − 1.

    Args:
        network: What comes after.
        loc, scale: Centre and half range, in the units of x.
    """

    def __init__(self, network: nn.Module, *, loc: float, scale: float) -> None:
        super().__init__()
        self.network, self.loc, self.scale = network, loc, scale
        self.outputs = network.outputs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.network((x - self.loc) / self.scale)
        return out


class RowFeatures(nn.Module):
    """A row of a table as features, then another network; a hole is a zero and a flag.

    A number stays as it is, a count c becomes log(1 + c), a category of L levels L zeros with a one, and every column
    that can be missing adds a 1 where it was observed.

    Args:
        network: What comes after; its inputs are `RowFeatures.width(levels, holes)` features.
        levels: For each column the number of its levels, 0 for a number or a count, 2 for zero or one.
        counts: Numbers of the columns that hold counts.
        holes: Numbers of the columns that can be missing.
    """

    takes_mask = True
    _plain: Tensor
    _counts: Tensor
    _holes: Tensor

    def __init__(
        self, network: nn.Module, *, levels: Sequence[int], counts: Sequence[int], holes: Sequence[int]
    ) -> None:
        super().__init__()
        self.network = network
        self.levels, self.counts, self.holes = list(levels), list(counts), list(holes)
        self.outputs = network.outputs
        self._coded = [column for column, level in enumerate(levels) if level > 2]
        plain = [column for column, level in enumerate(levels) if level <= 2 and column not in set(counts)]
        self.register_buffer("_plain", torch.tensor(plain, dtype=torch.int64), persistent=False)
        self.register_buffer("_counts", torch.tensor(self.counts, dtype=torch.int64), persistent=False)
        self.register_buffer("_holes", torch.tensor(self.holes, dtype=torch.int64), persistent=False)

    @staticmethod
    def width(levels: Sequence[int], holes: Sequence[int]) -> int:
        """How many features a row becomes."""
        return sum(level if level > 2 else 1 for level in levels) + len(holes)

    def forward(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """x `(B, F)` and observed `(B, F)` booleans, or None when nothing is missing."""
        seen = torch.ones_like(x) if observed is None else observed.to(x.dtype)
        values = x * seen
        pieces = [values.index_select(-1, self._plain), torch.log1p(values.index_select(-1, self._counts))]
        for column in self._coded:
            flags = one_hot(values[:, column].long(), self.levels[column]).to(x.dtype)
            pieces.append(flags * seen[:, column, None])
        pieces.append(seen.index_select(-1, self._holes))
        out: Tensor = self.network(torch.cat(pieces, -1))
        return out
