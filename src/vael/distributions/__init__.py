"""Densities torch lacks, and closed-form divergences between them."""

from vael.distributions.autoregressive import AutoregressiveMixture
from vael.distributions.bessel import bessel_ratio, log_bessel
from vael.distributions.beta_binomial import BetaBinomial
from vael.distributions.bits import Bits, OneHot
from vael.distributions.cells import Cells, log_end_integral, log_integral, log_interval, log_sinhc
from vael.distributions.codes import CodePoint, Codes, CodeSequence
from vael.distributions.continuous_bernoulli import ContinuousBernoulli
from vael.distributions.diagonal_gaussian import DiagonalGaussian, StandardGaussian
from vael.distributions.discretized_logistic import DiscretizedLogistic, discretized_logistic_log_prob
from vael.distributions.flow import Flow
from vael.distributions.full_gaussian import FullGaussian
from vael.distributions.gaussian_mixture import GaussianMixture
from vael.distributions.hamiltonian import Hamiltonian
from vael.distributions.inflated import Inflated
from vael.distributions.kl import closed_kl, closed_unit_kl, find_kl, find_unit_kl
from vael.distributions.listed import Listed
from vael.distributions.logistic_mixture import LogisticMixture
from vael.distributions.low_rank_gaussian import LowRankGaussian
from vael.distributions.marginals import is_factorised, unit_log_prob
from vael.distributions.minibatch import (
    even_weights,
    log_aggregated,
    log_aggregated_units,
    stratified_weights,
    weighted_weights,
)
from vael.distributions.mixture import Mixture
from vael.distributions.precise import PreciseBeta, PreciseGamma, PreciseNegativeBinomial, PrecisePoisson
from vael.distributions.product import Product
from vael.distributions.reparameterised_mixture import ReparameterisedMixture
from vael.distributions.spike_slab import SpikedGaussians, SpikeSlab
from vael.distributions.uniform_sphere import UniformSphere
from vael.distributions.von_mises_fisher import VonMisesFisher
from vael.distributions.wrapped_normal import WrappedNormal

__all__ = [
    "AutoregressiveMixture",
    "BetaBinomial",
    "Bits",
    "Cells",
    "CodePoint",
    "CodeSequence",
    "Codes",
    "ContinuousBernoulli",
    "DiagonalGaussian",
    "DiscretizedLogistic",
    "Flow",
    "FullGaussian",
    "GaussianMixture",
    "Hamiltonian",
    "Inflated",
    "Listed",
    "LogisticMixture",
    "LowRankGaussian",
    "Mixture",
    "OneHot",
    "PreciseBeta",
    "PreciseGamma",
    "PreciseNegativeBinomial",
    "PrecisePoisson",
    "Product",
    "ReparameterisedMixture",
    "SpikeSlab",
    "SpikedGaussians",
    "StandardGaussian",
    "UniformSphere",
    "VonMisesFisher",
    "WrappedNormal",
    "bessel_ratio",
    "closed_kl",
    "closed_unit_kl",
    "discretized_logistic_log_prob",
    "even_weights",
    "find_kl",
    "find_unit_kl",
    "is_factorised",
    "log_aggregated",
    "log_aggregated_units",
    "log_bessel",
    "log_end_integral",
    "log_integral",
    "log_interval",
    "log_sinhc",
    "stratified_weights",
    "unit_log_prob",
    "weighted_weights",
]
