"""Densities torch lacks, and closed-form divergences between them."""

from vael.distributions.autoregressive import AutoregressiveMixture
from vael.distributions.beta_binomial import BetaBinomial
from vael.distributions.bits import Bits, OneHot
from vael.distributions.cells import Cells, log_end_integral, log_integral, log_interval, log_sinhc
from vael.distributions.continuous_bernoulli import ContinuousBernoulli
from vael.distributions.diagonal_gaussian import DiagonalGaussian, StandardGaussian
from vael.distributions.discretized_logistic import DiscretizedLogistic, discretized_logistic_log_prob
from vael.distributions.flow import Flow
from vael.distributions.full_gaussian import FullGaussian
from vael.distributions.gaussian_mixture import GaussianMixture
from vael.distributions.inflated import Inflated
from vael.distributions.kl import closed_kl, closed_unit_kl, find_kl, find_unit_kl
from vael.distributions.listed import Listed
from vael.distributions.logistic_mixture import LogisticMixture
from vael.distributions.low_rank_gaussian import LowRankGaussian
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
from vael.distributions.spike_slab import SpikedGaussians, SpikeSlab

__all__ = [
    "AutoregressiveMixture",
    "BetaBinomial",
    "Bits",
    "Cells",
    "ContinuousBernoulli",
    "DiagonalGaussian",
    "DiscretizedLogistic",
    "Flow",
    "FullGaussian",
    "GaussianMixture",
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
    "SpikeSlab",
    "SpikedGaussians",
    "StandardGaussian",
    "closed_kl",
    "closed_unit_kl",
    "discretized_logistic_log_prob",
    "even_weights",
    "find_kl",
    "find_unit_kl",
    "log_aggregated",
    "log_aggregated_units",
    "log_end_integral",
    "log_integral",
    "log_interval",
    "log_sinhc",
    "stratified_weights",
    "weighted_weights",
]
