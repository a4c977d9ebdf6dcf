"""A rate that is held at a set value."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from vael.errors import RecipeError
from vael.models.terms import Terms
from vael.objectives.elbo import check_draws


@dataclass(frozen=True)
class Capacity:
    """The expected log-likelihood, less γ times the distance of the mean rate from C.

        mean over the batch of L = −distortion − γ |mean over the batch of the rate − C|

    A warm-up raises C from 0 to its full value. With C = 0 it is `Beta` with β = γ, and the ELBO for γ = 1.

    Args:
        capacity: C, in nats, at least 0.
        weight: γ, above 0. The rate ends at C once γ exceeds the slope of the rate–distortion curve there, the β whose
            rate is C. More only adds noise: on the digits with C = 14, γ = 3, 10 and the paper's 1000 end at −ELBO 89,
            95 and 110 nats.
        draws: K, at least 1.

    Call: `Terms` → nats per example, shape `(B,)`, higher is better; above the ELBO where the rate is near C.
    Source: Burgess et al. 2018, Understanding disentangling in β-VAE, eq. 8 (arXiv 1804.03599).
    """

    joins_examples: ClassVar[bool] = True
    is_bound: ClassVar[bool] = False
    capacity: float | Tensor = 25.0
    weight: float = 10.0
    draws: int = 1

    def __post_init__(self) -> None:
        check_draws("Capacity", self.draws)
        if not isinstance(self.capacity, Tensor) and not self.capacity >= 0:
            raise RecipeError(f"Capacity: capacity must be at least 0 nats, got {self.capacity}.")
        if not self.weight > 0:
            raise RecipeError(f"Capacity: weight must be above 0, got {self.weight}.")

    def __call__(self, terms: Terms) -> Tensor:
        off = terms.rate - self.capacity
        # Each example's own distance, towards the side the batch is on: their mean is |mean off|.
        return -terms.distortion - self.weight * torch.sign(off.detach().mean()) * off

    def warmed(self, share: float | Tensor) -> "Rising":
        return Rising(self, share)


@dataclass(frozen=True)
class Rising:
    """`Capacity` on its way up: C times the share a warm-up has reached, read anew at every call."""

    of: Capacity
    share: float | Tensor

    @property
    def draws(self) -> int:
        return self.of.draws

    def __call__(self, terms: Terms) -> Tensor:
        return replace(self.of, capacity=self.of.capacity * self.share)(terms)

    def warmed(self, share: float | Tensor) -> Self:
        return replace(self, share=share)
