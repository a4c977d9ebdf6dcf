"""One of several values in an order."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.distributions import Categorical as CategoricalLaw
from torch.nn.functional import logsigmoid

from vael.data.schema import Field, Kind
from vael.errors import RecipeError
from vael.likelihoods.base import Likelihood
from vael.likelihoods.categorical import draw_code


class OrderedLogit(Likelihood):
    """Features that take one of `levels` ordered values, coded 0 … levels − 1: a logistic variable, cut.

        P(x_f ≤ k | z) = σ(c_k − l_f),    l = network(z),    c_0 < c_1 < … learned for each feature

    Args:
        network: z → l, as many outputs as features.
        levels: How many values a feature can take, at least 2.
        event_shape: Shape of one x; from the network's outputs where it has them.

    Source: McCullagh 1980 (Journal of the Royal Statistical Society B 42), the proportional-odds model.
    """

    candidate_for: ClassVar[tuple[Kind, ...]] = ("ordinal",)

    def __init__(
        self, network: nn.Module | None = None, *, levels: int, event_shape: int | Sequence[int] | None = None
    ) -> None:
        if levels < 2:
            raise RecipeError(f"OrderedLogit: levels must be at least 2, got {levels}.")
        self.levels = levels
        super().__init__(network, event_shape)
        self.first = nn.Parameter(torch.full(self.event_shape, -2.0))
        self.log_gaps = nn.Parameter(torch.zeros(*self.event_shape, levels - 2))

    @property
    def cuts(self) -> Tensor:
        """c_0 < c_1 < …, `(*event, levels − 1)`."""
        gaps = self.log_gaps.exp().cumsum(-1)
        return torch.cat([self.first.unsqueeze(-1), self.first.unsqueeze(-1) + gaps], -1)

    def distribution(self, parameters: Tensor) -> CategoricalLaw:
        """l `(..., 1, *event)` → the law of the codes, batch shape `(..., *event)`."""
        ends = self.cuts - parameters.squeeze(-1 - self.rank).unsqueeze(-1)  # (..., *event, levels − 1)
        below, above = logsigmoid(ends), logsigmoid(-ends)
        # log(σ(u) − σ(l)) as a sum of three logs, exact far out in either tail. The gap is the parameter itself: the
        # cuts of a level that no row has come so near each other that their difference is 0 in float32.
        inside = below[..., 1:] + above[..., :-1] + torch.log(-torch.expm1(-self.log_gaps.exp()))
        return CategoricalLaw(logits=torch.cat([below[..., :1], inside, above[..., -1:]], -1), validate_args=False)

    def draw(self, law: Any, generator: Generator | None) -> Tensor:
        return draw_code(law, generator)

    def centre(self, law: Any) -> Tensor:
        """The median: the first value with at least half of the probability at or below it."""
        median: Tensor = (law.probs.cumsum(-1) < 0.5).sum(-1).to(law.probs.dtype)
        return median

    def marginal(self, x: Tensor, observed: Tensor) -> Tensor:
        """l = 0; the cuts are moved to the logits of the shares at or below each value."""
        seen = observed.reshape(x.shape)
        counts = torch.stack([((x == level) & seen).sum(0) for level in range(self.levels)], -1) + 0.5
        cuts = torch.logit((counts.cumsum(-1) / counts.sum(-1, keepdim=True))[..., :-1])
        with torch.no_grad():
            self.first.copy_(cuts[..., 0])
            self.log_gaps.copy_(torch.log(cuts[..., 1:] - cuts[..., :-1]))
        return torch.zeros(1, *self.event_shape)

    @classmethod
    def arguments(cls, fields: Sequence[Field]) -> dict[str, Any]:
        return {"levels": max(field.levels for field in fields)}

    @classmethod
    def refusal(cls, field: Field) -> str | None:
        return None if field.kind in ("ordinal", "binary") else "OrderedLogit needs a few values in an order"
