"""Whole numbers from zero up: Poisson, and negative binomial where they scatter more."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from vael.data.schema import Field, Kind
from vael.distributions.inflated import Inflated
from vael.distributions.precise import PreciseNegativeBinomial, PrecisePoisson
from vael.errors import RecipeError
from vael.likelihoods.base import Likelihood, masked_mean

LARGEST_LOG_MEAN = 20.0  # e²⁰ ≈ 5·10⁸ events: beyond it float32 cannot tell neighbouring counts apart


class Poisson(Likelihood):
    """Counts whose variance equals their mean.

    log p(x|z) = Σ_f x_f log r_f − r_f − log x_f!,    r = exp(network(z))
    """

    candidate_for: ClassVar[tuple[Kind, ...]] = ("count",)

    def distribution(self, parameters: Tensor) -> PrecisePoisson:
        """Log rates `(..., 1, *event)` → Poisson of batch shape `(..., *event)`."""
        log_rate = torch.clamp(parameters.squeeze(-1 - self.rank), max=LARGEST_LOG_MEAN)
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

    candidate_for: ClassVar[tuple[Kind, ...]] = ("count",)

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
        log_mean, *predicted = parameters.double().unbind(-1 - self.rank)
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


class ZeroInflatedNegativeBinomial(Likelihood):
    """Counts with more zeros than a negative binomial has: with probability π a zero, whatever the mean.

        p(x_f|z) = π [x_f = 0] + (1 − π) NB(x_f; m, r),    (logit π, log m[, log r]) = network(z)

    Args:
        network: z → logit π and the parameters of `NegativeBinomial`, side by side.
        dispersion: As in `NegativeBinomial`.
        event_shape: Shape of one x; from the network's outputs where it has them.

    Source: Lopez et al. 2018, scVI (Nature Methods 15), methods.
    """

    candidate_for: ClassVar[tuple[Kind, ...]] = ("count",)

    def __init__(
        self,
        network: nn.Module | None = None,
        *,
        dispersion: Literal["per_feature", "per_example"] = "per_feature",
        event_shape: int | Sequence[int] | None = None,
    ) -> None:
        self.dispersion = dispersion
        # The shape is not known before the network is asked, and the counts' own check of `dispersion` comes first.
        self._width = 1 + NegativeBinomial(dispersion=dispersion, event_shape=1).width()
        super().__init__(network, event_shape)
        self.counts = NegativeBinomial(dispersion=dispersion, event_shape=self.event_shape)

    def width(self) -> int:
        return self._width

    def distribution(self, parameters: Tensor) -> Inflated:
        """(logit π, log mean[, log r]) `(..., P, *event)` → zero-inflated counts of batch shape `(..., *event)`."""
        axis = -1 - self.rank
        logits, rest = parameters.double().split([1, self.width() - 1], axis)
        zero = torch.zeros((), dtype=logits.dtype, device=logits.device)
        massive = torch.ones((), dtype=torch.bool, device=logits.device)
        return Inflated(self.counts.distribution(rest), logits.squeeze(axis), zero, massive)

    def draw(self, law: Any, generator: Generator | None) -> Tensor:
        counts = self.counts.draw(law.law, generator)
        return counts * torch.bernoulli(torch.sigmoid(-law.logits), generator=generator)

    def marginal(self, x: Tensor, observed: Tensor) -> Tensor | None:
        """The share of extra zeros, and the mean of the rest, that fit mean μ and share of others s for r = 1.

        s = q μ/(q + μ) for a share q = 1 − π of counts with mean μ/q, so q = s μ/(μ − s).
        """
        others, mean = masked_mean((x > 0).to(x.dtype), observed), masked_mean(x, observed)
        share = torch.clamp(others * mean / torch.clamp(mean - others, min=1e-6), 0.02, 0.98)
        counts = self.counts.marginal(x, observed)
        counts[0] -= torch.log(share)
        return torch.cat([-torch.logit(share).unsqueeze(0), counts])

    @classmethod
    def refusal(cls, field: Field) -> str | None:
        return _refusal(cls.__name__, field)


def _refusal(name: str, field: Field) -> str | None:
    return None if field.kind in ("count", "image", "binary") else f"{name} needs whole numbers from 0 up"
