"""Terms to nats per example: what training maximises."""

from vael.objectives.elbo import ELBO, Beta, Objective
from vael.objectives.iwae import IWAE

__all__ = ["ELBO", "IWAE", "Beta", "Objective"]
