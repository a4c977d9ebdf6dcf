"""Fractions in [0, 1]: continuous Bernoulli and beta."""

from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from vael.data.schema import Field, Kind
from vael.distributions.cells import log_end_integral, log_integral
from vael.distributions.continuous_bernoulli import ContinuousBernoulli as ContinuousBernoulliLaw
from vael.distributions.precise import PreciseBeta
from vael.likelihoods.base import masked_mean
from vael.likelihoods.continuous import Continuous

LARGEST = 15.0  # of a logarithm or logit: beyond it lies nothing but overflow


class ContinuousBernoulli(Continuous):
    """Fractions in [0, 1] under a tilt of the uniform law: cross entropy with the constant that makes it a density.

        p(x_f|z) = C(λ) λ^x (1 − λ)^{1−x},    logit λ = network(z)

    On a grid a cell's mass is in closed form, cut at 0 and 1. Arguments: those of `Continuous`.

    Source: Loaiza-Ganem & Cunningham 2019 (arXiv 1907.06845).
    """

    candidate_for: ClassVar[tuple[Kind, ...]] = ("unit",)

    def density(self, parameters: Tensor) -> ContinuousBernoulliLaw:
        """Logits `(..., 1, *event)` → continuous Bernoulli of batch shape `(..., *event)`."""
        return ContinuousBernoulliLaw(parameters.squeeze(-1 - self.rank))

    def log_mass(self, law: Any, value: Tensor, step: Tensor) -> Tensor:
        lower, upper = cell_within_one(value, step / 2)
        found: Tensor = law.log_mass(lower, upper)
        return found

    def draw_density(self, law: Any, generator: Generator | None) -> Tensor:
        drawn: Tensor = law.from_uniform(torch.empty_like(law.logits).uniform_(generator=generator))
        return drawn

    @classmethod
    def refusal(cls, field: Field) -> str | None:
        return None if field.kind == "unit" else "ContinuousBernoulli needs fractions from 0 to 1"


class Beta(Continuous):
    """Fractions in (0, 1) with a beta law.

        p(x_f|z) = x^{a−1} (1 − x)^{b−1} / B(a, b),    a = m n,  b = (1 − m) n,    (logit m, log n) = network(z)

    m is the mean; the deviation √(m (1 − m)/(n + 1)) never falls below about `floor` or, on a grid, half a step. Off
    the grid a value of exactly 0 or 1 has no finite density and is refused; on it the cells of 0 and 1 have a mass,
    by quadrature like the others.

    Arguments: those of `Continuous`; the network gives twice as many outputs as x has features.
    """

    parameters_per_feature = 2
    candidate_for: ClassVar[tuple[Kind, ...]] = ("unit",)

    def density(self, parameters: Tensor) -> PreciseBeta:
        """(logit mean, log concentration) `(..., 2, *event)` → beta of batch shape `(..., *event)`."""
        logit, log_n = (torch.clamp(p, -LARGEST, LARGEST) for p in parameters.double().unbind(-1 - self.rank))
        m = torch.sigmoid(logit)
        least = self._floor.square() / (m * (1 - m))
        n = 1 / (torch.exp(-log_n) + least)
        # The complement by its own sigmoid: 1 − m is 0 in float64 once the logit is above 37, far less in float32.
        return PreciseBeta(m * n, torch.sigmoid(-logit) * n, validate_args=False)

    def log_mass(self, law: Any, value: Tensor, step: Tensor) -> Tensor:
        value, half = value.double(), step.double() / 2
        a, b = law.concentration1, law.concentration0
        short = torch.clamp(half, max=0.25)  # of wider cells none lies between the two at the ends
        inner = torch.maximum(2 * short, torch.minimum(value, 1 - 2 * short))  # a cell that touches neither end
        inside = log_integral(law.log_prob, inner - short, inner + short)
        norm = torch.lgamma(a + b) - torch.lgamma(a) - torch.lgamma(b)
        low = torch.clamp(value, min=0).minimum(half) + half + torch.zeros_like(a)
        high = torch.clamp(1 - value, min=0).minimum(half) + half + torch.zeros_like(a)
        first = norm + log_end_integral(lambda t: (b - 1) * torch.log1p(-t), a, low)
        last = norm + log_end_integral(lambda t: (a - 1) * torch.log1p(-t), b, high)
        return torch.where(value <= half, first, torch.where(value >= 1 - half, last, inside))

    def draw_density(self, law: Any, generator: Generator | None) -> Tensor:
        """One of two gamma draws as a share of both."""
        one, other = (
            torch._standard_gamma(part.contiguous(), generator=generator)
            for part in (law.concentration1, law.concentration0)
        )
        return one / torch.clamp(one + other, min=torch.finfo(one.dtype).tiny)

    def marginal(self, x: Tensor, observed: Tensor) -> Tensor:
        """The beta law of each feature's mean and variance."""
        mean = torch.clamp(masked_mean(x, observed), 1e-3, 1 - 1e-3)
        variance = torch.clamp(masked_mean((x - mean).square(), observed), min=1e-6)
        n = torch.clamp(mean * (1 - mean) / variance - 1, min=0.1)
        return torch.stack([torch.logit(mean), torch.log(n)])

    @classmethod
    def refusal(cls, field: Field) -> str | None:
        if field.kind != "unit":
            return "Beta needs fractions between 0 and 1"
        touches = field.ends and (field.ends[0] <= 0 or field.ends[1] >= 1)
        return "Beta has no finite density at exactly 0 or 1" if touches and not field.resolution else None


def cell_within_one(value: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """The ends of the cell value ± half, cut at 0 and 1."""
    return torch.clamp(value - half, min=0.0), torch.clamp(value + half, max=1.0)
