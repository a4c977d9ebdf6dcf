"""What a fitted model is put to: generate, encode, reconstruct, interpolate."""

from vael.applications.classify import check_one_category, classify
from vael.applications.generate import centres, decoded, generate, generated
from vael.applications.interpolate import interpolate
from vael.applications.reconstruct import encode, reconstruct
from vael.applications.refit import log_prob_of_codes, refit_prior

__all__ = [
    "centres",
    "check_one_category",
    "classify",
    "decoded",
    "encode",
    "generate",
    "generated",
    "interpolate",
    "log_prob_of_codes",
    "reconstruct",
    "refit_prior",
]
