"""Gaussians whose components are correlated, by a root of their covariance that takes D numbers of noise."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution
from torch.types import _size

from vael.distributions.diagonal_gaussian import LOG_2PI, DiagonalGaussian, StandardGaussian


class CorrelatedGaussian(Distribution, ABC):
    """N(loc, R Rᵀ) over the last axis, for a root R `(D, D)` that each leaf applies and undoes in its own way.

        z = loc + R ε,      log p(z) = −½ |R⁻¹ (z − loc)|² − log |det R| − (D/2) log 2π

    Args:
        loc: Mean, shape `(..., D)`.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 — torch's own declaration of it

    def __init__(self, loc: Tensor) -> None:
        self.loc = loc
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @abstractmethod
    def coloured(self, columns: Tensor) -> Tensor:
        """R times each column, `(..., D, K)` → `(..., D, K)`."""

    @abstractmethod
    def whitened(self, columns: Tensor) -> Tensor:
        """R⁻¹ times each column, `(..., D, K)` → `(..., D, K)`."""

    @property
    @abstractmethod
    def log_det(self) -> Tensor:
        """log |det R|, half that of the covariance; shape of the batch."""

    @property
    @abstractmethod
    def variance(self) -> Tensor:
        """Variance of each component alone, `(..., D)`."""

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def covariance(self) -> Tensor:
        """R Rᵀ, `(..., D, D)`."""
        size = self.loc.shape[-1]
        identity = torch.eye(size, dtype=self.loc.dtype, device=self.loc.device)
        root = self.coloured(identity.expand(*self.loc.shape, size))
        return root @ root.mT

    def from_noise(self, eps: Tensor) -> Tensor:
        """loc + R · eps: a draw when `eps` `(K, ..., D)` is standard normal, differentiable in every parameter."""
        return self.loc + self._by_columns(self.coloured, eps)

    def log_prob(self, value: Tensor) -> Tensor:
        white = self._by_columns(self.whitened, value - self.loc)
        return -0.5 * white.square().sum(-1) - self.log_det - 0.5 * value.shape[-1] * LOG_2PI

    def entropy(self) -> Tensor:
        """½ log |2πe Σ| in nats, shape of the batch."""
        return self.log_det + 0.5 * self.loc.shape[-1] * (1 + LOG_2PI)

    def rsample(self, sample_shape: _size = Size()) -> Tensor:  # noqa: B008 — torch's signature
        shape = Size(sample_shape) + self.loc.shape
        return self.from_noise(torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device))

    def _by_columns(self, turn: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
        """`turn` applied to the draws of each example at once: one product per example, not one per draw."""
        draws = values.shape[: values.dim() - self.loc.dim()]
        columns = values.reshape(draws.numel(), *values.shape[len(draws) :]).movedim(0, -1)
        rows = turn(columns).movedim(-1, 0)
        return rows.reshape(*draws, *rows.shape[1:])


def kl_to_standard(q: CorrelatedGaussian, p: StandardGaussian) -> Tensor:
    """½ [ tr Σ + |loc|² − D ] − log |det R|, nats, shape of the batch."""
    return 0.5 * (q.variance + q.loc.square() - 1).sum(-1) - q.log_det


def kl_to_diagonal(q: CorrelatedGaussian, p: DiagonalGaussian) -> Tensor:
    """½ Σ_j [ (Σ_jj + (loc_q − loc_p)²) / s_p² − 1 ] + Σ_j log s_p − log |det R|, nats, shape of the batch."""
    spread = (q.variance + (q.loc - p.loc).square()) * torch.exp(-2 * p.log_scale) - 1
    return (0.5 * spread + p.log_scale).sum(-1) - q.log_det
