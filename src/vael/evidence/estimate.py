"""A log p(x) and what it is worth."""

import math
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from vael.data.dataset import Split
from vael.errors import RecipeError
from vael.models.vae import VAE

LARGEST_CHUNK = 2**19  # features decoded at once: 2 MiB a tensor stays in cache; 2**23 took 2 × the CPU time

Bound = Literal["lower", "upper", "exact", "estimate"]


@dataclass(frozen=True)
class Estimate:
    """log p(x) of each of N examples, in nats, with its own error.

    value: `(N,)` float64.
    monte_carlo_error: `(N,)`, standard error of each value from the draws alone; 0 where exact, NaN for one draw.
    effective_sample_size: `(N,)`, how many equal weights the draws are worth, 1 … draws; None where it has no meaning.
    bound: "lower" or "upper" when the value is below or above log p(x) in expectation, "exact" when it is log p(x),
        "estimate" when it can err to either side by more than its Monte Carlo error.
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
        sizes = [piece.effective_sample_size for piece in pieces if piece.effective_sample_size is not None]
        return replace(
            pieces[0],
            value=torch.cat([piece.value for piece in pieces]),
            monte_carlo_error=torch.cat([piece.monte_carlo_error for piece in pieces]),
            effective_sample_size=torch.cat(sizes) if sizes else None,
        )

    def shifted(self, nats: Tensor) -> "Estimate":
        """The estimate with `nats` `(N,)` added to each value."""
        return replace(self, value=self.value + nats)


class Estimator(Protocol):
    """A way to log p(x): called with a model and a split, it answers for every example of the split."""

    def __call__(self, model: VAE, split: Split, *, seed: int = 0) -> Estimate: ...


def check_count(name: str, **counts: int) -> None:
    """Raise RecipeError unless every count is a whole number of at least 1."""
    for what, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise RecipeError(f"{name}: {what} must be a whole number of at least 1, got {count!r}.")


def check_number(name: str, **numbers: float) -> None:
    """Raise RecipeError unless every number is a finite one."""
    for what, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise RecipeError(f"{name}: {what} must be a number, got {number!r}.")


def mean_weight(log_w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log of the mean of K weights, its standard error, and their effective sample size; each `(B,)` from `(K, B)`.

    The error is the delta method's √(1/ESS − 1/K), with ESS = (Σ w)² / Σ w²; NaN for a single weight.
    """
    return of_sums(log_w.logsumexp(0), (2 * log_w).logsumexp(0), len(log_w))


def of_sums(once: Tensor, twice: Tensor, draws: int) -> tuple[Tensor, Tensor, Tensor]:
    """The same from log Σ w and log Σ w²."""
    size = torch.exp(2 * once - twice)
    # One draw says nothing of its own spread.
    error = torch.sqrt(torch.clamp(1 / size - 1 / draws, min=0)) if draws > 1 else torch.full_like(once, math.nan)
    return once - math.log(draws), error, size
