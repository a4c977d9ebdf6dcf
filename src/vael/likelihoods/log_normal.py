"""Numbers above zero whose logarithm is normal."""

from typing import Any, ClassVar

import torch
from torch import Generator, Tensor
from torch.distributions import LogNormal as LogNormalLaw

from vael.data.schema import Field, Kind, View
from vael.distributions.cells import log_interval, log_normal_cdf
from vael.likelihoods.base import masked_mean
from vael.likelihoods.continuous import Continuous


class LogNormal(Continuous):
    """Positive features: log x_f is normal.

        p(x_f|z) = N(log x_f; loc, scale²) / x_f,    (loc, log scale) = network(z)

    On a grid a cell's mass is a difference of Φ at the logarithms of its ends; the cell of 0 begins at 0, so all
    masses sum to one and a 0 has a probability. `floor` bounds the scale of log x.

    Arguments: those of `Continuous`; the network gives twice as many outputs as x has features.
    """

    parameters_per_feature = 2
    view: ClassVar[View] = "scaled"
    candidate_for: ClassVar[tuple[Kind, ...]] = ("positive", "count")

    def density(self, parameters: Tensor) -> LogNormalLaw:
        """(loc, log scale) of log x, `(..., 2, *event)` → log-normal of batch shape `(..., *event)`."""
        loc, log_scale = parameters.unbind(-1 - len(self.event_shape))
        # e⁵ deviations of log x are more than any float can hold.
        return LogNormalLaw(loc, self.floor + torch.clamp(log_scale, max=5.0).exp(), validate_args=False)

    def log_mass(self, law: Any, value: Tensor, step: Tensor) -> Tensor:
        half = step / 2
        inner = torch.where(value > half, value, step)  # a value of its own for the branch that is not taken
        ratio = half / inner
        middle = torch.log(inner) + 0.5 * torch.log1p(-ratio.square())
        inside = log_interval((middle - law.loc) / law.scale, 2 * torch.atanh(ratio) / law.scale)
        first = log_normal_cdf((torch.log(torch.maximum(value, torch.zeros_like(value)) + half) - law.loc) / law.scale)
        return torch.where(value > half, inside, first)

    def draw_density(self, law: Any, generator: Generator | None) -> Tensor:
        eps = torch.empty_like(law.loc).normal_(generator=generator)
        drawn: Tensor = torch.addcmul(law.loc, law.scale, eps).exp()
        return drawn

    def centre(self, law: Any) -> Tensor:
        """The median, exp(loc): a mean lies far out in the tail."""
        median: Tensor = getattr(law, "law", law).loc.exp()
        return median

    def marginal(self, x: Tensor, observed: Tensor) -> Tensor:
        """Mean and log deviation of log x; a 0 on a grid stands at a quarter of its cell."""
        least = torch.clamp(self._step.to(x.dtype) / 4, min=1e-6)
        logs = torch.log(torch.maximum(x, least))
        mean = masked_mean(logs, observed)
        deviation = masked_mean((logs - mean).square(), observed).sqrt()
        return torch.stack([mean, torch.log(torch.clamp(deviation, min=1e-2))])

    @classmethod
    def refusal(cls, field: Field) -> str | None:
        return needs_positive(cls.__name__, field)


def needs_positive(name: str, field: Field) -> str | None:
    """Why a law of positive numbers cannot be that of `field`, or None."""
    if field.kind not in ("positive", "count"):
        return f"{name} needs numbers above zero, or counts"
    zeros = field.ends and field.ends[0] == 0 and not field.resolution
    return f"{name} has no finite density at 0; spiked gives it a probability" if zeros else None
