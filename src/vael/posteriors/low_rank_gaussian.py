"""A Gaussian that is correlated along a few directions."""

from torch import Tensor, nn

from vael.distributions.low_rank_gaussian import LowRankGaussian
from vael.errors import RecipeError
from vael.posteriors.base import EncodedPosterior


class LowRankGaussianPosterior(EncodedPosterior):
    """q(z|x) = N(z; loc(x), S (I + V Vᵀ) S),    S = diag(exp(log_scale(x))),  V(x) of `rank` columns

    Args:
        network: x `(B, *event)` → `(B, (2 + rank) D)`: loc, log_scale, and V column by column. A network with
            `takes_mask` is also handed which features were observed.
        latent: D; found from `network.outputs` where the network has them.
        rank: How many directions are correlated, at least 1.

    Source: Rezende, Mohamed & Wierstra 2014, section 4.2 (arXiv 1401.4082), there for the precision.
    """

    family = LowRankGaussian

    def __init__(self, network: nn.Module | None = None, latent: int | None = None, *, rank: int = 2) -> None:
        if not (isinstance(rank, int) and rank >= 1):
            raise RecipeError(f"LowRankGaussianPosterior: rank must be a whole number of at least 1, got {rank!r}.")
        self.rank = rank
        super().__init__(network, latent)

    def width(self, latent: int) -> int:
        return (2 + self.rank) * latent

    def needs(self) -> str:
        return f"needs a loc, a log_scale and {self.rank} entries of V for each latent"

    def law(self, outputs: Tensor) -> LowRankGaussian:
        loc, log_scale, factor = outputs.split([self.latent, self.latent, self.rank * self.latent], -1)
        return LowRankGaussian(loc, log_scale, factor.unflatten(-1, (self.rank, self.latent)).mT)
