"""The bound with a floor under the rate of each unit."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vael.errors import RecipeError
from vael.models.terms import Terms
from vael.objectives.elbo import Warmed, check_draws


@dataclass(frozen=True)
class FreeBits:
    """The bound, where a unit's rate below λ costs λ: nothing is gained by shutting a unit off.

        mean over the batch of L = −distortion − Σ_j max(λ, mean over the batch of KL_j)

    j counts the units where q and p factorise over them, else the whole latent is one. A unit below the floor gets no
    gradient from its rate. Each example's value is its ELBO less what its units lack to λ, so it is never above the
    ELBO, and equals it for λ = 0.

    Args:
        bits: λ, in nats like everything here (the method's name is the paper's), at least 0.
        draws: K, at least 1.

    Call: `Terms` → nats per example, shape `(B,)`, higher is better.
    Source: Kingma et al. 2016, Improved variational inference with inverse autoregressive flow (arXiv 1606.04934).
    """

    joins_examples: ClassVar[bool] = True
    bits: float = 0.25
    draws: int = 1

    def __post_init__(self) -> None:
        check_draws("FreeBits", self.draws)
        if not self.bits >= 0:
            raise RecipeError(f"FreeBits: bits must be at least 0 nats, got {self.bits}.")

    def __call__(self, terms: Terms) -> Tensor:
        return -terms.distortion - self.cost(terms)

    def cost(self, terms: Terms) -> Tensor:
        """The rate of each unit, brought up to λ in the mean over the batch; nats, `(B,)`."""
        rate = terms.unit_rate  # (B, G)
        mean = rate.mean(0)
        free = rate.detach() + (self.bits - mean.detach())
        return torch.where(mean < self.bits, free, rate).sum(-1)

    def warmed(self, share: float | Tensor) -> Warmed:
        return Warmed(self, share)
