"""Reweighted wake–sleep: the encoder learns from weighted draws by its density alone."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from vael.errors import RecipeError
from vael.models.terms import Terms
from vael.objectives.score import check_drawn, score_of


@dataclass(frozen=True)
class WakeWake:
    """The importance-weighted bound for decoder and prior; for the encoder KL(p(z|x)‖q(z|x)), on the same draws.

        ∂_θ log 1/K Σ_k w_k = Σ_k w̃_k ∂_θ log p(x, z_k),    φ follows Σ_k w̃_k ∂_φ log q(z_k|x),    w̃_k = w_k / Σ_j w_j

    The second is E under p(z|x) of ∂_φ log q, estimated with weights that sum to one: biased like 1/K. It covers p(z|x)
    where the bound's own gradient seeks one mode of it, and gains signal with K where that of `IWAE` loses it. z need
    not be continuous; no baseline is wanted.

    `draws` is K, at least 2: a single draw weighs 1, and says nothing of p(z|x). Draws carry no gradient; a posterior
    that takes all states is refused.

    Call: `Terms` → the bound of `IWAE` in nats per example, shape `(B,)`, higher is better.
    Source: Bornschein & Bengio 2015, Reweighted wake-sleep, section 3 (arXiv 1406.2751); Le et al. 2019 (arXiv
        1805.10469) for leaving out its sleep phase.
    """

    draws: int = 10
    reparameterised: ClassVar[bool] = False
    paths: ClassVar[frozenset[str]] = frozenset({"smooth", "none"})

    def __post_init__(self) -> None:
        if self.draws < 2:
            raise RecipeError(f"WakeWake: draws must be at least 2, being weighed by each other, got {self.draws}.")

    def __call__(self, terms: Terms) -> Tensor:
        check_drawn("WakeWake", terms, at_least=2)
        log_w = terms.log_w_fixed
        share = log_w.detach().softmax(0)
        bound = (log_w.detach() + terms.log_measure).logsumexp(0)
        way = (share * (log_w + score_of(terms))).sum(0)
        return bound + (way - way.detach())

    def warmed(self, share: float | Tensor) -> "WakeWake":
        raise RecipeError("WakeWake: has no rate to warm up. Leave warm_up at 0, or use the Score objective.")
