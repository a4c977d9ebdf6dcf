"""A mixture of Gaussians whose draws are smooth functions of its weights, too."""

import math
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution
from torch.types import _size

from vael.distributions.diagonal_gaussian import LOG_2PI

FURTHEST = 12.0  # noise is held within this, so that its share is a number in float32
CUTS, ROUNDS = 16, 4  # of the search: each round leaves a seventeenth of where a draw may be
STEPS = 4  # of Newton after it


class ReparameterisedMixture(Distribution):
    """Σ_m w_m N(loc_m, diag(scale_m²)) over the last axis, drawn number by number through conditional distributions.

        z_j = F_j⁻¹(Φ(ε_j) | z_{<j}),   F_j(z | z_{<j}) = Σ_m r_mj Φ((z − loc_mj) / scale_mj)
        r_mj ∝ w_m Π_{i<j} N(z_i; loc_mi, scale_mi²)

    No component is chosen, so that the path from noise to z is smooth and its gradient reaches locs, scales and weights
    without bias. Where components are far apart, a draw that falls between them has a slope as large as the density is
    small there: the gradient's mean is right, its variance grows like exp(distance² / 8), in scales.

    Args:
        logits: Of the M weights, `(..., M)`.
        loc: Means, `(..., M, D)`.
        log_scale: Log standard deviations, same shape.

    Source: Graves 2016, Stochastic backpropagation through mixture density distributions (arXiv 1607.05690).
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 — torch's own declaration of it

    def __init__(self, logits: Tensor, loc: Tensor, log_scale: Tensor) -> None:
        self.log_weights, self.loc, self.log_scale = logits.log_softmax(-1), loc, log_scale
        super().__init__(loc.shape[:-2], loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return (self.log_weights.exp().unsqueeze(-1) * self.loc).sum(-2)

    @property
    def variance(self) -> Tensor:
        spread = (2 * self.log_scale).exp() + (self.loc - self.mean.unsqueeze(-2)).square()
        return (self.log_weights.exp().unsqueeze(-1) * spread).sum(-2)

    def log_prob(self, value: Tensor) -> Tensor:
        white = (value.unsqueeze(-2) - self.loc) * torch.exp(-self.log_scale)
        parts = -(0.5 * (white.square() + LOG_2PI) + self.log_scale).sum(-1)
        return (self.log_weights + parts).logsumexp(-1)

    def from_noise(self, eps: Tensor) -> Tensor:
        """z `(K, ..., D)` from standard normals of that shape; one component's draws are those of its Gaussian."""
        log_shares, found = self.log_weights.expand(*eps.shape[:-1], -1), []
        for place, noise in enumerate(eps.unbind(-1)):
            loc, log_scale = self.loc[..., place], self.log_scale[..., place]
            z = drawn(noise, log_shares.log_softmax(-1), loc, log_scale)
            white = (z.unsqueeze(-1) - loc) * torch.exp(-log_scale)
            log_shares = log_shares - 0.5 * white.square() - log_scale
            found.append(z)
        return torch.stack(found, -1)

    def rsample(self, sample_shape: _size = Size()) -> Tensor:  # noqa: B008 — torch's signature
        shape = Size(sample_shape) + self.batch_shape + self.event_shape
        return self.from_noise(torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device))


def drawn(eps: Tensor, log_weights: Tensor, loc: Tensor, log_scale: Tensor) -> Tensor:
    """F⁻¹(Φ(eps)) of a mixture of M Gaussians on a line, with the slopes of the implicit function; shape of eps.

    z lies between the least and the greatest of loc + scale · eps. What is greater than the median is found from the
    other end, so that no share is near 1.

    log_weights, loc, log_scale: `(..., M)`.
    """
    side = torch.where(eps > 0, -torch.ones_like(eps), torch.ones_like(eps))
    low_eps = -eps.abs().clamp(max=FURTHEST)
    wanted, scale, mirrored = normal_below(low_eps), log_scale.exp(), side.unsqueeze(-1) * loc
    still = [values.detach() for values in (log_weights.exp(), mirrored, scale)]
    ends = still[1] + still[2] * low_eps.unsqueeze(-1)
    low, high = ends.min(-1).values, ends.max(-1).values
    share = torch.arange(1, CUTS + 1, dtype=eps.dtype, device=eps.device) / (CUTS + 1)
    for _ in range(ROUNDS):
        cuts = low.unsqueeze(-1) + (high - low).unsqueeze(-1) * share
        under = (_below(cuts, *(values.unsqueeze(-2) for values in still)) < wanted.unsqueeze(-1)).sum(-1)
        width = (high - low) / (CUTS + 1)
        low = low + width * under
        high = low + width
    z = 0.5 * (low + high)
    tiny = torch.finfo(eps.dtype).tiny
    for _ in range(STEPS):  # in log F, which bends one way
        below, rate = _below(z, *still).clamp(min=tiny), _rate(z, *still).clamp(min=tiny)
        z = torch.minimum(torch.maximum(z + torch.log(wanted / below) * below / rate, low), high)
    moved = _below(z, log_weights.exp(), mirrored, scale)
    return side * (z - (moved - moved.detach()) / _rate(z, *still).clamp(min=tiny))


def normal_below(eps: Tensor) -> Tensor:
    """Φ(eps), with all its digits far down, where torch's ndtr is 1 − 1."""
    share: Tensor = 0.5 * torch.special.erfc(-math.sqrt(0.5) * eps)
    return share


def _below(z: Tensor, weights: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """F(z), shape of z."""
    return (weights * normal_below((z.unsqueeze(-1) - loc) / scale)).sum(-1)


def _rate(z: Tensor, weights: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """dF/dz, shape of z."""
    white = (z.unsqueeze(-1) - loc) / scale
    return (weights / scale * torch.exp(-0.5 * (white.square() + LOG_2PI))).sum(-1)
