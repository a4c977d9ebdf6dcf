"""Whole numbers from zero up: Poisson, and negative binomial where they scatter more."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn
from torch.distributions import NegativeBinomial as NegativeBinomialLaw
from torch.distributions import Poisson as PoissonLaw

from vael.data.schema import Field
from vael.errors import RecipeError
from vael.likelihoods.base import Likelihood, masked_mean

LARGEST_LOG_MEAN = 20.0  # e²⁰ ≈ 5·10⁸ events: beyond it float32 cannot tell neighbouring counts apart


class PreciseCounts:
    """log_prob in float64, whatever the type of x: differences of log Γ lose a nat at 10⁶ in float32."""

    def log_prob(self, value: Tensor) -> Tensor:
        found: Tensor = super().log_prob(value.double())  # type: ignore[misc]
        return found.to(value.dtype)


class PrecisePoisson(PreciseCounts, PoissonLaw):
    """torch's Poisson law, scored in float64."""


class PreciseNegativeBinomial(PreciseCounts, NegativeBinomialLaw):
    """torch's negative binomial law, scored in float64."""


class Poisson(Likelihood):
    """Counts whose variance equals their mean.

    log p(x|z) = Σ_f x_f log r_f − r_f − log x_f!,    r = exp(network(z))
    """

    def distribution(self, parameters: Tensor) -> PrecisePoisson:
        """Log rates `(..., 1, *event)` → Poisson of batch shape `(..., *event)`."""
        log_rate = torch.clamp(parameters.squeeze(-1 - len(self.event_shape)), max=LARGEST_LOG_MEAN)
        return PrecisePoisson(log_rate.double().exp(), validate_args=False)

    def draw(self, law: Any, generator: Generator | None) -> Tensor:
        return torch.poisson(law.rate, generator=generator)

    def marginal(self, x: Tensor, observed: Tensor) -> Tensor:
        return torch.log(torch.clamp(masked_mean(x, observed), min=1e-3)).unsqueeze(0)

    @classmethod
    def refusal(cls, field: Field) -> str | None:
        return _refusal(cls.__name__, field)


class NegativeBinomial(Likelihood):
    """Counts that scatter more than their mean, m + m²/r; Poisson in the limit of large r.

        log p(x|z) = Σ_f log Γ(x + r) − log Γ(r) − log x! + r log (r / (r + m)) + x log (m / (r + m))

    m = exp(network(z)) is the mean and r the inverse dispersion.

    Args:
        network: z → log mean; for dispersion="per_example" z → (log mean, log r), twice the outputs.
        dispersion: "per_feature", one learned r for each feature, or "per_example", predicted from z.
        event_shape: Shape of one x; from the network's outputs where it has them.

    Source: the mean–dispersion form of Lopez et al. 2018, scVI (Nature Methods 15), methods.
    """

    def __init__(
        self,
        network: nn.Module | None = None,
        *,
        dispersion: Literal["per_feature", "per_example"] = "per_feature",
        event_shape: int | Sequence[int] | None = None,
    ) -> None:
        if dispersion not in ("per_feature", "per_example"):
            raise RecipeError(f"NegativeBinomial: dispersion must be per_feature or per_example, got {dispersion!r}.")
        self.dispersion = dispersion
        super().__init__(network, event_shape)
        if dispersion == "per_feature":
            self.log_inverse = nn.Parameter(torch.zeros(self.event_shape))

    def width(self) -> int:
        return 1 if self.dispersion == "per_feature" else 2

    def distribution(self, parameters: Tensor) -> PreciseNegativeBinomial:
        """(log mean[, log r]) `(..., P, *event)` → negative binomial of batch shape `(..., *event)`."""
        log_mean, *predicted = parameters.double().unbind(-1 - len(self.event_shape))
        log_r = predicted[0] if predicted else self.log_inverse.double().expand(log_mean.shape)
        log_r = torch.clamp(log_r, -10.0, 10.0)  # r below e⁻¹⁰ is all zeros, above e¹⁰ Poisson to float32
        logits = torch.clamp(log_mean, max=LARGEST_LOG_MEAN) - log_r
        return PreciseNegativeBinomial(total_count=log_r.exp(), logits=logits, validate_args=False)

    def draw(self, law: Any, generator: Generator | None) -> Tensor:
        """A Poisson count whose rate is a gamma draw, the law's own construction."""
        gamma = torch._standard_gamma(law.total_count.contiguous(), generator=generator)
        return torch.poisson(gamma * torch.exp(law.logits), generator=generator)

    def marginal(self, x: Tensor, observed: Tensor) -> Tensor:
        log_mean = torch.log(torch.clamp(masked_mean(x, observed), min=1e-3)).unsqueeze(0)
        return log_mean if self.dispersion == "per_feature" else torch.cat([log_mean, torch.zeros_like(log_mean)])

    @classmethod
    def refusal(cls, field: Field) -> str | None:
        return _refusal(cls.__name__, field)


def _refusal(name: str, field: Field) -> str | None:
    return None if field.kind in ("count", "image", "binary") else f"{name} needs whole numbers from 0 up"
