"""The bound with part of its rate exchanged for a distance of the aggregated posterior to the prior."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from vael.errors import RecipeError
from vael.models.terms import Terms
from vael.objectives.distances import DISTANCES, check_distance, distance_to_prior
from vael.objectives.elbo import Warmed, check_draws


@dataclass(frozen=True)
class InfoVAE:
    """The expected log-likelihood less a part of the rate, and a distance of q̄(z) to p(z).

        L = −distortion − (1 − α) KL(q(z|x)‖p(z)) − (α + λ − 1) d(q̄, p),    q̄(z) the mean of q(z|x) over the batch

    The rate is mutual information of x and z plus KL(q̄‖p); α takes a part of it off, and λ pays the second summand
    back in another distance. α = 0, λ = 1 is the ELBO; α = 1 is MMD-VAE, which charges no rate.

    Args:
        alpha: α, at most 1.
        weight: λ, nats per unit of the distance; α + λ at least 1.
        distance, width: As of `Matching`.
        draws: K, at least 1.

    Call: `Terms` with spare noise → nats per example, shape `(B,)`, higher is better; above log p(x) it may be.
    Source: Zhao, Song & Ermon 2017, InfoVAE, eq. 6 and section 3.2 (arXiv 1706.02262).
    """

    joins_examples: ClassVar[bool] = True
    is_bound: ClassVar[bool] = False
    paths: ClassVar[frozenset[str]] = frozenset({"smooth", "relaxed"})
    alpha: float | Tensor = 0.5
    weight: float | Tensor = 10.0
    distance: str = "mmd_rbf"
    width: float | Tensor | None = None
    draws: int = 1

    def __post_init__(self) -> None:
        check_draws("InfoVAE", self.draws)
        check_distance("InfoVAE", self.distance, self.width)
        if isinstance(self.alpha, Tensor) or isinstance(self.weight, Tensor):
            return
        if not self.alpha <= 1:
            raise RecipeError(f"InfoVAE: alpha must be at most 1, got {self.alpha}.")
        if not self.alpha + self.weight >= 1:
            raise RecipeError(
                f"InfoVAE: alpha + weight must be at least 1, got {self.alpha} + {self.weight}; a distance of negative "
                f"weight would be sought."
            )

    @property
    def spare(self) -> int:
        """Normals for draws of the prior, and for the directions of shadows."""
        return DISTANCES[self.distance].spare

    def __call__(self, terms: Terms) -> Tensor:
        return -terms.distortion - self.cost(terms)

    def cost(self, terms: Terms) -> Tensor:
        """(1 − α) times the rate and (α + λ − 1) times the distance."""
        far = distance_to_prior("InfoVAE", terms, self.distance, self.width)
        paid = (self.alpha + self.weight - 1) * far
        # At α = 1 the rate is not even asked for: a posterior without a density has none.
        free = not isinstance(self.alpha, Tensor) and self.alpha == 1
        return paid if free else (1 - self.alpha) * terms.rate + paid

    def warmed(self, share: float | Tensor) -> Warmed:
        return Warmed(self, share)
