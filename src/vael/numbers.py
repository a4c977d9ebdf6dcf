"""A mean over examples and what it is worth."""

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Number:
    """A mean over examples, in nats per example, and its standard error; None where one example says nothing of it.

    draws: Of z for each example, where that is worth telling.
    """

    value: float
    standard_error: float | None
    draws: int | None = None

    @staticmethod
    def of(values: Tensor, draws: int | None = None) -> "Number":
        """The mean of `values` `(N,)`, one for each example."""
        error = float(values.std() / math.sqrt(len(values))) if len(values) > 1 else None
        return Number(float(values.mean()), error, draws)

    def __neg__(self) -> "Number":
        return Number(-self.value, self.standard_error, self.draws)

    def exceeds(self, bound: float, errors: float = 4.0) -> bool:
        """Whether the value lies above `bound` by more than so many standard errors."""
        return self.value - bound > errors * (self.standard_error or 0.0)

    def __str__(self) -> str:
        error = "" if self.standard_error is None else f" ± {self.standard_error:.2f}"
        return f"{self.value:z.2f}{error}".replace("-", "−")  # z: no −0.00
