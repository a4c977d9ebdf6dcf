"""What a model is shown in one step."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B examples and what is known about them; only `x` is always there.

    x: `(B, *event)`, in the model's own units (see the schema's views); any value where unobserved.
    observed: `(B, F)` booleans over the F flattened features of x, False where a value is missing; None if none is.
    given: `(B, C)` what p(x | given) is conditioned on; None for an unconditional model.
    label: `(B,)` codes, −1 where unknown; None where there are no labels.
    index: `(B,)` row of each example in its source.
    seen: What the encoder sees in the place of x, such as x with noise on it, `(B, *event)`; None where it is x.
    """

    x: Tensor
    observed: Tensor | None = None
    given: Tensor | None = None
    label: Tensor | None = None
    index: Tensor | None = None
    seen: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)
