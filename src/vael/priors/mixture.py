"""A prior of several Gaussians."""

import math

import torch
from torch import Tensor, nn

from vael.distributions.gaussian_mixture import GaussianMixture
from vael.errors import RecipeError
from vael.priors.base import Prior


class MixturePrior(Prior):
    """p(z) = Σ_c w_c N(z; m_c, diag s_c²) over `latent` numbers, everything learned.

    It starts with equal weights, means drawn from N(0, ½) and variances of ½: together as wide as N(0, I).

    Args:
        latent: D.
        components: C.
    """

    family = GaussianMixture

    def __init__(self, latent: int, components: int = 10) -> None:
        super().__init__()
        if latent < 1 or components < 1:
            raise RecipeError(
                f"MixturePrior: latent and components must be at least 1, got {latent} latents and {components} "
                f"components."
            )
        self.latent, self.components = latent, components
        self.loc = nn.Parameter(math.sqrt(0.5) * torch.randn(components, latent))
        self.log_scale = nn.Parameter(torch.full((components, latent), 0.5 * math.log(0.5)))
        self.logits = nn.Parameter(torch.zeros(components))

    def forward(self, given: Tensor | None = None) -> GaussianMixture:
        return GaussianMixture(self.loc, self.log_scale, self.logits)
