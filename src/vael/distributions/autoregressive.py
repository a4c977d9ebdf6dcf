"""One number after another, each from a mixture that the earlier ones choose."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution
from torch.types import _size

from vael.distributions.choice import choose, picked
from vael.distributions.diagonal_gaussian import LOG_2PI
from vael.distributions.drawn import drawn_moments

Conditionals = Callable[[Tensor], Tensor]


class AutoregressiveMixture(Distribution):
    """p(z) = Π_j Σ_c w_jc N(z_j; m_jc, s_jc²), where w_j, m_j and s_j are functions of z_1 … z_{j−1}.

    Args:
        conditionals: z `(..., D)` → logits, means and log scales `(..., D, 3, C)`, row j blind to z_j and what follows.
        dims: D.
        like: A tensor of the type and on the device of what it returns.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 — torch's own declaration of it

    def __init__(self, conditionals: Conditionals, dims: int, like: Tensor) -> None:
        self.conditionals, self.dims, self.like = conditionals, dims, like
        super().__init__(Size(), Size((dims,)), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        logits, loc, log_scale = self.conditionals(value).unbind(-2)  # (..., D, C)
        whitened = (value.unsqueeze(-1) - loc) * torch.exp(-log_scale)
        each = logits.log_softmax(-1) - 0.5 * whitened.square() - log_scale
        return (each.logsumexp(-1) - 0.5 * LOG_2PI).sum(-1)

    def from_noise(self, eps: Tensor) -> Tensor:
        """z from standard normals `(K, ..., D)`, one for each number: it chooses and draws, see `choose`; D passes."""
        z = torch.zeros_like(eps[..., :0])
        for j in range(self.dims):
            known = torch.cat([z, torch.zeros_like(eps[..., j:])], -1)
            logits, loc, log_scale = self.conditionals(known)[..., j, :, :].unbind(-2)  # (..., C)
            number, rest = choose(eps[..., j], logits.log_softmax(-1))
            number = number.unsqueeze(-1)
            drawn = picked(loc, number) + picked(log_scale, number).exp() * rest.unsqueeze(-1)
            z = torch.cat([z, drawn], -1)
        return z

    @property
    def mean(self) -> Tensor:
        """E[z], estimated: see `drawn_moments`."""
        return drawn_moments(self, self.like)[0]

    @property
    def variance(self) -> Tensor:
        """Var[z] of each component, estimated: see `drawn_moments`."""
        return drawn_moments(self, self.like)[1]

    def rsample(self, sample_shape: _size = Size()) -> Tensor:  # noqa: B008 — torch's signature
        shape = Size(sample_shape) + self.event_shape
        return self.from_noise(torch.randn(shape, dtype=self.like.dtype, device=self.like.device))
