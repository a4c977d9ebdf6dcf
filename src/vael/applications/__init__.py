"""What a fitted model is put to: generate, encode, reconstruct, interpolate."""

from vael.applications.generate import centres, decoded, generate, generated
from vael.applications.interpolate import interpolate
from vael.applications.reconstruct import encode, reconstruct

__all__ = ["centres", "decoded", "encode", "generate", "generated", "interpolate", "reconstruct"]
