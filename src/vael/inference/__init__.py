"""z found otherwise than by an encoder."""

from vael.inference.hmc import HMC, Move, find_steps, hamiltonian, noise_of, sample_posterior
from vael.inference.path import Path, Place, path_to_posterior

__all__ = [
    "HMC",
    "Move",
    "Path",
    "Place",
    "find_steps",
    "hamiltonian",
    "noise_of",
    "path_to_posterior",
    "sample_posterior",
]
