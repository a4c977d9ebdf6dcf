"""q(z|x): what an encoder believes about the latent behind an example."""

from vael.posteriors.base import Posterior
from vael.posteriors.gaussian import GaussianPosterior

__all__ = ["GaussianPosterior", "Posterior"]
