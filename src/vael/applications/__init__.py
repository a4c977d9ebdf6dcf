"""What a fitted model is put to: generate, encode, reconstruct, interpolate."""

from vael.applications.classify import check_one_category, classify
from vael.applications.generate import asked, centres, decoded, generate, generated
from vael.applications.interpolate import interpolate
from vael.applications.reconstruct import encode, reconstruct
from vael.applications.refit import log_prob_of_codes, refit_prior
from vael.applications.traverse import analogy, direction, manifold, most_told, quantiles, shares, traverse

__all__ = [
    "analogy",
    "asked",
    "centres",
    "check_one_category",
    "classify",
    "decoded",
    "direction",
    "encode",
    "generate",
    "generated",
    "interpolate",
    "log_prob_of_codes",
    "manifold",
    "most_told",
    "quantiles",
    "reconstruct",
    "refit_prior",
    "shares",
    "traverse",
]
