"""Several Gaussians, of which a draw comes from one."""

from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution
from torch.types import _size

from vael.distributions.choice import choose
from vael.distributions.diagonal_gaussian import LOG_2PI


class GaussianMixture(Distribution):
    """Σ_c w_c N(loc_c, diag(exp(2 log_scale_c))) over the last axis, w = softmax(logits).

    Args:
        loc: Means, `(C, D)`.
        log_scale: Log standard deviations, same shape.
        logits: Log of the weights up to a constant, `(C,)`.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 — torch's own declaration of it

    def __init__(self, loc: Tensor, log_scale: Tensor, logits: Tensor) -> None:
        self.loc, self.log_scale, self.log_weights = loc, log_scale, logits.log_softmax(-1)
        super().__init__(Size(), loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Σ_c w_c loc_c."""
        return self.log_weights.exp() @ self.loc

    @property
    def variance(self) -> Tensor:
        """Σ_c w_c (s_c² + (loc_c − mean)²), of each component of z."""
        spread = (2 * self.log_scale).exp() + (self.loc - self.mean).square()
        return self.log_weights.exp() @ spread

    def log_prob(self, value: Tensor) -> Tensor:
        whitened = (value.unsqueeze(-2) - self.loc) * torch.exp(-self.log_scale)
        each = self.log_weights - (0.5 * whitened.square() + self.log_scale).sum(-1)
        return each.logsumexp(-1) - 0.5 * value.shape[-1] * LOG_2PI

    def from_noise(self, eps: Tensor) -> Tensor:
        """z from standard normals `(K, ..., D)`; the first of each chooses, see `choose`, and is a normal again."""
        number, rest = choose(eps[..., 0], self.log_weights)
        fresh = torch.cat([rest.unsqueeze(-1), eps[..., 1:]], -1)
        return self.loc[number] + self.log_scale[number].exp() * fresh

    def rsample(self, sample_shape: _size = Size()) -> Tensor:  # noqa: B008 — torch's signature
        shape = Size(sample_shape) + self.event_shape
        return self.from_noise(torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device))
