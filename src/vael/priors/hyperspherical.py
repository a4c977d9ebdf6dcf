"""The uniform prior on a sphere."""

from torch import Tensor

from vael.distributions.uniform_sphere import UniformSphere
from vael.errors import RecipeError
from vael.priors.base import Prior


class HypersphericalPrior(Prior):
    """p(z) uniform over the unit vectors of R^D: no place is the middle, so none draws every q(z|x) to itself.

    A density with respect to the sphere's area. Its posterior is `VonMisesFisherPosterior`.

    Args:
        latent: D, at least 2: how many numbers z holds, one more than it is free in.

    Raises RecipeError for fewer.
    Source: Davidson, Falorsi, De Cao, Kipf & Tomczak 2018, Hyperspherical variational auto-encoders (arXiv 1804.00891).
    """

    family = UniformSphere

    def __init__(self, latent: int) -> None:
        super().__init__()
        if latent < 2:
            raise RecipeError(f"HypersphericalPrior: latent must be at least 2, got {latent}.")
        self.latent = latent

    def forward(self, given: Tensor | None = None) -> UniformSphere:
        return UniformSphere(self.latent)
