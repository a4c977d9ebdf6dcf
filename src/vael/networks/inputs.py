"""What an encoder sees of x: pictures brought to one range, rows made into features."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vael.errors import RecipeError


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

    @property
    def given(self) -> int:
        """How many numbers the network inside is told beside x."""
        return given_of(self.network)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        seen = (x - self.loc) / self.scale
        out: Tensor = self.network(seen, given=given) if self.given else self.network(seen)
        return out


def given_of(network: nn.Module | None) -> int:
    """How many numbers a network is told beside x; 0 for one that takes x alone."""
    count: int = getattr(network, "given", 0)
    return count


MANY = 50  # levels of a category above which a learned embedding may stand for its zeros and one


class RowFeatures(nn.Module):
    """A row of a table as features, then another network; a hole is a zero and a flag.

    A number, or a code whose order means something, stays as it is; a count c becomes log(1 + c); a category of L
    levels L zeros with a one, or, with more than `many` levels, `embedding` learned numbers; and every column that can
    be missing adds a 1 where it was observed.

    Args:
        network: What comes after; its inputs are `RowFeatures.width(levels, holes, embedding, many)` features.
        levels: For each column the number of its levels, 0 for a number, an ordered code or a count, 2 for zero or one.
        counts: Numbers of the columns that hold counts.
        holes: Numbers of the columns that can be missing.
        embedding: How many numbers stand for a category of many levels; 0 for zeros with a one throughout.
        many: How many levels are still written as zeros with a one.
    """

    takes_mask = True
    _plain: Tensor
    _counts: Tensor
    _holes: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        levels: Sequence[int],
        counts: Sequence[int],
        holes: Sequence[int],
        embedding: int = 0,
        many: int = MANY,
    ) -> None:
        super().__init__()
        if embedding < 0 or many < 2:
            raise RecipeError(
                f"RowFeatures: embedding must be at least 0 and many at least 2, got {embedding} and {many}."
            )
        self.network = network
        self.levels, self.counts, self.holes = list(levels), list(counts), list(holes)
        self.embedding, self.many = embedding, many
        self.outputs = network.outputs
        self._coded = [column for column, level in enumerate(levels) if level > 2]
        self.embedded = nn.ModuleDict(
            {str(column): embedding_of(levels[column], embedding) for column in self._coded if self._wide(column)}
        )
        plain = [column for column, level in enumerate(levels) if level <= 2 and column not in set(counts)]
        self.register_buffer("_plain", torch.tensor(plain, dtype=torch.int64), persistent=False)
        self.register_buffer("_counts", torch.tensor(self.counts, dtype=torch.int64), persistent=False)
        self.register_buffer("_holes", torch.tensor(self.holes, dtype=torch.int64), persistent=False)

    @staticmethod
    def width(levels: Sequence[int], holes: Sequence[int], embedding: int = 0, many: int = MANY) -> int:
        """How many features a row becomes."""
        coded = [embedding if embedding and level > many else level for level in levels if level > 2]
        return sum(coded) + len(levels) - len(coded) + len(holes)

    def _wide(self, column: int) -> bool:
        return self.embedding > 0 and self.levels[column] > self.many

    def _coded_features(self, column: int, codes: Tensor, dtype: torch.dtype) -> Tensor:
        if self._wide(column):
            learned: Tensor = self.embedded[str(column)](codes)
            return learned
        return torch.eye(self.levels[column], dtype=dtype, device=codes.device)[codes]

    @property
    def given(self) -> int:
        """How many numbers the network inside is told beside x."""
        return given_of(self.network)

    def forward(self, x: Tensor, observed: Tensor | None = None, given: Tensor | None = None) -> Tensor:
        """x `(B, F)` and observed `(B, F)` booleans, or None when nothing is missing; given `(..., C)`."""
        features = self.features(x, observed)
        out: Tensor = self.network(features, given=given) if self.given else self.network(features)
        return out

    def features(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """What the network inside sees of x, `(B, width)`."""
        seen = torch.ones_like(x) if observed is None else observed.to(x.dtype)
        values = x * seen
        pieces = [values.index_select(-1, self._plain), torch.log1p(values.index_select(-1, self._counts))]
        for column in self._coded:
            pieces.append(self._coded_features(column, values[:, column].long(), x.dtype) * seen[:, column, None])
        pieces.append(seen.index_select(-1, self._holes))
        return torch.cat(pieces, -1)


def embedding_of(levels: int, width: int) -> nn.Embedding:
    """`width` learned numbers for each level, of length about one, as zeros with a one are."""
    table = nn.Embedding(levels, width)
    nn.init.normal_(table.weight, std=width**-0.5)
    return table
