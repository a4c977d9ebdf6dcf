"""A Gaussian wrapped about a point of hyperbolic space."""

import math

from torch import Tensor, nn

from vael.distributions.poincare import from_centre
from vael.distributions.wrapped_normal import WrappedNormal
from vael.errors import RecipeError
from vael.posteriors.base import EncodedPosterior


class WrappedNormalPosterior(EncodedPosterior):
    """q(z|x) = a Gaussian wrapped about exp₀(loc(x)) in the Poincaré ball,    (loc, log_scale) = network(x)

    Both are lengths in hyperbolic space. Its prior is `HyperbolicPrior` of the same curvature.

    Args:
        network: x `(B, *event)` → `(B, 2D)`: the way from the ball's middle to the centre, and log_scale. A network
            with `takes_mask` is also handed which features were observed.
        latent: D; half of `network.outputs` where the network has them.
        curvature: c > 0; space has curvature −c.

    Raises RecipeError for a curvature that is no positive number, or is not the prior's.
    Source: Nagano, Yamaguchi, Fujita & Koyama 2019 (arXiv 1902.02992); Mathieu et al. 2019 (arXiv 1901.06033).
    """

    family = WrappedNormal

    def __init__(self, network: nn.Module | None = None, latent: int | None = None, curvature: float = 1.0) -> None:
        super().__init__(network, latent)
        if not (isinstance(curvature, int | float) and 0 < curvature < math.inf):
            raise RecipeError(f"WrappedNormalPosterior: curvature must be a number above 0, got {curvature!r}.")
        self.curvature = curvature

    def bind(self, prior: nn.Module, likelihood: nn.Module) -> None:
        theirs = getattr(prior, "curvature", self.curvature)
        if theirs != self.curvature:
            raise RecipeError(
                f"WrappedNormalPosterior: curvature is {self.curvature}, the prior's {theirs}; the two are laws of "
                f"different spaces.\n  Give both one, such as --set prior.curvature={self.curvature}."
            )

    def width(self, latent: int) -> int:
        return 2 * latent

    def needs(self) -> str:
        return "needs a loc and a log_scale for each latent"

    def law(self, outputs: Tensor) -> WrappedNormal:
        way, log_scale = outputs.chunk(2, -1)
        return WrappedNormal(from_centre(way, self.curvature), log_scale, self.curvature)
