"""Gaussians with independent components, as posteriors and priors of a latent."""

import math
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, MultivariateNormal
from torch.types import _size

from vael.distributions.kl import closed_kl, closed_unit_kl

LOG_2PI = math.log(2 * math.pi)


class DiagonalGaussian(Distribution):
    """N(loc, diag(scale²)) over the last axis, held by the log of its scale.

        log p(z) = −½ Σ_j [ ((z_j − loc_j) / s_j)² + 2 log s_j + log 2π ],    s = exp(log_scale)

    Args:
        loc: Mean, shape `(..., D)`.
        log_scale: Log standard deviation, same shape.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 — torch's own declaration of it

    def __init__(self, loc: Tensor, log_scale: Tensor) -> None:
        self.loc, self.log_scale = loc, log_scale
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def scale(self) -> Tensor:
        return self.log_scale.exp()

    @property
    def variance(self) -> Tensor:
        return (2 * self.log_scale).exp()

    def from_noise(self, eps: Tensor) -> Tensor:
        """loc + scale · eps: a draw when `eps` `(K, ..., D)` is standard normal, differentiable in both."""
        return torch.addcmul(self.loc, self.scale, eps)

    def log_prob(self, value: Tensor) -> Tensor:
        whitened = (value - self.loc) * torch.exp(-self.log_scale)
        return -(0.5 * whitened.square() + self.log_scale).sum(-1) - 0.5 * value.shape[-1] * LOG_2PI

    def entropy(self) -> Tensor:
        """½ log |2πe Σ| in nats, shape of the batch."""
        return self.log_scale.sum(-1) + 0.5 * self.loc.shape[-1] * (1 + LOG_2PI)

    def rsample(self, sample_shape: _size = Size()) -> Tensor:  # noqa: B008 — torch's signature
        return self.from_noise(
            torch.randn(Size(sample_shape) + self.loc.shape, dtype=self.loc.dtype, device=self.loc.device)
        )


class StandardGaussian(Distribution):
    """N(0, I) over the last axis, of `dims` components; no tensors of its own."""

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, dims: int) -> None:
        super().__init__(Size(), Size((dims,)), validate_args=False)

    @property
    def mean(self) -> Tensor:
        return torch.zeros(self.event_shape)

    @property
    def variance(self) -> Tensor:
        return torch.ones(self.event_shape)

    def from_noise(self, eps: Tensor) -> Tensor:
        """The noise itself is a draw."""
        return eps

    def log_prob(self, value: Tensor) -> Tensor:
        return -0.5 * value.square().sum(-1) - 0.5 * value.shape[-1] * LOG_2PI

    def rsample(self, sample_shape: _size = Size()) -> Tensor:  # noqa: B008
        return torch.randn(Size(sample_shape) + self.event_shape)


@closed_unit_kl(DiagonalGaussian, StandardGaussian)
def _diagonal_to_standard(q: DiagonalGaussian, p: StandardGaussian) -> Tensor:
    """½ [ loc² + s² − 1 − 2 log s ] of each component.

    Source: Kingma & Welling 2013, appendix B (arXiv 1312.6114).
    """
    return 0.5 * (q.loc.square() + q.variance - 1 - 2 * q.log_scale)


@closed_unit_kl(DiagonalGaussian, DiagonalGaussian)
def _diagonal_to_diagonal(q: DiagonalGaussian, p: DiagonalGaussian) -> Tensor:
    """½ [ (s_q² + (loc_q − loc_p)²) / s_p² − 1 ] + log s_p − log s_q of each component."""
    narrow = torch.exp(-2 * p.log_scale)
    spread = (q.variance + (q.loc - p.loc).square()) * narrow - 1
    return 0.5 * spread + p.log_scale - q.log_scale


@closed_kl(DiagonalGaussian, MultivariateNormal)
def _diagonal_to_full(q: DiagonalGaussian, p: MultivariateNormal) -> Tensor:
    """½ [ tr(Σ_p⁻¹ Σ_q) + Δᵀ Σ_p⁻¹ Δ − D + log |Σ_p| − log |Σ_q| ], by p's Cholesky factor."""
    root = p.scale_tril
    shift = torch.linalg.solve_triangular(root, (p.loc - q.loc).unsqueeze(-1), upper=False).squeeze(-1)
    mixed = torch.linalg.solve_triangular(root, torch.diag_embed(q.scale), upper=False)
    log_det = 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1) - 2 * q.log_scale.sum(-1)
    kl: Tensor = 0.5 * (mixed.square().sum((-2, -1)) + shift.square().sum(-1) - q.loc.shape[-1] + log_det)
    return kl
