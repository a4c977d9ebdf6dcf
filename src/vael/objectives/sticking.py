"""The bound whose gradient dies out where the posterior is exact."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from vael.models.terms import Terms, average
from vael.objectives.elbo import Warmed, check_draws


@dataclass(frozen=True)
class STL:
    """The ELBO by its draws, with log q's own parameters held still: sticking the landing.

        L(x) = E_q[log w],    log w = log p(x|z) + log p(z) − log q(z|x)

    With z = g(φ, ε) the whole derivative of log w by q's parameters φ is

        d log w / dφ = ∂_z log w · ∂_φ g − ∂_φ log q(z|x)|_z

    and the last term, the score, has mean ∫ ∂_φ q = ∂_φ 1 = 0. Leaving it out keeps the mean. At q = p(z|x), log w does
    not depend on z, so what is left is zero draw by draw; with the score, or with the KL in closed form, it still has
    variance there. Far from the posterior the score may as well have lowered the variance. Over all states of an
    enumerated z the gradient is the exact one: Σ_z ∂_φ q(z) log w(z).

    `draws` is K, at least 1. Draws have to be q's own: a relaxed posterior's are not, and its score has no mean zero.

    Call: `Terms` → the bound in nats per example, shape `(B,)`, the rate in it measured by draws, higher is better.
    Source: Roeder, Wu & Duvenaud 2017, Sticking the landing (arXiv 1703.09194).
    """

    draws: int = 1
    paths: ClassVar[frozenset[str]] = frozenset({"smooth", "all"})

    def __post_init__(self) -> None:
        check_draws("STL", self.draws)

    def __call__(self, terms: Terms) -> Tensor:
        return average(terms.log_w_fixed, terms.log_measure)

    def cost(self, terms: Terms) -> Tensor:
        """The rate by its draws, mean of log q − log p, with q's parameters held still."""
        return average(terms.log_px_z - terms.log_w_fixed, terms.log_measure)

    def warmed(self, share: float | Tensor) -> Warmed:
        return Warmed(self, share)
