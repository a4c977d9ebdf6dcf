"""A Gaussian with any covariance, by its Cholesky factor."""

import torch
from torch import Tensor
from torch.linalg import solve_triangular

from vael.distributions.correlated_gaussian import CorrelatedGaussian, kl_to_diagonal, kl_to_standard
from vael.distributions.diagonal_gaussian import DiagonalGaussian, StandardGaussian
from vael.distributions.kl import closed_kl


class FullGaussian(CorrelatedGaussian):
    """N(loc, L Lᵀ) over the last axis, with L = diag(exp(log_scale)) (I + shear).

    Every lower triangle with a positive diagonal is of that form, so every covariance is; and log |det L| is the sum of
    log_scale, whatever the correlations.

    Args:
        loc: Mean, shape `(..., D)`.
        log_scale: Log of L's diagonal, same shape.
        shear: Strictly lower triangular, `(..., D, D)`: what stands beside the diagonal, in units of its row's scale.
    """

    def __init__(self, loc: Tensor, log_scale: Tensor, shear: Tensor) -> None:
        self.log_scale, self.shear = log_scale, shear
        super().__init__(loc)

    def coloured(self, columns: Tensor) -> Tensor:
        return self.log_scale.exp().unsqueeze(-1) * (columns + self.shear @ columns)

    def whitened(self, columns: Tensor) -> Tensor:
        scaled = torch.exp(-self.log_scale).unsqueeze(-1) * columns
        white: Tensor = solve_triangular(self.shear, scaled, upper=False, unitriangular=True)
        return white

    @property
    def log_det(self) -> Tensor:
        return self.log_scale.sum(-1)

    @property
    def variance(self) -> Tensor:
        return (2 * self.log_scale).exp() * (1 + self.shear.square().sum(-1))


closed_kl(FullGaussian, StandardGaussian)(kl_to_standard)
closed_kl(FullGaussian, DiagonalGaussian)(kl_to_diagonal)
