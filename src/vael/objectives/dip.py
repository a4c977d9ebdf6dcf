"""The bound with the covariance of z over the data held at the identity."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from vael.errors import RecipeError
from vael.models.terms import Terms
from vael.objectives.elbo import Warmed, check_draws


@dataclass(frozen=True)
class DIP:
    """DIP-VAE: the bound less the squared distance of a covariance C of z to the identity, entry by entry.

        L = −distortion − rate − λ_od Σ_{i≠j} C_ij² − λ_d Σ_i (C_ii − 1)²

    Args:
        covariance: "means", C = Cov_x E[z|x], the paper's DIP-VAE-I; or "draws", that of q̄(z), which has the mean of
            Cov[z|x] besides: DIP-VAE-II.
        off_diagonal: λ_od, in nats, at least 0.
        diagonal: λ_d, in nats, at least 0.
        draws: K, at least 1.

    Covariances are over the batch, means over B: of one example "means" has C = 0.
    Call: `Terms` → nats per example, shape `(B,)`, higher is better, never above the ELBO.
    Source: Kumar, Sattigeri & Balakrishnan 2018, eq. 6 and 7 (arXiv 1711.00848).
    """

    joins_examples: ClassVar[bool] = True
    covariance: Literal["means", "draws"] = "means"
    off_diagonal: float | Tensor = 10.0
    diagonal: float | Tensor = 10.0
    draws: int = 1

    def __post_init__(self) -> None:
        check_draws("DIP", self.draws)
        if self.covariance not in ("means", "draws"):
            raise RecipeError(f"DIP: covariance must be means or draws, got {self.covariance!r}.")
        for name in ("off_diagonal", "diagonal"):
            value = getattr(self, name)
            if not isinstance(value, Tensor) and not value >= 0:
                raise RecipeError(f"DIP: {name} must be at least 0, got {value}.")

    def __call__(self, terms: Terms) -> Tensor:
        return -terms.distortion - self.cost(terms)

    def cost(self, terms: Terms) -> Tensor:
        """The rate, and what the batch's covariance lacks to the identity, the same for every example."""
        if len(terms.latents) != 1:
            raise RecipeError(f"DIP: is for one level of latents, got {len(terms.latents)}.")
        found = self.of_batch(terms.latents[0].q)
        squared = (found - torch.eye(len(found), dtype=found.dtype, device=found.device)).square()
        on = squared.diagonal().sum()
        return terms.rate + self.off_diagonal * (squared.sum() - on) + self.diagonal * on

    def of_batch(self, q: torch.distributions.Distribution) -> Tensor:
        """C over the batch, `(D, D)`."""
        centred = q.mean - q.mean.mean(0)
        between = centred.mT @ centred / len(centred)
        if self.covariance == "means":
            return between
        within: Tensor = q.covariance if hasattr(q, "covariance") else torch.diag_embed(q.variance)
        return between + within.mean(0)

    def warmed(self, share: float | Tensor) -> Warmed:
        return Warmed(self, share)
