"""The expected log-likelihood alone."""

from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor

from vael.errors import RecipeError
from vael.models.terms import Terms
from vael.objectives.elbo import check_draws


@dataclass(frozen=True)
class Reconstruction:
    """How well x is made again, with no word about z: what an autoencoder maximises.

        L(x) = E_q[log p(x|z)]

    No bound of log p(x): it has no rate. With a Gaussian posterior the noise shrinks to nothing under it.

    Args:
        draws: K, at least 1.

    Call: `Terms` → nats per example, shape `(B,)`, higher is better.
    """

    draws: int = 1
    is_bound: ClassVar[bool] = False
    paths: ClassVar[frozenset[str]] = frozenset({"smooth", "relaxed", "all", "point"})

    def __post_init__(self) -> None:
        check_draws("Reconstruction", self.draws)

    def __call__(self, terms: Terms) -> Tensor:
        return -terms.distortion

    def warmed(self, share: float | Tensor) -> Self:
        raise RecipeError("Reconstruction: has no rate to warm up; leave out warm_up.")
