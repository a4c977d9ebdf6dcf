"""A normal prior about the centre of hyperbolic space."""

import math

import torch
from torch import Tensor

from vael.distributions.wrapped_normal import WrappedNormal
from vael.errors import RecipeError
from vael.priors.base import Prior


class HyperbolicPrior(Prior):
    """p(z) = a Gaussian wrapped about the centre of the Poincaré ball, where room grows exponentially outwards.

    A density with respect to hyperbolic volume. Its posterior is `WrappedNormalPosterior` of the same curvature.

    Args:
        latent: D.
        curvature: c > 0; space has curvature −c, and z lies within 1/√c.
        scale: Standard deviation of the steps from the centre, a hyperbolic length.

    Raises RecipeError for no latents, and for a curvature or scale that is no positive number.
    Source: Mathieu, Le Lan, Maddison, Tomioka & Teh 2019, section 3 (arXiv 1901.06033).
    """

    family = WrappedNormal
    loc: Tensor

    def __init__(self, latent: int, curvature: float = 1.0, scale: float = 1.0) -> None:
        super().__init__()
        if latent < 1:
            raise RecipeError(f"HyperbolicPrior: latent must be at least 1, got {latent}.")
        for name, value in (("curvature", curvature), ("scale", scale)):
            if not (isinstance(value, int | float) and 0 < value < math.inf):
                raise RecipeError(f"HyperbolicPrior: {name} must be a number above 0, got {value!r}.")
        self.latent, self.curvature, self.scale = latent, curvature, scale
        self.register_buffer("loc", torch.zeros(latent), persistent=False)

    def forward(self, given: Tensor | None = None) -> WrappedNormal:
        return WrappedNormal(self.loc, torch.full_like(self.loc, math.log(self.scale)), self.curvature)
