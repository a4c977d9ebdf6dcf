"""p(z): what a latent is before anything is seen."""

from vael.priors.autoregressive import AutoregressivePrior
from vael.priors.base import Prior
from vael.priors.chain import ChainPrior
from vael.priors.codes import CodesPrior
from vael.priors.conditional import ConditionalPrior
from vael.priors.diffusion import DiffusionPrior
from vael.priors.discrete import BernoulliPrior, CategoricalPrior
from vael.priors.exemplar import ExemplarPrior
from vael.priors.flow import FlowPrior
from vael.priors.gaussian import GaussianPrior
from vael.priors.hyperbolic import HyperbolicPrior
from vael.priors.hyperspherical import HypersphericalPrior
from vael.priors.mixture import MixturePrior
from vael.priors.moved import MovedPrior
from vael.priors.spike_slab import SpikeSlabPrior
from vael.priors.vamp import VampPrior

__all__ = [
    "AutoregressivePrior",
    "BernoulliPrior",
    "CategoricalPrior",
    "ChainPrior",
    "CodesPrior",
    "ConditionalPrior",
    "DiffusionPrior",
    "ExemplarPrior",
    "FlowPrior",
    "GaussianPrior",
    "HyperbolicPrior",
    "HypersphericalPrior",
    "MixturePrior",
    "MovedPrior",
    "Prior",
    "SpikeSlabPrior",
    "VampPrior",
]
