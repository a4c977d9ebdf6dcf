"""The likelihood, with the aggregated posterior held at the prior by a distance of clouds."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from vael.errors import RecipeError
from vael.models.terms import Terms
from vael.objectives.distances import DISTANCES, check_distance, distance_to_prior
from vael.objectives.elbo import Warmed, check_draws


@dataclass(frozen=True)
class Matching:
    """The expected log-likelihood less a distance between the z of a batch and draws of the prior.

        L = −distortion − weight · d({z_1 … z_B}, {z′_1 … z′_B}),    z_i ~ q(z|x_i),  z′_i ~ p(z)

    The rate is not charged: q(z|x) of each x may be as narrow as it likes, only all of them together have to look like
    p(z). A posterior needs no density. The distances are V-statistics, so a batch twice over has the same value, and
    a small batch is charged more than a large one: at equal laws MMD² has mean 2 (1 − E k) / B.

    Args:
        distance: "mmd_rbf" or "mmd_imq" (WAE-MMD), "energy" (Radon–Sobolev), "sliced" (sliced Wasserstein), "sinkhorn",
            "cramer_wold" or "cauchy_schwarz"; see `vael.distributions.distances`.
        weight: Nats per unit of the distance, at least 0.
        width: That of the kernel, in units of z: h of mmd_rbf, √(C/2) of mmd_imq, the blur of sinkhorn, the smoothing
            of cramer_wold and cauchy_schwarz. Left out, √D, but √D/4 for sinkhorn and 0.4 for cramer_wold.
        draws: K, at least 1; the distance is the mean over K clouds.

    Call: `Terms` with spare noise → nats per example, shape `(B,)`, higher is better; no bound of log p(x).
    Source: Tolstikhin et al. 2018 (arXiv 1711.01558), eq. 4; Kolouri et al. 2018 (arXiv 1804.01947); Patrini et al.
        2019 (arXiv 1810.01118); Tabor et al. 2018 (arXiv 1805.09235); Turinici 2019 (arXiv 1911.13135); Tran et al.
        2022 (arXiv 2101.02149).
    """

    joins_examples: ClassVar[bool] = True
    is_bound: ClassVar[bool] = False
    # Over all states in place of draws the clouds would have to be weighed.
    paths: ClassVar[frozenset[str]] = frozenset({"smooth", "relaxed", "point"})
    distance: str = "mmd_rbf"
    weight: float | Tensor = 10.0
    width: float | Tensor | None = None
    draws: int = 1

    def __post_init__(self) -> None:
        check_draws("Matching", self.draws)
        check_distance("Matching", self.distance, self.width)
        if not isinstance(self.weight, Tensor) and not self.weight >= 0:
            raise RecipeError(f"Matching: weight must be at least 0, got {self.weight}.")

    @property
    def spare(self) -> int:
        """Normals for draws of the prior, and for the directions of shadows."""
        return DISTANCES[self.distance].spare

    def __call__(self, terms: Terms) -> Tensor:
        return -terms.distortion - self.cost(terms)

    def cost(self, terms: Terms) -> Tensor:
        """The weight times the distance, the same for every example of the batch."""
        return self.weight * distance_to_prior("Matching", terms, self.distance, self.width)

    def warmed(self, share: float | Tensor) -> Warmed:
        return Warmed(self, share)
