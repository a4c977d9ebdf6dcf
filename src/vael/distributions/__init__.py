"""Densities torch lacks, and closed-form divergences between them."""

from vael.distributions.diagonal_gaussian import DiagonalGaussian, StandardGaussian
from vael.distributions.discretized_logistic import DiscretizedLogistic, discretized_logistic_log_prob
from vael.distributions.grid_normal import GridNormal, log_interval
from vael.distributions.kl import closed_kl, find_kl
from vael.distributions.product import Product

__all__ = [
    "DiagonalGaussian",
    "DiscretizedLogistic",
    "GridNormal",
    "Product",
    "StandardGaussian",
    "closed_kl",
    "discretized_logistic_log_prob",
    "find_kl",
    "log_interval",
]
