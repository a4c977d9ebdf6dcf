"""A direction and how sure it is."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, softplus

from vael.distributions.von_mises_fisher import VonMisesFisher
from vael.errors import RecipeError
from vael.posteriors.base import EncodedPosterior

LEAST = 1e-2  # concentration: with so little, KL to the uniform law is below 1e-4 / D


class VonMisesFisherPosterior(EncodedPosterior):
    """q(z|x) = vMF(z; o / |o|, D softplus(k) + 0.01) over unit vectors of R^D,    (o, k) = network(x)

    D is what concentrations are counted in: a law with κ = D has a mean about half as long as z is, for any D.

    The law is the same in training and in evaluation. Its prior is `HypersphericalPrior`. Without a warm-up of the rate
    the concentrations are apt to go to nothing before the decoder reads z.

    Args:
        network: x `(B, *event)` → `(B, D + 1)`: the direction at any length, and the concentration's output. A network
            with `takes_mask` is also handed which features were observed.
        latent: D; one less than `network.outputs` where the network has them.

    Raises RecipeError for fewer than two latents.
    Source: Davidson, Falorsi, De Cao, Kipf & Tomczak 2018, Hyperspherical variational auto-encoders (arXiv 1804.00891).
    """

    family = VonMisesFisher

    def __init__(self, network: nn.Module | None = None, latent: int | None = None) -> None:
        super().__init__(network, latent)
        if self.latent < 2:
            raise RecipeError(f"VonMisesFisherPosterior: latent must be at least 2, got {self.latent}.")

    def width(self, latent: int) -> int:
        return latent + 1

    def needs(self) -> str:
        return "needs D + 1 outputs for D latents: a direction and a concentration"

    def law(self, outputs: Tensor) -> VonMisesFisher:
        arrow, concentration = outputs.split([self.latent, 1], -1)
        length = arrow.norm(dim=-1, keepdim=True)
        first = pad(torch.ones_like(length), (0, self.latent - 1))
        lost = length < torch.finfo(arrow.dtype).tiny ** 0.5  # an encoder of zeros points nowhere: along the first axis
        loc = torch.where(lost, first, arrow / torch.where(lost, torch.ones_like(length), length))
        return VonMisesFisher(loc, self.latent * softplus(concentration.squeeze(-1)) + LEAST)
