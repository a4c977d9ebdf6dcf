"""An encoder without noise: an autoencoder's."""

import torch
from torch import Tensor, nn
from torch.func import jacrev

from vael.distributions.point import Point
from vael.errors import RecipeError
from vael.posteriors.base import EncodedPosterior


class DeterministicPosterior(EncodedPosterior):
    """z = network(x), no law of z at all: the encoder of an autoencoder.

    With it a model has no rate, no bound and no log p(x): those are null, with this as the reason, and the best weights
    are those of the best objective on the validation rows. p(z) has no part in training unless the objective brings
    the codes to it; `refit_prior` fits one to the codes afterwards.

    Two costs of a code, each 0 for none, are taken off any objective:

        sparse · Σ_j |z_j|  +  contract · Σ_jf (∂z_j / ∂x_f)²

    The contraction is exact, D backward passes through the encoder, and is for encoders that see each example alone.

    Args:
        network: x `(B, *event)` → `(B, D)`.
        latent: D; the network's outputs where it has them.
        sparse, contract: Nats per unit of the two costs, at least 0.

    Source: Rifai et al. 2011, Contractive auto-encoders, eq. 2–3 (ICML); the absolute values are the sparse
        autoencoder's penalty in its oldest form.
    """

    family = Point
    has_density = False

    def __init__(
        self, network: nn.Module | None = None, latent: int | None = None, *, sparse: float = 0.0, contract: float = 0.0
    ) -> None:
        super().__init__(network, latent)
        if not (sparse >= 0 and contract >= 0):
            raise RecipeError(
                f"DeterministicPosterior: sparse and contract must be at least 0, got {sparse} and {contract}."
            )
        self.sparse, self.contract = sparse, contract

    def width(self, latent: int) -> int:
        return latent

    def needs(self) -> str:
        return "needs a number for each latent"

    @property
    def path(self) -> str:
        return "point"

    def law(self, outputs: Tensor) -> Point:
        costs = {"sparse": self.sparse * outputs.abs().sum(-1)} if self.sparse else {}
        return Point(outputs, costs)

    def forward(self, x: Tensor, given: Tensor | None = None, observed: Tensor | None = None) -> Point:
        law = self.law(self.outputs_of(x, observed, given))
        if self.contract:
            law.penalties["contract"] = self.contract * self.squared_slope(x, given, observed)
        return law

    def squared_slope(self, x: Tensor, given: Tensor | None = None, observed: Tensor | None = None) -> Tensor:
        """Σ_jf (∂z_j / ∂x_f)² of each example, `(B,)`."""

        def summed(at: Tensor) -> Tensor:  # over examples, each of which moves its own code alone
            return self.outputs_of(at, observed, given).sum(0)

        with torch.inference_mode(False):
            slopes: Tensor = jacrev(summed)(x.clone())  # (D, B, *event)
        return slopes.square().flatten(2).sum((0, 2))
