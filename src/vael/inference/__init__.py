"""z, and weights, found otherwise than by an encoder and its gradient."""

from vael.inference.begin import begin_at
from vael.inference.em import em
from vael.inference.full_bayes import FullBayes, WeightPosterior
from vael.inference.hmc import HMC, Move, find_steps, hamiltonian, noise_of, sample_posterior
from vael.inference.mcem import MCEM
from vael.inference.path import Path, Place, path_to_posterior
from vael.inference.principal_components import principal_components
from vael.inference.svi import SVI, ascend, law_of
from vael.inference.wake_sleep import WakeSleep

__all__ = [
    "HMC",
    "MCEM",
    "SVI",
    "FullBayes",
    "Move",
    "Path",
    "Place",
    "WakeSleep",
    "WeightPosterior",
    "ascend",
    "begin_at",
    "em",
    "find_steps",
    "hamiltonian",
    "law_of",
    "noise_of",
    "path_to_posterior",
    "principal_components",
    "sample_posterior",
]
