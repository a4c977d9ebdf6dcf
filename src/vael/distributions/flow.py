"""A simple law pushed through invertible maps."""

from copy import copy
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution
from torch.types import _size

from vael.distributions.drawn import drawn_moments
from vael.distributions.steps import Step


class Flow(Distribution):
    """The law of z = T(u), u ~ base, T a chain of invertible steps.

        log p(z) = log base(u) − log |det ∂T(u)/∂u|,    u = T⁻¹(z)

    The density of its own last draws is known from drawing them; of any other z it takes T's inverse.

    Args:
        base: The law of u, with `from_noise`; batch shape `()` or `(B,)`, event shape `(D,)`.
        steps: T.

    Source: Rezende & Mohamed 2015, Variational inference with normalizing flows (arXiv 1505.05770), eq. 5–7.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 — torch's own declaration of it

    def __init__(self, base: Any, steps: Step) -> None:
        self.base, self.steps = base, steps
        self.drawn: Tensor | None = None
        self.drawn_log_prob: Tensor | None = None
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    def from_noise(self, eps: Tensor) -> Tensor:
        """T(base's draw), differentiable in all parameters; log p of it is remembered."""
        u = self.base.from_noise(eps)
        z, log_det = self.steps.forward(u)
        self.drawn, self.drawn_log_prob = z, self.base.log_prob(u) - log_det
        return z

    def log_prob(self, value: Tensor) -> Tensor:
        if value is self.drawn and self.drawn_log_prob is not None:
            return self.drawn_log_prob
        u, log_det = self.steps.backward(value)
        log_p: Tensor = self.base.log_prob(u) + log_det
        return log_p

    def still(self) -> "Flow":
        """The same law, no parameter of which carries a gradient.

        It remembers no draws: log p of them is a function of z alone then, by the inverse.
        """
        base = copy(self.base)
        for name, value in vars(self.base).items():
            if isinstance(value, Tensor):
                setattr(base, name, value.detach())
        return Flow(base, self.steps.still())

    @property
    def mean(self) -> Tensor:
        """E[z], estimated: see `drawn_moments`."""
        return drawn_moments(self, self._like())[0]

    @property
    def variance(self) -> Tensor:
        """Var[z] of each component, estimated: see `drawn_moments`."""
        return drawn_moments(self, self._like())[1]

    def _like(self) -> Tensor:
        like: Tensor = self.steps.like()
        return like

    def rsample(self, sample_shape: _size = Size()) -> Tensor:  # noqa: B008 — torch's signature
        shape = Size(sample_shape) + self.batch_shape + self.event_shape
        return self.from_noise(torch.randn(shape, dtype=self._like().dtype, device=self._like().device))
