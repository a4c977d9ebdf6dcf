"""Whole numbers in a known range, such as 8-bit grey values."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from vael.data.schema import Field, Kind
from vael.distributions.discretized_logistic import DiscretizedLogistic as DiscretizedLogisticLaw
from vael.errors import RecipeError
from vael.likelihoods.base import Likelihood, masked_mean

NARROWEST, WIDEST = -7.0, 5.0  # log scale in half ranges: 0.001 and 150 of them; beyond lies nothing but overflow


class DiscretizedLogistic(Likelihood):
    """Whole numbers 0 … levels − 1 under a logistic law binned to unit cells, open at both ends.

        P(x_f|z) = σ((x_f + ½ − m) / s) − σ((x_f − ½ − m) / s),
        m = h + h · l₀,   s = h · exp(l₁),   h = (levels − 1)/2

    Args:
        network: z → (l₀, l₁): centre and log scale in half ranges, twice as many outputs as features.
        levels: How many values a feature can take; 256 for 8-bit pictures.
        event_shape: Shape of one x; from the network's outputs where it has them.

    Source: Salimans et al. 2017, PixelCNN++, section 2.1 (arXiv 1701.05517), with one component.
    """

    parameters_per_feature = 2
    candidate_for: ClassVar[tuple[Kind, ...]] = ("image",)

    def __init__(
        self, network: nn.Module | None = None, *, levels: int = 256, event_shape: int | Sequence[int] | None = None
    ) -> None:
        if levels < 2:
            raise RecipeError(f"DiscretizedLogistic: levels must be at least 2, got {levels}.")
        self.levels = levels
        super().__init__(network, event_shape)

    def distribution(self, parameters: Tensor) -> DiscretizedLogisticLaw:
        """(centre, log scale) `(..., 2, *event)` → binned logistic of batch shape `(..., *event)`."""
        half = (self.levels - 1) / 2
        centre, log_scale = parameters.unbind(-1 - self.rank)
        log_scale = torch.clamp(log_scale, NARROWEST, WIDEST) + math.log(half)
        return DiscretizedLogisticLaw(half + half * centre, log_scale, self.levels)

    def draw(self, law: Any, generator: Generator | None) -> Tensor:
        uniform = torch.empty_like(law.loc).uniform_(generator=generator)
        drawn: Tensor = law.from_uniform(uniform)
        return drawn

    def marginal(self, x: Tensor, observed: Tensor) -> Tensor:
        """Mean and spread of each feature in half ranges; the scale of a logistic is √3/π of its deviation."""
        half = (self.levels - 1) / 2
        mean = masked_mean(x, observed)
        deviation = masked_mean((x - mean).square(), observed).sqrt() * math.sqrt(3) / math.pi
        return torch.stack([mean / half - 1, torch.log(torch.clamp(deviation / half, min=0.02))])

    @classmethod
    def arguments(cls, fields: Sequence[Field]) -> dict[str, Any]:
        return {"levels": max(field.levels for field in fields)}

    @classmethod
    def refusal(cls, field: Field) -> str | None:
        return None if field.kind == "image" else "discretized_logistic needs grey values 0 … levels − 1"
