"""The variational Rényi bound: one family from the ELBO to log p(x) and beyond."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vael.errors import RecipeError
from vael.models.terms import Terms, average
from vael.objectives.elbo import check_draws

NEAR = 0.01  # of α to 1: nearer, a difference of logarithms over 1 − α would lose its digits


@dataclass(frozen=True)
class Renyi:
    """The variational Rényi bound: the log of a power mean of K importance weights.

        L_α(x) = E[ 1/(1−α) log 1/K Σ_k w_k^{1−α} ] → log p(x) − D_α(q‖p(z|x)) for K → ∞,    w = p(x, z) / q(z|x)

    α → 1 is the ELBO by its draws, α = 0 is `IWAE`; it falls as α grows. For α < 0 it is above log p(x) once K is large
    enough, and `is_bound` is False.

    Args:
        alpha: α, any finite number.
        draws: K, at least 1; with one draw every α is the ELBO.

    Call: `Terms` → nats per example, shape `(B,)`, higher is better.
    Source: Li & Turner 2016, Rényi divergence variational inference, eq. 14 (arXiv 1602.02311).
    """

    paths: ClassVar[frozenset[str]] = frozenset({"smooth", "relaxed"})
    alpha: float | Tensor = 0.5
    draws: int = 50

    def __post_init__(self) -> None:
        check_draws("Renyi", self.draws)
        if not isinstance(self.alpha, Tensor) and not abs(self.alpha) < float("inf"):
            raise RecipeError(f"Renyi: alpha must be a finite number, got {self.alpha}.")

    @property
    def is_bound(self) -> bool:
        """Whether its mean is at most log p(x) for every K."""
        return not isinstance(self.alpha, Tensor) and self.alpha >= 0

    def __call__(self, terms: Terms) -> Tensor:
        power = 1 - self.alpha
        if isinstance(power, Tensor) or abs(power) > NEAR:
            return (power * terms.log_w + terms.log_measure).logsumexp(0) / power
        mean = average(terms.log_w, terms.log_measure)
        if power == 0:
            return mean
        off = torch.expm1(power * (terms.log_w - mean.detach()))
        return mean.detach() + torch.log1p(average(off, terms.log_measure)) / power

    def warmed(self, share: float | Tensor) -> "Renyi":
        raise RecipeError("Renyi: has no rate to warm up. Leave warm_up at 0, or use the ELBO or Beta objective.")
