"""The importance-weighted bound."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from vael.errors import RecipeError
from vael.models.terms import Terms
from vael.objectives.elbo import check_draws


@dataclass(frozen=True)
class IWAE:
    """Importance-weighted bound: log of the mean of K importance weights.

        L_K(x) = E[ log 1/K Σ_k p(x, z_k) / q(z_k|x) ],   z_k ~ q(z|x)

    Equals the ELBO at K = 1 in expectation, never decreases with K, tends to log p(x). The gradient reaching q loses
    signal as K grows (Rainforth et al. 2018, arXiv 1802.04537). `draws` is K, at least 1.

    Call: `Terms` with log-densities `(K, B)` → bound in nats per example, shape `(B,)`, higher is better.
    Source: Burda, Grosse, Salakhutdinov 2016, section 3 (arXiv 1509.00519).
    """

    draws: int = 50
    # With all states in place of draws the bound is log p(x), of which q is no part: the encoder would learn nothing.
    paths: ClassVar[frozenset[str]] = frozenset({"smooth", "relaxed"})

    def __post_init__(self) -> None:
        check_draws("IWAE", self.draws)

    def __call__(self, terms: Terms) -> Tensor:
        return (terms.log_w + terms.log_measure).logsumexp(0)

    def warmed(self, share: float | Tensor) -> "IWAE":
        raise RecipeError("IWAE: has no rate to warm up. Leave warm_up at 0, or use the ELBO or Beta objective.")
