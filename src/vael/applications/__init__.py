"""What a fitted model is put to: generate, encode, reconstruct."""

from vael.applications.generate import decoded, generate
from vael.applications.reconstruct import encode, reconstruct

__all__ = ["decoded", "encode", "generate", "reconstruct"]
