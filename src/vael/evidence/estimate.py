"""A log p(x) and what it is worth."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Bound = Literal["lower", "upper", "unbiased", "exact"]


@dataclass(frozen=True)
class Estimate:
    """log p(x) of each of N examples, in nats, with its own error.

    value: `(N,)` float64.
    monte_carlo_error: `(N,)`, standard error of each value from the draws alone; 0 where exact, NaN for one draw.
    effective_sample_size: `(N,)`, how many equal weights the draws are worth, 1 … draws; None where exact.
    bound: "lower" when the value is below log p(x) in expectation, "exact" when it is log p(x).
    """

    value: Tensor
    monte_carlo_error: Tensor
    effective_sample_size: Tensor | None
    draws: int
    method: str
    bound: Bound

    @staticmethod
    def join(pieces: list["Estimate"]) -> "Estimate":
        """Estimates of consecutive examples as one."""
        first = pieces[0]
        sizes = [piece.effective_sample_size for piece in pieces if piece.effective_sample_size is not None]
        return Estimate(
            torch.cat([piece.value for piece in pieces]),
            torch.cat([piece.monte_carlo_error for piece in pieces]),
            torch.cat(sizes) if sizes else None,
            first.draws,
            first.method,
            first.bound,
        )
