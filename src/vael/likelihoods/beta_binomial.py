"""Whole numbers in a known range with a beta-binomial law."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from vael.data.schema import Field, Kind
from vael.distributions.beta_binomial import BetaBinomial as BetaBinomialLaw
from vael.errors import RecipeError
from vael.likelihoods.base import Likelihood, masked_mean

LARGEST = 12.0  # of a log concentration: a binomial to six digits


class BetaBinomial(Likelihood):
    """Whole numbers 0 … n, n = levels − 1: so many successes of n, with a probability that is a beta draw.

        P(x_f|z) = C(n, x) B(x + a, n − x + b) / B(a, b),    (log a, log b) = network(z)

    Args:
        network: z → (log a, log b), twice as many outputs as features.
        levels: How many values a feature can take; 256 for 8-bit pictures.
        event_shape: Shape of one x; from the network's outputs where it has them.

    Source: the raw pictures of Townsend et al. 2019 (arXiv 1901.04866).
    """

    parameters_per_feature = 2
    candidate_for: ClassVar[tuple[Kind, ...]] = ("image",)

    def __init__(
        self, network: nn.Module | None = None, *, levels: int = 256, event_shape: int | Sequence[int] | None = None
    ) -> None:
        if levels < 2:
            raise RecipeError(f"BetaBinomial: levels must be at least 2, got {levels}.")
        self.levels = levels
        super().__init__(network, event_shape)

    def distribution(self, parameters: Tensor) -> BetaBinomialLaw:
        """(log a, log b) `(..., 2, *event)` → beta-binomial of batch shape `(..., *event)`."""
        a, b = torch.clamp(parameters.double(), -LARGEST, LARGEST).exp().unbind(-1 - self.rank)
        return BetaBinomialLaw(a, b, self.levels - 1)

    def draw(self, law: Any, generator: Generator | None) -> Tensor:
        """A binomial draw whose probability is a share of two gamma draws."""
        one, other = (torch._standard_gamma(part.contiguous(), generator=generator) for part in (law.a, law.b))
        share = one / torch.clamp(one + other, min=torch.finfo(one.dtype).tiny)
        return torch.binomial(torch.full_like(share, float(law.n)), share, generator=generator)

    def marginal(self, x: Tensor, observed: Tensor) -> Tensor:
        """a and b of the features' means and variances, as if of the shares x/n."""
        share = x / (self.levels - 1)
        mean = torch.clamp(masked_mean(share, observed), 1e-3, 1 - 1e-3)
        variance = torch.clamp(masked_mean((share - mean).square(), observed), min=1e-4)
        total = torch.clamp(mean * (1 - mean) / variance - 1, 0.1, 1e3)
        return torch.stack([torch.log(mean * total), torch.log((1 - mean) * total)])

    @classmethod
    def arguments(cls, fields: Sequence[Field]) -> dict[str, Any]:
        return {"levels": max(field.levels for field in fields)}

    @classmethod
    def refusal(cls, field: Field) -> str | None:
        return None if field.kind == "image" else "beta_binomial needs grey values 0 … levels − 1"
