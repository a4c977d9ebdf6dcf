"""A Gaussian wrapped round hyperbolic space."""

from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution
from torch.types import _size

from vael.distributions.diagonal_gaussian import LOG_2PI
from vael.distributions.poincare import from_centre, log_sinhc, shifted, towards


class WrappedNormal(Distribution):
    """Points of the Poincaré ball reached from a centre by Gaussian steps: z = loc ⊕ exp₀(v), v ~ N(0, diag(scale²)).

        log p(z) = log N(v; 0, diag(scale²)) − (D − 1) log [ sinh(√c |v|) / (√c |v|) ]

    A density with respect to hyperbolic volume, (2 / (1 − c |z|²))^D dz, as is any other of this space: a ratio of two
    needs no Jacobian. |v| is the distance of z from loc, and each scale a length. For c → 0 the ball is R^D in units of
    ½, and 2z is N(2 loc, diag(scale²)).

    Args:
        loc: The centre, points of the ball `(..., D)`.
        log_scale: Log of the scales of v, same shape.
        curvature: c > 0; space has curvature −c, and the ball the radius 1/√c.

    Source: Nagano, Yamaguchi, Fujita & Koyama 2019, section 4 (arXiv 1902.02992); Mathieu, Le Lan, Maddison, Tomioka &
    Teh 2019, appendix B.6 (arXiv 1901.06033).
    """

    space = "a Poincaré ball"

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 — torch's own declaration of it

    def __init__(self, loc: Tensor, log_scale: Tensor, curvature: float) -> None:
        self.loc, self.log_scale, self.curvature = loc, log_scale, curvature
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The centre: the point of least mean square distance, since v and −v are equally likely."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """Of each coordinate of the ball, to first order in the scale: a length there is ½ (1 − c |loc|²) of itself."""
        shrunk = (1 - self.curvature * self.loc.square().sum(-1, keepdim=True)) / 2
        return (shrunk * self.log_scale.exp()).square()

    def from_noise(self, eps: Tensor) -> Tensor:
        """z `(K, ..., D)` from standard normals of that shape, differentiable in loc and log_scale."""
        return shifted(self.loc, from_centre(self.log_scale.exp() * eps, self.curvature), self.curvature)

    def log_prob(self, value: Tensor) -> Tensor:
        step = towards(self.loc, value, self.curvature)
        white = step * torch.exp(-self.log_scale)
        normal = -(0.5 * white.square() + self.log_scale).sum(-1) - 0.5 * value.shape[-1] * LOG_2PI
        return normal - (value.shape[-1] - 1) * log_sinhc(self.curvature * step.square().sum(-1))

    def rsample(self, sample_shape: _size = Size()) -> Tensor:  # noqa: B008 — torch's signature
        shape = Size(sample_shape) + self.loc.shape
        return self.from_noise(torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device))
