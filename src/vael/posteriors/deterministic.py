"""An encoder without noise: an autoencoder's."""

from torch import Tensor

from vael.distributions.point import Point
from vael.posteriors.base import EncodedPosterior


class DeterministicPosterior(EncodedPosterior):
    """z = network(x), no law of z at all: the encoder of an autoencoder.

    With it a model has no rate, no bound and no log p(x): those are null, with this as the reason, and the best weights
    are those of the best objective on the validation rows. p(z) has no part in training unless the objective brings
    the codes to it; `refit_prior` fits one to the codes afterwards.

    Args:
        network: x `(B, *event)` → `(B, D)`.
        latent: D; the network's outputs where it has them.
    """

    family = Point
    has_density = False

    def width(self, latent: int) -> int:
        return latent

    def needs(self) -> str:
        return "needs a number for each latent"

    @property
    def path(self) -> str:
        return "point"

    def law(self, outputs: Tensor) -> Point:
        return Point(outputs)
