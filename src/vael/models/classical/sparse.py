"""Sparse coding: x is a sum of a few of many causes."""

from vael.likelihoods.gaussian import Gaussian
from vael.models.vae import VAE
from vael.networks.mlp import MLP
from vael.networks.shapes import Shape
from vael.posteriors.base import Posterior
from vael.posteriors.exact import EnumeratedPosterior
from vael.posteriors.spike_slab import SpikeSlabPosterior
from vael.priors.discrete import BernoulliPrior
from vael.priors.spike_slab import SpikeSlabPrior


def binary_sparse_coding(features: Shape, latent: int, *, on: float = 0.2, posterior: Posterior | None = None) -> VAE:
    """x = W z + b + ε,  z_j ~ Bernoulli(π_j),  ε ~ N(0, σ² I)

    features: The shape of one x, or how many numbers it has. latent: How many causes; all 2^latent of their subsets are
        enumerated. on: Where the π_j begin.
    posterior: Another than the enumerated one, such as `TruncatedPosterior(latent)` for more than a dozen causes.
    Source: Henniges et al. 2010, Binary sparse coding.
    """
    likelihood = Gaussian(MLP(latent, [], features), scale="shared")
    return VAE(BernoulliPrior(latent, on, learned=True), likelihood, posterior or EnumeratedPosterior(latent))


def spike_slab_sparse_coding(features: Shape, latent: int, *, on: float = 0.2) -> VAE:
    """x = W z + b + ε,  z_j = s_j w_j,  s_j ~ Bernoulli(π_j),  w_j ~ N(0, 1),  ε ~ N(0, σ² I)

    features: The shape of one x, or how many numbers it has. latent: How many causes, at most 12. on: Where the π_j
        begin.
    Source: Goodfellow, Courville & Bengio 2012 (arXiv 1201.3382); Sheikh, Shelton & Lücke 2014 (arXiv 1211.3589).
    """
    likelihood = Gaussian(MLP(latent, [], features), scale="shared")
    return VAE(SpikeSlabPrior(latent, on, learned=True), likelihood, SpikeSlabPosterior(latent))
