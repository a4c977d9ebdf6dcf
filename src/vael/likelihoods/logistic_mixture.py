"""Pictures of whole grey or colour values under a mixture for each pixel."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from vael.data.schema import Field, Kind
from vael.distributions.logistic_mixture import LogisticMixture as LogisticMixtureLaw
from vael.errors import RecipeError, ShapeError
from vael.likelihoods.base import Likelihood, masked_mean
from vael.likelihoods.discretized_logistic import NARROWEST, WIDEST


class LogisticMixture(Likelihood):
    """Whole numbers 0 … levels − 1 under a mixture of binned logistics for each pixel.

        P(x_1 … x_C|z) = Σ_m w_m Π_c [σ((x_c + ½ − m_mc)/s_mc) − σ((x_c − ½ − m_mc)/s_mc)]

    The channels of a colour pixel share the weights, and a channel's centre looks at the channels before it with
    learned coefficients. Pictures `(3, H, W)` have three channels; any other shape has one.

    Args:
        network: z → for each pixel M weights, M · C centres, M · C log scales, in half ranges, and M · C (C − 1)/2
            coefficients: `decoder_outputs(event_shape)`.
        levels: How many values a channel can take; 256 for 8-bit pictures.
        components: M, at least 1.
        event_shape: Shape of one x; from the network's outputs where it has them.

    Source: Salimans et al. 2017, PixelCNN++, section 2 (arXiv 1701.05517).
    """

    candidate_for: ClassVar[tuple[Kind, ...]] = ("image",)

    def __init__(
        self,
        network: nn.Module | None = None,
        *,
        levels: int = 256,
        components: int = 5,
        event_shape: int | Sequence[int] | None = None,
    ) -> None:
        if levels < 2:
            raise RecipeError(f"LogisticMixture: levels must be at least 2, got {levels}.")
        if components < 1:
            raise RecipeError(f"LogisticMixture: components must be at least 1, got {components}.")
        self.levels, self.components = levels, components
        super().__init__(network, event_shape)

    @staticmethod
    def _channels(event_shape: Sequence[int]) -> int:
        """1 or 3 for pictures with a channel axis; 0 where x has none, so that every number is a pixel."""
        return event_shape[0] if len(event_shape) == 3 and event_shape[0] in (1, 3) else 0

    def _sizes(self, channels: int) -> list[int]:
        """How many weights, centres, log scales and coefficients a pixel takes."""
        m, c = self.components, max(channels, 1)
        return [m, m * c, m * c, m * c * (c - 1) // 2]

    def decoder_outputs(self, event_shape: Sequence[int]) -> int | list[int]:
        channels = self._channels(event_shape)
        first, *others = event_shape
        outputs = sum(self._sizes(channels)) * (1 if channels else first)
        return [outputs, *others] if others else outputs

    def _event_shape(self, network: nn.Module | None, stated: int | Sequence[int] | None) -> tuple[int, ...]:
        outputs = getattr(network, "outputs", None)
        if stated is not None or outputs is None:
            return super()._event_shape(network, stated)
        first, *others = (outputs,) if isinstance(outputs, int) else outputs
        pictures = [(1, *others), (3, *others)] if len(others) == 2 else []
        for shape in [*pictures, (first // sum(self._sizes(0)), *others)]:
            if self.decoder_outputs(shape) == ([first, *others] if others else first):
                return shape
        raise ShapeError(
            f"LogisticMixture: {self.components} components take {sum(self._sizes(1))} outputs for each grey pixel or "
            f"{sum(self._sizes(3))} for each colour one, got a network with outputs {outputs}."
        )

    def unpacked(self, out: Tensor) -> Tensor:
        """Network output → `(..., P, *pixels)`. Raises ShapeError when it does not fit."""
        wanted = self.decoder_outputs(self.event_shape)
        shape = (wanted,) if isinstance(wanted, int) else tuple(wanted)
        if tuple(out.shape[-len(shape) :]) != shape:
            raise ShapeError(
                f"LogisticMixture likelihood: the decoder's output has shape {tuple(out.shape)}, expected "
                f"(…, {', '.join(map(str, shape))}) for x of shape {self.event_shape}.\n"
                f"  Change the network's outputs, or build the likelihood with another event_shape."
            )
        if self._channels(self.event_shape):
            return out
        unpacked: Tensor = out.unflatten(-self.rank, (sum(self._sizes(0)), self.event_shape[0]))
        return unpacked

    def distribution(self, parameters: Tensor) -> LogisticMixtureLaw:
        """`(..., P, *pixels)`, P being all the numbers of a pixel → mixture of batch shape `(..., *event)`."""
        channels, half = self._channels(self.event_shape), (self.levels - 1) / 2
        axis = -self.rank if channels else -1 - self.rank
        weights, loc, log_scale, coefficients = parameters.split(self._sizes(channels), axis)
        each = (self.components, max(channels, 1))
        return LogisticMixtureLaw(
            weights,
            (half + half * loc).unflatten(axis, each),
            (torch.clamp(log_scale, NARROWEST, WIDEST) + math.log(half)).unflatten(axis, each),
            torch.tanh(coefficients).unflatten(axis, (self.components, -1)) if channels == 3 else None,
            levels=self.levels,
            pixel_axes=-axis - 1,
            channel_axis=channels > 0,
        )

    def draw(self, law: Any, generator: Generator | None) -> Tensor:
        drawn: Tensor = law.draw(generator)
        return drawn

    def marginal(self, x: Tensor, observed: Tensor) -> Tensor:
        """Equal weights, centres spread over a deviation to either side of each feature's mean."""
        channels, m, half = self._channels(self.event_shape), self.components, (self.levels - 1) / 2
        mean = masked_mean(x, observed)
        deviation = torch.clamp(masked_mean((x - mean).square(), observed).sqrt() / half, min=0.02)
        mean, log_scale = mean / half - 1, torch.log(deviation * math.sqrt(3) / math.pi)
        places = torch.linspace(-1, 1, m, dtype=x.dtype) if m > 1 else torch.zeros(1, dtype=x.dtype)
        places = places.reshape(m, *[1] * self.rank)
        shape = (m * channels, *self.event_shape[1:]) if channels else (m, *self.event_shape)
        loc = (mean + places * deviation).reshape(shape)
        spread = (log_scale + torch.zeros_like(places)).reshape(shape)
        weights = torch.zeros(m, *loc.shape[1:], dtype=x.dtype)
        rest = torch.zeros(self._sizes(channels)[-1], *loc.shape[1:], dtype=x.dtype)
        return torch.cat([weights, loc, spread, rest])

    @classmethod
    def arguments(cls, fields: Sequence[Field]) -> dict[str, Any]:
        return {"levels": max(field.levels for field in fields)}

    @classmethod
    def refusal(cls, field: Field) -> str | None:
        return None if field.kind == "image" else "logistic_mixture needs grey or colour values 0 … levels − 1"
