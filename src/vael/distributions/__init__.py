"""Densities torch lacks, and closed-form divergences between them."""

from vael.distributions.diagonal_gaussian import DiagonalGaussian, StandardGaussian
from vael.distributions.discretized_logistic import DiscretizedLogistic, discretized_logistic_log_prob
from vael.distributions.full_gaussian import FullGaussian
from vael.distributions.grid_normal import GridNormal, log_interval
from vael.distributions.kl import closed_kl, closed_unit_kl, find_kl, find_unit_kl
from vael.distributions.low_rank_gaussian import LowRankGaussian
from vael.distributions.product import Product

__all__ = [
    "DiagonalGaussian",
    "DiscretizedLogistic",
    "FullGaussian",
    "GridNormal",
    "LowRankGaussian",
    "Product",
    "StandardGaussian",
    "closed_kl",
    "closed_unit_kl",
    "discretized_logistic_log_prob",
    "find_kl",
    "find_unit_kl",
    "log_interval",
]
