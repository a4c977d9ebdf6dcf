"""The bound with a floor under the rate of each example."""

from dataclasses import dataclass

from torch import Tensor

from vael.errors import RecipeError
from vael.models.terms import Terms
from vael.objectives.elbo import Warmed, check_draws


@dataclass(frozen=True)
class RateFloor:
    """The bound, where an example's rate below δ costs δ: a rate of δ is committed to z.

        L(x) = −distortion − max(δ, KL(q(z|x)‖p(z)))

    δ-VAE commits the rate by a posterior that cannot come nearer to the prior than δ; here it can, and gains nothing by
    it. The floor is under the whole rate of each example, that of `FreeBits` under each unit's mean over the batch.
    Never above the ELBO, and the ELBO for δ = 0.

    Args:
        floor: δ, in nats, at least 0.
        draws: K, at least 1.

    Call: `Terms` → nats per example, shape `(B,)`, higher is better.
    Source: the committed rate is from Razavi et al. 2019, Preventing posterior collapse with δ-VAEs (arXiv 1901.03416).
    """

    floor: float | Tensor = 5.0
    draws: int = 1

    def __post_init__(self) -> None:
        check_draws("RateFloor", self.draws)
        if not isinstance(self.floor, Tensor) and not self.floor >= 0:
            raise RecipeError(f"RateFloor: floor must be at least 0 nats, got {self.floor}.")

    def __call__(self, terms: Terms) -> Tensor:
        return -terms.distortion - self.cost(terms)

    def cost(self, terms: Terms) -> Tensor:
        """The rate, brought up to δ."""
        return terms.rate.clamp(min=self.floor)

    def warmed(self, share: float | Tensor) -> Warmed:
        return Warmed(self, share)
