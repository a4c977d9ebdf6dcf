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

    def bind(self, posterior: nn.Module, likelihood: nn.Module) -> None:
        """Called once by the model it joins, before the posterior is: a prior made of q(z|x) keeps hold of it here.

        What it holds stays the model's: no parameter of it becomes one of this prior.
        """

    def begin(self, x: Tensor) -> None:
        """Start from training examples x `(N, *event)`, in an order of no meaning, before the first step."""

    @abstractmethod
    def forward(self, given: Tensor | None = None) -> Distribution:
        """The prior, event shape `(D,)`, batch shape `()` or `(B,)` when conditioned."""
