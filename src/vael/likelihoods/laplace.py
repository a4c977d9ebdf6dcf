"""Real numbers with exponential tails."""

import math
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor
from torch.distributions import Laplace as LaplaceLaw

from vael.data.schema import Field, Kind, View
from vael.distributions.cells import log_sinhc
from vael.likelihoods.continuous import Continuous, needs_a_line


class Laplace(Continuous):
    """Real features with Laplace noise; loc is the conditional median.

        p(x_f|z) = exp(−|x_f − loc| / scale) / (2 scale),    (loc, log scale) = network(z)

    On a grid, with c = |x − loc|/scale and w = step/scale: e^{−c} sinh(w/2) for a cell on one side of loc, and
    1 − e^{−w/2} cosh c for the one around it.

    Arguments: those of `Continuous`; the network gives twice as many outputs as x has features.
    """

    parameters_per_feature = 2
    view: ClassVar[View] = "standard"
    candidate_for: ClassVar[tuple[Kind, ...]] = ("real", "positive")

    def density(self, parameters: Tensor) -> LaplaceLaw:
        """(loc, log scale) `(..., 2, *event)` → Laplace of batch shape `(..., *event)`."""
        loc, log_scale = parameters.unbind(-1 - len(self.event_shape))
        return LaplaceLaw(loc, self.floored(log_scale), validate_args=False)

    def log_mass(self, law: Any, value: Tensor, step: Tensor) -> Tensor:
        distance = (value - law.loc).abs() / law.scale
        half = step / law.scale / 2
        beside = -distance + torch.log(half) + log_sinhc(half)
        near = torch.minimum(distance, half)  # the other branch's gradient must stay finite
        around = torch.log(-0.5 * (torch.expm1(near - half) + torch.expm1(-near - half)))
        return torch.where(distance >= half, beside, around)

    def draw_density(self, law: Any, generator: Generator | None) -> Tensor:
        uniform = torch.empty_like(law.loc).uniform_(generator=generator) - 0.5
        drawn: Tensor = law.loc - law.scale * uniform.sign() * torch.log1p(-2 * uniform.abs())
        return drawn

    def marginal(self, x: Tensor, observed: Tensor) -> Tensor:
        """The median of each feature, and the log of the mean distance to it."""
        seen = observed.reshape(x.shape)
        middle = torch.where(seen, x, torch.full_like(x, math.nan)).nanmedian(0).values.nan_to_num(0.0)
        distance = (torch.where(seen, (x - middle).abs(), torch.zeros_like(x))).sum(0) / seen.sum(0).clamp(min=1)
        return torch.stack([middle, torch.log(torch.clamp(distance, min=1e-2))])

    @classmethod
    def refusal(cls, field: Field) -> str | None:
        return needs_a_line(cls, field)
