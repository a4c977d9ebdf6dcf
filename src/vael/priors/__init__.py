"""p(z): what a latent is before anything is seen."""

from vael.priors.base import Prior
from vael.priors.chain import ChainPrior
from vael.priors.conditional import ConditionalPrior
from vael.priors.discrete import BernoulliPrior, CategoricalPrior
from vael.priors.gaussian import GaussianPrior
from vael.priors.hyperbolic import HyperbolicPrior
from vael.priors.hyperspherical import HypersphericalPrior
from vael.priors.spike_slab import SpikeSlabPrior

__all__ = [
    "BernoulliPrior",
    "CategoricalPrior",
    "ChainPrior",
    "ConditionalPrior",
    "GaussianPrior",
    "HyperbolicPrior",
    "HypersphericalPrior",
    "Prior",
    "SpikeSlabPrior",
]
