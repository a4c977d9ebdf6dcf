"""q(z|x) as a module."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn
from torch.distributions import Distribution


class Posterior(nn.Module, ABC):
    """q(z|x): what an encoder believes about the latent behind an example.

    latent: How many numbers z holds.
    family: The distribution type `forward` returns, by which closed-form KLs are found; None if it varies.
    """

    latent: int
    family: ClassVar[type[Distribution] | None] = None

    @abstractmethod
    def forward(self, x: Tensor, given: Tensor | None = None, observed: Tensor | None = None) -> Distribution:
        """q(z|x): batch shape `(B,)`, event shape `(D,)`, for x `(B, *event)`."""
