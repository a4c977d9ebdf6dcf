"""Mixtures of binned logistics, one for each pixel, whose channels look at the channels before them."""

from typing import Any

import torch
from torch import Generator, Size, Tensor
from torch.distributions import Distribution

from vael.distributions.discretized_logistic import DiscretizedLogistic, discretized_logistic_log_prob


class LogisticMixture(Distribution):
    """Whole numbers 0 … levels − 1 for C channels of a pixel that share the mixture's weights.

        P(x_1 … x_C) = Σ_m w_m Π_c P_logistic(x_c; m_mc, s_mc),
        m_mc = loc_mc + h Σ_{c' < c} k_mcc' (x_c'/h − 1),    h = (levels − 1)/2

    The parts of log_prob are log P(x_c | x_1 … x_{c−1}), so they add up to the joint.

    Args:
        log_weights: Unnormalised log w, `(..., M, *pixels)`.
        loc, log_scale: In units of x, `(..., M, C, *pixels)`.
        coefficients: k for the pairs (1,0), (2,0), (2,1) …, `(..., M, C (C − 1)/2, *pixels)`; None for one channel.
        levels: How many values a channel can take.
        pixel_axes: How many axes `*pixels` are.
        channel_axis: Whether x has an axis of channels, `(..., C, *pixels)`; else it is `(..., *pixels)` and C is 1.

    Source: Salimans et al. 2017, PixelCNN++, sections 2.1 and 2.2 (arXiv 1701.05517).
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(
        self,
        log_weights: Tensor,
        loc: Tensor,
        log_scale: Tensor,
        coefficients: Tensor | None,
        *,
        levels: int,
        pixel_axes: int,
        channel_axis: bool = True,
    ) -> None:
        self.axis = -1 - pixel_axes  # of the channels, and of the components where the channels are gone
        self.log_weights = log_weights.log_softmax(self.axis)
        self.loc, self.log_scale, self.coefficients, self.levels = loc, log_scale, coefficients, levels
        self.channel_axis, self.channels = channel_axis, loc.shape[self.axis]
        lead, pixels = loc.shape[: self.axis - 1], loc.shape[self.axis + 1 :]
        super().__init__(
            Size((*lead, self.channels, *pixels) if channel_axis else (*lead, *pixels)), validate_args=False
        )

    def _joined(self, channels: list[Tensor]) -> Tensor:
        return torch.stack(channels, self.axis) if self.channel_axis else channels[0]

    def _of_channel(self, channel: int, before: list[Tensor]) -> tuple[Tensor, Tensor]:
        """loc and log scale of one channel's components, `(..., M, *pixels)`, given the values of those before it."""
        loc = self.loc.select(self.axis, channel)
        half, first = (self.levels - 1) / 2, channel * (channel - 1) // 2
        for earlier, value in enumerate(before):
            assert self.coefficients is not None  # there is more than one channel
            weight = self.coefficients.select(self.axis, first + earlier)
            loc = loc + weight * (value.unsqueeze(self.axis) - half)
        return loc, self.log_scale.select(self.axis, channel)

    def log_prob(self, value: Tensor) -> Tensor:
        """Conditional log-probabilities of the channels in nats, shape `(..., C, *pixels)`."""
        channels = list(value.unbind(self.axis)) if self.channel_axis else [value]
        joint, parts = self.log_weights, []
        known = torch.zeros((), dtype=value.dtype, device=value.device)
        for number, own in enumerate(channels):
            loc, log_scale = self._of_channel(number, channels[:number])
            joint = joint + discretized_logistic_log_prob(own.unsqueeze(self.axis), loc, log_scale, self.levels)
            total = joint.logsumexp(self.axis)
            parts.append(total - known)
            known = total
        return self._joined(parts)

    @property
    def mean(self) -> Tensor:
        """Mean of the binned mixture for one channel; further channels at the means of those before them."""
        weights, found = self.log_weights.exp(), list[Tensor]()
        for number in range(self.channels):
            loc, log_scale = self._of_channel(number, found)
            found.append((weights * DiscretizedLogistic(loc, log_scale, self.levels).mean).sum(self.axis))
        return self._joined(found)

    def draw(self, generator: Generator | None) -> Tensor:
        """One x `(..., C, *pixels)`: a component for each pixel, then channel by channel."""
        gumbel = -torch.log(torch.empty_like(self.log_weights).exponential_(generator=generator))
        chosen = (self.log_weights + gumbel).argmax(self.axis, keepdim=True)
        found: list[Tensor] = []
        for number in range(self.channels):
            loc, log_scale = (
                each.gather(self.axis, chosen).squeeze(self.axis) for each in self._of_channel(number, found)
            )
            uniform = torch.empty_like(loc).uniform_(generator=generator)
            found.append(DiscretizedLogistic(loc, log_scale, self.levels).from_uniform(uniform))
        return self._joined(found)
