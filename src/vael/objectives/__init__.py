"""Terms to nats per example: what training maximises."""

from vael.objectives.capacity import Capacity
from vael.objectives.dreg import DReG
from vael.objectives.elbo import ELBO, Beta, Objective
from vael.objectives.free_bits import FreeBits
from vael.objectives.iwae import IWAE
from vael.objectives.reconstruction import Reconstruction
from vael.objectives.score import Score
from vael.objectives.sticking import STL
from vael.objectives.vimco import VIMCO

__all__ = [
    "ELBO",
    "IWAE",
    "STL",
    "VIMCO",
    "Beta",
    "Capacity",
    "DReG",
    "FreeBits",
    "Objective",
    "Reconstruction",
    "Score",
]
