"""z, and weights, found otherwise than by an encoder and its gradient."""

from vael.inference.begin import begin_at
from vael.inference.em import em
from vael.inference.hmc import HMC, Move, find_steps, hamiltonian, noise_of, sample_posterior
from vael.inference.path import Path, Place, path_to_posterior
from vael.inference.principal_components import principal_components

__all__ = [
    "HMC",
    "Move",
    "Path",
    "Place",
    "begin_at",
    "em",
    "find_steps",
    "hamiltonian",
    "noise_of",
    "path_to_posterior",
    "principal_components",
    "sample_posterior",
]
