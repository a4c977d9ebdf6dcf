"""z found otherwise than by an encoder."""

from vael.inference.hmc import HMC, Move, find_steps, hamiltonian, noise_of, sample_posterior
from vael.inference.path import Path, Place, path_to_posterior
from vael.inference.svi import SVI, ascend, law_of

__all__ = [
    "HMC",
    "SVI",
    "Move",
    "Path",
    "Place",
    "ascend",
    "find_steps",
    "hamiltonian",
    "law_of",
    "noise_of",
    "path_to_posterior",
    "sample_posterior",
]
