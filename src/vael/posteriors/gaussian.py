"""A Gaussian with independent components."""

from torch import Tensor

from vael.distributions.diagonal_gaussian import DiagonalGaussian
from vael.posteriors.base import EncodedPosterior


class GaussianPosterior(EncodedPosterior):
    """q(z|x) = N(z; loc(x), diag(exp(2 log_scale(x)))),    (loc, log_scale) = network(x)

    Args:
        network: x `(B, *event)` → `(B, 2D)`, loc and log_scale from one layer. A network with `takes_mask` is also
            handed which features were observed.
        latent: D; half of `network.outputs` where the network has them.
    """

    family = DiagonalGaussian

    def width(self, latent: int) -> int:
        return 2 * latent

    def needs(self) -> str:
        return "needs a loc and a log_scale for each latent"

    def law(self, outputs: Tensor) -> DiagonalGaussian:
        loc, log_scale = outputs.chunk(2, -1)
        return DiagonalGaussian(loc, log_scale)
