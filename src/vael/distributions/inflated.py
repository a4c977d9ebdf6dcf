"""A law with extra probability at one value."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn.functional import logsigmoid


class Inflated(Distribution):
    """With probability π the value is `atom`, otherwise it comes from `law`.

        P(x) = π [x = atom] + (1 − π) p_law(x),    π = σ(logits)

    Where `law` gives a mass, the atom keeps its share of it; where it gives a density, the atom is a mass beside it
    and p is a density with respect to the Lebesgue measure plus a point mass at the atom.

    Args:
        law: Batch shape `(..., *event)`.
        logits: Log odds of the atom, same shape.
        atom: The value, broadcastable, in the type of x; it is recognised by equality.
        massive: Booleans, broadcastable: where `law.log_prob` is the log of a mass.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, law: Distribution, logits: Tensor, atom: Tensor, massive: Tensor) -> None:
        self.law, self.logits, self.atom, self.massive = law, logits, atom, massive
        super().__init__(law.batch_shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        share = torch.sigmoid(self.logits)
        return share * self.atom + (1 - share) * self.law.mean

    def log_prob(self, value: Tensor) -> Tensor:
        at_atom = value == self.atom.to(value.dtype)
        # Off the grid a density at the atom may be infinite and is not asked for: look at an inner point instead.
        asked = torch.where(at_atom & ~self.massive, torch.full_like(value, 0.5), value)
        outside: Tensor = logsigmoid(-self.logits) + self.law.log_prob(asked)
        inside = logsigmoid(self.logits)
        there = torch.where(self.massive, torch.logaddexp(inside, outside), inside)
        return torch.where(at_atom, there, outside)
