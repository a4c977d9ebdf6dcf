"""Numbers above zero whose deviation grows with their mean."""

from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from vael.data.schema import Field, Kind, View
from vael.distributions.cells import log_end_integral, log_integral
from vael.distributions.precise import PreciseGamma
from vael.likelihoods.base import masked_mean
from vael.likelihoods.continuous import Continuous
from vael.likelihoods.log_normal import needs_positive

LARGEST = 15.0  # of a logarithm: e¹⁵ means, and concentrations, are more than any column needs


class Gamma(Continuous):
    """Positive features with a gamma law.

        p(x_f|z) = r^a x_f^{a−1} e^{−r x_f} / Γ(a),    r = a/m,    (log m, log a) = network(z)

    m is the mean and 1/√a the relative deviation, which never falls below `floor` and, on a grid, half a step. A cell's
    mass is the density's integral by quadrature; the cell of 0 begins at 0.

    Arguments: those of `Continuous`; the network gives twice as many outputs as x has features.
    """

    parameters_per_feature = 2
    view: ClassVar[View] = "scaled"
    candidate_for: ClassVar[tuple[Kind, ...]] = ("positive",)

    def density(self, parameters: Tensor) -> PreciseGamma:
        """(log mean, log concentration) `(..., 2, *event)` → gamma of batch shape `(..., *event)`."""
        log_mean, log_a = (torch.clamp(p, -LARGEST, LARGEST) for p in parameters.double().unbind(-1 - self.rank))
        # The relative deviation is √(1/a), with 1/a bounded from below by the floor's square.
        least = torch.where(self._step > 0, self._floor * torch.exp(-log_mean), self._floor)
        a = 1 / (torch.exp(-log_a) + least.square())
        return PreciseGamma(a, a * torch.exp(-log_mean), validate_args=False)

    def log_mass(self, law: Any, value: Tensor, step: Tensor) -> Tensor:
        value, half = value.double(), step.double() / 2
        inner = torch.where(value > half, value, 2 * half)  # a cell of its own for the branch that is not taken
        inside = log_integral(law.log_prob, inner - half, inner + half)
        a, rate = law.concentration, law.rate
        end = torch.clamp(value, min=0) + half + torch.zeros_like(a)
        first = a * torch.log(rate) - torch.lgamma(a) + log_end_integral(lambda t: -rate * t, a, end)
        return torch.where(value > half, inside, first)

    def draw_density(self, law: Any, generator: Generator | None) -> Tensor:
        drawn: Tensor = torch._standard_gamma(law.concentration.contiguous(), generator=generator) / law.rate
        return drawn

    def marginal(self, x: Tensor, observed: Tensor) -> Tensor:
        """Log mean, and the concentration of that mean and variance."""
        mean = torch.clamp(masked_mean(x, observed), min=1e-6)
        variance = torch.clamp(masked_mean((x - mean).square(), observed), min=1e-6)
        return torch.stack([torch.log(mean), torch.log(mean.square() / variance)])

    @classmethod
    def refusal(cls, field: Field) -> str | None:
        return needs_positive(cls.__name__, field)
