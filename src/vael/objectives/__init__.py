"""Terms to nats per example: what training maximises."""

from vael.objectives.capacity import Capacity
from vael.objectives.elbo import ELBO, Beta, Objective
from vael.objectives.free_bits import FreeBits
from vael.objectives.iwae import IWAE

__all__ = ["ELBO", "IWAE", "Beta", "Capacity", "FreeBits", "Objective"]
