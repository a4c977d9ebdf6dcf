"""p(z) as a module."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn
from torch.distributions import Distribution


class Prior(nn.Module, ABC):
    """p(z), or p(z|given): what a latent is before anything is seen.

    latent: How many numbers z holds.
    family: The distribution type `forward` returns, by which closed-form KLs are found; None if it varies.
    """

    latent: int
    family: ClassVar[type[Distribution] | None] = None

    @abstractmethod
    def forward(self, given: Tensor | None = None) -> Distribution:
        """The prior, event shape `(D,)`, batch shape `()` or `(B,)` when conditioned."""
