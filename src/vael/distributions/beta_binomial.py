"""Whole numbers 0 … n whose probability of a success is itself a beta draw."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution


class BetaBinomial(Distribution):
    """P(x) = C(n, x) B(x + a, n − x + b) / B(a, b) over x = 0 … n.

    Args:
        a, b: Concentrations, positive, shape `(..., *event)`; float64, since differences of log Γ lose digits.
        n: The largest value.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, a: Tensor, b: Tensor, n: int) -> None:
        self.a, self.b, self.n = a, b, n
        super().__init__(a.shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.n * self.a / (self.a + self.b)

    def log_prob(self, value: Tensor) -> Tensor:
        x, n = value.double(), self.n
        choose = math.lgamma(n + 1) - torch.lgamma(x + 1) - torch.lgamma(n - x + 1)
        found = choose + _log_beta(x + self.a, n - x + self.b) - _log_beta(self.a, self.b)
        return found.to(value.dtype)


def _log_beta(a: Tensor, b: Tensor) -> Tensor:
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
