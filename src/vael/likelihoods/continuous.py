"""Laws on a line: scored by a density, or on a grid by the mass of a cell."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.distributions import Distribution

from vael.data.schema import Field
from vael.distributions.cells import Cells, log_integral
from vael.errors import RecipeError
from vael.likelihoods.base import Likelihood


class Continuous(Likelihood):
    """Features on a line, each with a density p(x_f|z).

    On a grid (`step` > 0) a value is scored by the probability of its cell, ∫ p over x ± step/2, since a density there
    could be bought without limit by a narrow scale. Laws of one room are so compared by one measure.

    Args:
        network: z → real parameters.
        step: Width of a grid cell in the units of x, one number or one per feature; 0 for continuous features.
        floor: Least scale of a continuous feature, in the units of x. On a grid it is half a step.
        event_shape: Shape of one x; from the network's outputs where it has them.
    """

    _step: Tensor
    _floor: Tensor

    def __init__(
        self,
        network: nn.Module | None = None,
        *,
        step: float | Sequence[float] = 0.0,
        floor: float = 1e-3,
        event_shape: int | Sequence[int] | None = None,
    ) -> None:
        self.step, self.floor = step, floor
        super().__init__(network, event_shape)
        steps = torch.as_tensor(step, dtype=torch.float64)  # narrowed to the data's type where it is used
        self.on_grid = bool((steps > 0).any())
        self.register_buffer("_step", steps, persistent=False)
        self.register_buffer(
            "_floor", torch.where(steps > 0, steps / 2, torch.full_like(steps, floor)), persistent=False
        )

    @abstractmethod
    def density(self, parameters: Tensor) -> Distribution:
        """The law off the grid, batch shape `(..., *event)`, from parameters `(..., P, *event)`."""

    @abstractmethod
    def draw_density(self, law: Any, generator: Generator | None) -> Tensor:
        """One x `(..., *event)` from what `density` returned; off the grid, where `decode` rounds to it."""

    def log_mass(self, law: Any, value: Tensor, step: Tensor) -> Tensor:
        """log P of the cells value ± step/2 under `law`, nats; by quadrature unless the law has a closed form."""
        return log_integral(law.log_prob, value - step / 2, value + step / 2)

    def distribution(self, parameters: Tensor) -> Distribution:
        """Real parameters `(..., P, *event)` → the law, its cells where there is a grid."""
        return self.on_cells(self.density(parameters))

    def on_cells(self, law: Distribution) -> Distribution:
        """`law`, scored by the mass of its cells where there is a grid."""
        return Cells(law, self._step.to(law.mean.dtype), self.log_mass) if self.on_grid else law

    def draw(self, law: Any, generator: Generator | None) -> Tensor:
        return self.draw_density(law.law if isinstance(law, Cells) else law, generator)

    def floored(self, log_scale: Tensor) -> Tensor:
        """A scale no smaller than the floor: floor + exp(log_scale)."""
        return self._floor.to(log_scale.dtype) + log_scale.exp()

    def scored(self, fields: Sequence[Field]) -> list[Field]:
        """On a grid by the mass of a cell; with `step` 0 by a density, whatever grid the schema knows of."""
        plain = super().scored(fields)
        steps = torch.as_tensor(self.step, dtype=torch.float64).expand(len(fields)).tolist()
        for field, step in zip(fields, steps, strict=True):
            if step and abs(step - field.step) > 1e-6 * step:
                raise RecipeError(
                    f"{type(self).__name__}: step is {step:g}, but the grid of field {field.name!r} is {field.step:g} "
                    f"in the units of x.\n  Leave step to the schema, or set it to 0 to score a density."
                )
        return [field if step else replace(field, resolution=0.0) for field, step in zip(plain, steps, strict=True)]

    @classmethod
    def arguments(cls, fields: Sequence[Field]) -> dict[str, Any]:
        steps = [field.step for field in fields]
        return {"step": steps[0] if len(set(steps)) == 1 else steps}


def needs_a_line(law: type[Likelihood], field: Field) -> str | None:
    """Why a law of real numbers cannot be that of `field`: its values are names or answers, not places on a line."""
    return f"{law.__name__} needs numbers with an order" if field.kind in ("category", "binary", "ordinal") else None
