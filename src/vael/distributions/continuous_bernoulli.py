"""The continuous Bernoulli law on [0, 1]."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from vael.distributions.cells import log_sinhc

FLAT = 1e-2  # logits: nearer to 0 the law is uniform to 1e-9 and its formulas are 0/0


class ContinuousBernoulli(Distribution):
    """An exponential tilt of the uniform law, which makes cross entropy on [0, 1] a density.

        p(x) = C(λ) λ^x (1 − λ)^{1−x} = exp(l (x − ½)) / sinhc(l/2),    l = logit λ,  sinhc(h) = sinh(h)/h

    Args:
        logits: l, shape `(..., *event)`.

    Source: Loaiza-Ganem & Cunningham 2019 (arXiv 1907.06845), in the logit's own form.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(logits.shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """½ + ½ (coth h − 1/h), h = l/2."""
        half = self.logits / 2
        safe = torch.where(half.abs() > FLAT, half, torch.full_like(half, FLAT))
        langevin = torch.where(half.abs() > FLAT, 1 / torch.tanh(safe) - 1 / safe, half / 3 - half**3 / 45)
        return 0.5 + 0.5 * langevin

    def log_prob(self, value: Tensor) -> Tensor:
        return self.logits * (value - 0.5) - log_sinhc(self.logits.abs() / 2)

    def log_mass(self, lower: Tensor, upper: Tensor) -> Tensor:
        """log P(lower < x < upper): the density at the middle · width · sinhc(l · width/2), exactly."""
        width = upper - lower
        return self.log_prob((lower + upper) / 2) + torch.log(width) + log_sinhc(self.logits.abs() * width / 2)

    def from_uniform(self, uniform: Tensor) -> Tensor:
        """The inverse distribution function at `uniform` in (0, 1)."""
        steep = torch.clamp(self.logits.abs(), min=FLAT)
        # For l > 0: F⁻¹(u) = 1 + log(u + (1 − u) e^{−l}) / l, which loses nothing for large l; mirrored for l < 0.
        u = torch.where(self.logits >= 0, uniform, 1 - uniform)
        right = 1 + torch.log(u + (1 - u) * torch.exp(-steep)) / steep
        near_flat = u + self.logits.abs() * u * (u - 1) * (-0.5)
        x = torch.where(self.logits.abs() > FLAT, right, near_flat)
        return torch.where(self.logits >= 0, x, 1 - x).clamp(0, 1)
