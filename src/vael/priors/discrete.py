"""Priors over zeros and ones, and over one-hot choices."""

import math

import torch
from torch import Tensor, nn

from vael.distributions.bits import Bits, OneHot
from vael.errors import RecipeError
from vael.priors.base import Prior


class BernoulliPrior(Prior):
    """p(z) = Π_j π_j^{z_j} (1 − π_j)^{1 − z_j} over `latent` zeros and ones.

    Args:
        latent: D.
        on: Probability π that a bit is one, between 0 and 1; where learning starts if `learned`.
        learned: Whether each bit's probability is a parameter.
    """

    family = Bits
    logits: Tensor

    def __init__(self, latent: int, on: float = 0.5, *, learned: bool = False) -> None:
        super().__init__()
        if latent < 1:
            raise RecipeError(f"BernoulliPrior: latent must be at least 1, got {latent}.")
        if not 0 < on < 1:
            raise RecipeError(f"BernoulliPrior: on must be between 0 and 1, got {on}.")
        self.latent, self.on, self.learned = latent, on, learned
        keep_logits(self, torch.full((latent,), math.log(on / (1 - on))), learned)

    def forward(self, given: Tensor | None = None) -> Bits:
        return Bits(self.logits)


class CategoricalPrior(Prior):
    """p(z) over `groups` independent one-hot choices of `classes` each, side by side in z `(groups · classes,)`.

    Args:
        classes: C, at least 2. groups: G. learned: Whether the classes' probabilities are parameters; else all equal.
    """

    family = OneHot
    logits: Tensor

    def __init__(self, classes: int, groups: int = 1, *, learned: bool = False) -> None:
        super().__init__()
        if classes < 2 or groups < 1:
            raise RecipeError(
                f"CategoricalPrior: needs at least 2 classes and 1 group, got {classes} classes and {groups} groups."
            )
        self.classes, self.groups, self.learned = classes, groups, learned
        self.latent = classes * groups
        keep_logits(self, torch.zeros(groups, classes), learned)

    def forward(self, given: Tensor | None = None) -> OneHot:
        return OneHot(self.logits)


def keep_logits(prior: Prior, logits: Tensor, learned: bool) -> None:
    """`prior.logits`, as a parameter or held still."""
    if learned:
        prior.logits = nn.Parameter(logits)
    else:
        prior.register_buffer("logits", logits)
