"""The importance-weighted bound for latents that jump."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vael.errors import RecipeError
from vael.models.terms import Terms
from vael.objectives.score import check_drawn, score_of


@dataclass(frozen=True)
class VIMCO:
    """The importance-weighted bound, differentiated through the density of q with a baseline from the other draws.

        ∂_φ L_K = E[ Σ_k (L̂ − L̂_−k) ∂_φ log q(z_k|x) + Σ_k w̃_k ∂_φ log w_k ],    L̂ = log 1/K Σ_k w_k

    L̂_−k is L̂ with w_k replaced by the geometric mean of the other weights: it does not depend on z_k, so it leaves the
    mean alone, and what remains of L̂ is what z_k itself has added. The second sum with ∂_θ in place of ∂_φ is the
    gradient of decoder and prior.

    `draws` is K, at least 2. Draws carry no gradient; a posterior that takes all states is refused, see `Score`.

    Call: `Terms` → the bound of `IWAE` in nats per example, shape `(B,)`, higher is better.
    Source: Mnih & Rezende 2016, Variational inference for Monte Carlo objectives (arXiv 1602.06725), eq. 8 and 10.
    """

    draws: int = 10
    reparameterised: ClassVar[bool] = False
    paths: ClassVar[frozenset[str]] = frozenset({"smooth", "none"})

    def __post_init__(self) -> None:
        if self.draws < 2:
            raise RecipeError(
                f"VIMCO: draws must be at least 2, each being judged by the others, got {self.draws}. "
                "For one draw use Score with baseline none."
            )

    def __call__(self, terms: Terms) -> Tensor:
        check_drawn("VIMCO", terms, at_least=2)
        log_w = terms.log_w
        bound = (log_w + terms.log_measure).logsumexp(0)
        gain = bound.detach() - without_each(log_w.detach())
        way = (gain * score_of(terms)).sum(0)
        return bound + (way - way.detach())

    def warmed(self, share: float | Tensor) -> "VIMCO":
        raise RecipeError("VIMCO: has no rate to warm up. Leave warm_up at 0, or use the Score objective.")


def without_each(log_w: Tensor) -> Tensor:
    """log 1/K (Σ_{j≠k} w_j + geometric mean of the w_j, j ≠ k) for every k: `(K, B)` → `(K, B)`, K at least 2.

    By a table of K × K weights, since log(Σ w − w_k) loses its digits where w_k is nearly all of the sum.
    """
    draws = len(log_w)
    others = (log_w.sum(0) - log_w) / (draws - 1)
    own = torch.eye(draws, dtype=torch.bool, device=log_w.device).unsqueeze(-1)
    replaced = torch.where(own, others.unsqueeze(1), log_w.unsqueeze(0))  # (K, K, B), row k without its own
    return replaced.logsumexp(1) - math.log(draws)
