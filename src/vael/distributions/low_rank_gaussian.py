"""A Gaussian whose components are correlated along a few directions."""

import torch
from torch import Tensor
from torch.linalg import solve_triangular

from vael.distributions.correlated_gaussian import CorrelatedGaussian, kl_to_diagonal, kl_to_standard
from vael.distributions.diagonal_gaussian import DiagonalGaussian, StandardGaussian
from vael.distributions.kl import closed_kl


class LowRankGaussian(CorrelatedGaussian):
    """N(loc, S (I + V Vᵀ) S) over the last axis, with S = diag(exp(log_scale)) and V of few columns.

        R = S (I + V X Vᵀ),   X = (I + C)⁻¹,   C Cᵀ = I + Vᵀ V,   C lower triangular

    is a root of that covariance: X C = I − X, so that X + Xᵀ + X (C Cᵀ − I) Xᵀ, which stands between V and Vᵀ in R Rᵀ,
    is I. Its inverse is (I − V (I + Cᵀ)⁻¹ C⁻¹ Vᵀ) S⁻¹, and log |det R| = Σ log_scale + log |det C|: all by triangles as
    small as V is narrow.

    Args:
        loc: Mean, shape `(..., D)`.
        log_scale: Log of S's diagonal, same shape.
        factor: V, `(..., D, rank)`.
    """

    def __init__(self, loc: Tensor, log_scale: Tensor, factor: Tensor) -> None:
        self.log_scale, self.factor = log_scale, factor
        self.identity = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
        self.small_root = torch.linalg.cholesky(self.identity + factor.mT @ factor)
        super().__init__(loc)

    def coloured(self, columns: Tensor) -> Tensor:
        inner = solve_triangular(self.identity + self.small_root, self.factor.mT @ columns, upper=False)
        stretched: Tensor = self.log_scale.exp().unsqueeze(-1) * (columns + self.factor @ inner)
        return stretched

    def whitened(self, columns: Tensor) -> Tensor:
        scaled = torch.exp(-self.log_scale).unsqueeze(-1) * columns
        inner = solve_triangular(self.small_root, self.factor.mT @ scaled, upper=False)
        white: Tensor = scaled - self.factor @ solve_triangular(self.identity + self.small_root.mT, inner, upper=True)
        return white

    @property
    def log_det(self) -> Tensor:
        correlated: Tensor = self.small_root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return self.log_scale.sum(-1) + correlated

    @property
    def variance(self) -> Tensor:
        return (2 * self.log_scale).exp() * (1 + self.factor.square().sum(-1))


closed_kl(LowRankGaussian, StandardGaussian)(kl_to_standard)
closed_kl(LowRankGaussian, DiagonalGaussian)(kl_to_diagonal)
