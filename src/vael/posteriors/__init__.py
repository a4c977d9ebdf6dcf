"""q(z|x): what an encoder believes about the latent behind an example."""

from vael.posteriors.base import EncodedPosterior, Posterior
from vael.posteriors.chain import ChainPosterior
from vael.posteriors.deterministic import DeterministicPosterior
from vael.posteriors.diffusion import DiffusionPosterior
from vael.posteriors.discrete import BernoulliPosterior, CategoricalPosterior
from vael.posteriors.exact import ComputedPosterior, EnumeratedPosterior, ExactPosterior, LinearGaussianPosterior
from vael.posteriors.finite_scalar import FiniteScalarPosterior
from vael.posteriors.flow import FlowPosterior
from vael.posteriors.full_gaussian import FullGaussianPosterior
from vael.posteriors.gaussian import GaussianPosterior
from vael.posteriors.ladder import LadderPosterior
from vael.posteriors.low_rank_gaussian import LowRankGaussianPosterior
from vael.posteriors.mixture import MixturePosterior
from vael.posteriors.quantized import QuantizedPosterior
from vael.posteriors.spike_slab import SpikeSlabPosterior
from vael.posteriors.truncated import TruncatedPosterior
from vael.posteriors.von_mises_fisher import VonMisesFisherPosterior
from vael.posteriors.wrapped_normal import WrappedNormalPosterior

__all__ = [
    "BernoulliPosterior",
    "CategoricalPosterior",
    "ChainPosterior",
    "ComputedPosterior",
    "DeterministicPosterior",
    "DiffusionPosterior",
    "EncodedPosterior",
    "EnumeratedPosterior",
    "ExactPosterior",
    "FiniteScalarPosterior",
    "FlowPosterior",
    "FullGaussianPosterior",
    "GaussianPosterior",
    "LadderPosterior",
    "LinearGaussianPosterior",
    "LowRankGaussianPosterior",
    "MixturePosterior",
    "Posterior",
    "QuantizedPosterior",
    "SpikeSlabPosterior",
    "TruncatedPosterior",
    "VonMisesFisherPosterior",
    "WrappedNormalPosterior",
]
