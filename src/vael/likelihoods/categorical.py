"""One of several values without an order."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.distributions import Categorical as CategoricalLaw

from vael.data.schema import Field, Kind
from vael.errors import RecipeError
from vael.likelihoods.base import Likelihood


class Categorical(Likelihood):
    """Features that take one of `levels` values, coded 0 … levels − 1.

        log p(x|z) = Σ_f log softmax(l_f)[x_f],    l = network(z), `levels` logits per feature

    Args:
        network: z → logits, `levels` × F outputs.
        levels: How many values a feature can take, at least 2.
        event_shape: Shape of one x; from the network's outputs where it has them.
    """

    candidate_for: ClassVar[tuple[Kind, ...]] = ("ordinal",)

    def __init__(
        self, network: nn.Module | None = None, *, levels: int, event_shape: int | Sequence[int] | None = None
    ) -> None:
        if levels < 2:
            raise RecipeError(f"Categorical: levels must be at least 2, got {levels}.")
        self.levels = levels
        super().__init__(network, event_shape)

    def width(self) -> int:
        return self.levels

    def distribution(self, parameters: Tensor) -> CategoricalLaw:
        """Logits `(..., levels, *event)` → categorical of batch shape `(..., *event)`."""
        return CategoricalLaw(logits=parameters.movedim(-1 - self.rank, -1), validate_args=False)

    def draw(self, law: Any, generator: Generator | None) -> Tensor:
        return draw_code(law, generator)

    def centre(self, law: Any) -> Tensor:
        """The likeliest value: codes have no mean."""
        mode: Tensor = law.logits.argmax(-1).to(law.logits.dtype)
        return mode

    def marginal(self, x: Tensor, observed: Tensor) -> Tensor:
        """Log shares of the values, half a count added to each."""
        seen = observed.reshape(x.shape)
        counts = torch.stack([((x == level) & seen).sum(0) for level in range(self.levels)]) + 0.5
        return (counts / counts.sum(0)).log()

    @classmethod
    def arguments(cls, fields: Sequence[Field]) -> dict[str, Any]:
        return {"levels": max(field.levels for field in fields)}

    @classmethod
    def refusal(cls, field: Field) -> str | None:
        limited = field.coded or field.kind == "image"
        return None if limited else "categorical needs a limited set of values"


def draw_code(law: Any, generator: Generator | None) -> Tensor:
    """A code for each feature of a categorical law, as a float of the law's type and batch shape."""
    chosen = torch.multinomial(law.probs.reshape(-1, law.probs.shape[-1]), 1, generator=generator)
    return chosen.reshape(law.batch_shape).to(law.probs.dtype)
