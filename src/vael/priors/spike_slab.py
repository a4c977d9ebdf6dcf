"""A prior of numbers that are often exactly zero."""

import math

import torch
from torch import Tensor

from vael.distributions.spike_slab import SpikeSlab
from vael.errors import RecipeError
from vael.priors.base import Prior
from vael.priors.discrete import keep_logits


class SpikeSlabPrior(Prior):
    """p(z) = Π_j (1 − π_j) δ(z_j) + π_j N(z_j; 0, 1) over `latent` numbers.

    Args:
        latent: D.
        on: Probability π that a number is not zero, between 0 and 1; where learning starts if `learned`.
        learned: Whether each number's probability is a parameter.
    """

    family = SpikeSlab
    logits: Tensor

    def __init__(self, latent: int, on: float = 0.2, *, learned: bool = False) -> None:
        super().__init__()
        if latent < 1:
            raise RecipeError(f"SpikeSlabPrior: latent must be at least 1, got {latent}.")
        if not 0 < on < 1:
            raise RecipeError(f"SpikeSlabPrior: on must be between 0 and 1, got {on}.")
        self.latent, self.on, self.learned = latent, on, learned
        keep_logits(self, torch.full((latent,), math.log(on / (1 - on))), learned)

    def forward(self, given: Tensor | None = None) -> SpikeSlab:
        return SpikeSlab(self.logits)
