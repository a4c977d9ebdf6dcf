"""Whole numbers 0 … levels − 1 under a logistic density binned to unit intervals."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn.functional import logsigmoid


def discretized_logistic_log_prob(x: Tensor, loc: Tensor, log_scale: Tensor, levels: int = 256) -> Tensor:
    """Log-probability of whole numbers under a logistic density binned to unit intervals.

        P(x) = σ((x + ½ − loc) / s) − σ((x − ½ − loc) / s),    s = exp(log_scale)

    The first and last level own their whole tail, so the masses of all levels sum to one.

    Args:
        x: Whole numbers 0 … levels − 1 held as floats, shape `(..., *event)`.
        loc: Centre of the logistic in units of x, broadcastable with `x`.
        log_scale: Log of its scale s, broadcastable with `x`.
        levels: How many values a feature can take; 256 for 8-bit images.

    Returns log-probabilities in nats per feature, shape of `x` broadcast with `loc`.
    Raises ValueError when `levels` is below 2.
    Source: Salimans et al. 2017, PixelCNN++, eq. 2 (arXiv 1701.05517).
    """
    if levels < 2:
        raise ValueError(f"discretized_logistic_log_prob: levels must be at least 2, got {levels}.")
    narrow = torch.exp(-log_scale)
    upper = (x + 0.5 - loc) * narrow
    lower = (x - 0.5 - loc) * narrow
    below, above = logsigmoid(upper), logsigmoid(-lower)
    # log(σ(u) − σ(l)) as a sum of three logs: the plain difference is 0 − 0 far out in either tail.
    inside = below + above + torch.log(-torch.expm1(-narrow))
    return torch.where(x <= 0, below, torch.where(x >= levels - 1, above, inside))


class DiscretizedLogistic(Distribution):
    """Independent binned logistics over 0 … levels − 1; see `discretized_logistic_log_prob`."""

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, loc: Tensor, log_scale: Tensor, levels: int) -> None:
        self.loc, self.log_scale, self.levels = loc, log_scale, levels
        super().__init__(loc.shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Mean of the binned law, by adding P(X ≥ i) over i = 1 … levels − 1; shape of `loc`."""
        edges = torch.arange(1, self.levels, dtype=self.loc.dtype, device=self.loc.device) - 0.5
        total = torch.zeros_like(self.loc)
        for edge in edges:  # a level at a time: all levels at once would take 256 copies of a picture
            total += torch.sigmoid((self.loc - edge) * torch.exp(-self.log_scale))
        return total

    def log_prob(self, value: Tensor) -> Tensor:
        return discretized_logistic_log_prob(value, self.loc, self.log_scale, self.levels)

    def from_uniform(self, uniform: Tensor) -> Tensor:
        """The inverse distribution function at `uniform` in (0, 1): logistic, rounded, kept in range."""
        centre = self.loc + torch.exp(self.log_scale) * torch.logit(uniform, eps=1e-7)
        return torch.clamp(torch.round(centre), 0, self.levels - 1)
