"""Laws scored in float64 whatever the type of x: differences of log Γ lose a nat at 10⁶ in float32."""

import torch
from torch import Tensor
from torch.distributions import Beta, Gamma, NegativeBinomial, Poisson


class Precise:
    """log_prob in float64, given back in the type of x. The law's parameters are float64."""

    def log_prob(self, value: Tensor) -> Tensor:
        found: Tensor = super().log_prob(value.double())  # type: ignore[misc]
        return found.to(value.dtype)


class PrecisePoisson(Precise, Poisson):
    """torch's Poisson law, scored in float64."""


class PreciseNegativeBinomial(Precise, NegativeBinomial):
    """torch's negative binomial law, scored in float64."""


class PreciseGamma(Precise, Gamma):
    """torch's gamma law, scored in float64."""


class PreciseBeta(Precise, Beta):
    """torch's beta law, scored in float64; at 0 and 1, where it may be infinite, as at the nearest number inside."""

    def log_prob(self, value: Tensor) -> Tensor:
        # A fraction is 1 in float32 where it is nearer to 1 than to the number below.
        kind = torch.finfo(value.dtype)
        return super().log_prob(value.clamp(kind.tiny, 1 - kind.eps / 2))
