"""Several laws of one family, of which a draw comes from one."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution
from torch.types import _size

from vael.distributions.choice import choose

AT_ONCE = 2**25  # numbers that one call of the components' log_prob makes of z


class Mixture(Distribution):
    """Σ_c w_c q_c(z), for laws that are read off C rows of numbers, w = softmax(logits).

    Args:
        outputs: The rows, `(C, W)`.
        law: Rows `(..., W)` → a distribution of batch shape `(...)` with `log_prob` and `from_noise`.
        logits: Log of the weights up to a constant, `(C,)`.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 — torch's own declaration of it

    def __init__(self, outputs: Tensor, law: Callable[[Tensor], Any], logits: Tensor) -> None:
        self.outputs, self.law, self.log_weights = outputs, law, logits.log_softmax(-1)
        self.components = law(outputs)
        super().__init__(Size(), self.components.event_shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Σ_c w_c E_c[z]."""
        mean: Tensor = self.log_weights.exp() @ self.components.mean
        return mean

    @property
    def variance(self) -> Tensor:
        """Σ_c w_c (Var_c[z] + (E_c[z] − mean)²), of each component of z."""
        spread = self.components.variance + (self.components.mean - self.mean).square()
        variance: Tensor = self.log_weights.exp() @ spread
        return variance

    def log_prob(self, value: Tensor) -> Tensor:
        """log Σ_c w_c q_c(z), by parts where C times as many numbers as z has are too many to hold at once."""
        flat = value.reshape(-1, 1, value.shape[-1])
        size = max(1, AT_ONCE // (len(self.outputs) * value.shape[-1]))
        parts = [(self.components.log_prob(part) + self.log_weights).logsumexp(-1) for part in flat.split(size)]
        return torch.cat(parts).reshape(value.shape[:-1])

    def from_noise(self, eps: Tensor) -> Tensor:
        """z from standard normals `(K, ..., D)`; the first of each chooses, see `choose`, and is a normal again."""
        number, rest = choose(eps[..., 0], self.log_weights)
        fresh = torch.cat([rest.unsqueeze(-1), eps[..., 1:]], -1)
        z: Tensor = self.law(self.outputs[number]).from_noise(fresh)
        return z

    def rsample(self, sample_shape: _size = Size()) -> Tensor:  # noqa: B008 — torch's signature
        shape = Size(sample_shape) + self.event_shape
        return self.from_noise(torch.randn(shape, dtype=self.outputs.dtype, device=self.outputs.device))
