"""The standard normal prior."""

from torch import Tensor

from vael.distributions.diagonal_gaussian import StandardGaussian
from vael.errors import RecipeError
from vael.priors.base import Prior


class GaussianPrior(Prior):
    """p(z) = N(0, I) over `latent` numbers."""

    family = StandardGaussian

    def __init__(self, latent: int) -> None:
        super().__init__()
        if latent < 1:
            raise RecipeError(f"GaussianPrior: latent must be at least 1, got {latent}.")
        self.latent = latent

    def forward(self, given: Tensor | None = None) -> StandardGaussian:
        return StandardGaussian(self.latent)
