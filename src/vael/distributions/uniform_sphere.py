"""The uniform law on a sphere."""

import math
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution
from torch.types import _size


def log_area(dims: int) -> float:
    """Log of the area of the unit sphere in R^D: log [ 2 π^{D/2} / Γ(D/2) ]."""
    return math.log(2) + 0.5 * dims * math.log(math.pi) - math.lgamma(0.5 * dims)


class UniformSphere(Distribution):
    """Unit vectors of R^D, none likelier than another; a density with respect to the sphere's area.

        log p(z) = −log [ 2 π^{D/2} / Γ(D/2) ],   |z| = 1

    Args:
        dims: D.
    """

    space = "a sphere"

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 — torch's own declaration of it

    def __init__(self, dims: int) -> None:
        super().__init__(Size(), Size((dims,)), validate_args=False)

    @property
    def mean(self) -> Tensor:
        return torch.zeros(self.event_shape)

    @property
    def variance(self) -> Tensor:
        return torch.full(self.event_shape, 1 / self.event_shape[0])

    def from_noise(self, eps: Tensor) -> Tensor:
        """The direction of the noise."""
        direction: Tensor = eps / eps.norm(dim=-1, keepdim=True)
        return direction

    def log_prob(self, value: Tensor) -> Tensor:
        return value.new_full(value.shape[:-1], -log_area(value.shape[-1]))

    def rsample(self, sample_shape: _size = Size()) -> Tensor:  # noqa: B008 — torch's signature
        return self.from_noise(torch.randn(Size(sample_shape) + self.event_shape))
