"""Several laws side by side, each over its own columns of x."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution


class Product(Distribution):
    """Independent distributions over disjoint columns that together fill the last axis.

    Args:
        parts: `(columns, distribution)`; the distribution has batch shape `(..., len(columns))`.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, parts: Sequence[tuple[Tensor, Distribution]]) -> None:
        self.parts = list(parts)
        self.order = torch.argsort(torch.cat([columns for columns, _ in self.parts]))
        super().__init__(self.parts[0][1].batch_shape[:-1] + Size((len(self.order),)), validate_args=False)

    def gather(self, pieces: Sequence[Tensor]) -> Tensor:
        """One tensor `(..., F)` in x's column order, from one piece `(..., len(columns))` per part."""
        return torch.cat(list(pieces), -1).index_select(-1, self.order)

    def log_prob(self, value: Tensor) -> Tensor:
        """Nats per column, shape `(..., F)`."""
        return self.gather([law.log_prob(value.index_select(-1, columns)) for columns, law in self.parts])
