"""A law with mass on listed states alone."""

from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution
from torch.special import ndtr
from torch.types import _size


class Listed(Distribution):
    """P(z = state s) = softmax(logits)_s over S listed states, each a vector of D numbers.

    Args:
        states: The states, all different, `(S, 1, D)`, or `(S, B, D)` where each of B examples has its own.
        logits: Log of their weights up to a constant, `(S, B)`; for weights log p(x, z) that constant is log p(x).
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 — torch's own declaration of it

    def __init__(self, states: Tensor, logits: Tensor) -> None:
        self.states, self.log_weights = states, logits.log_softmax(0)
        super().__init__(logits.shape[1:], states.shape[-1:], validate_args=False)

    def every(self) -> Tensor:
        """The states, `(S, 1 or B, D)`."""
        return self.states

    @property
    def mean(self) -> Tensor:
        return self._average(self.states)

    @property
    def covariance(self) -> Tensor:
        """Σ_s P(s) z_s z_sᵀ − mean meanᵀ, `(B, D, D)`."""
        squares = self.states.unsqueeze(-1) * self.states.unsqueeze(-2)
        second: Tensor = self._average(squares.flatten(-2)).unflatten(-1, squares.shape[-2:])
        return second - self.mean.unsqueeze(-1) * self.mean.unsqueeze(-2)

    def _average(self, values: Tensor) -> Tensor:
        """Σ_s P(s) values_s, `(B, V)`, for values `(S, 1 or B, V)` of the states."""
        weights = self.log_weights.exp()
        if values.shape[1] == 1:  # one product of matrices, not S of vectors
            return weights.mT @ values[:, 0]
        mean: Tensor = (weights.unsqueeze(-1) * values).sum(0)
        return mean

    @property
    def variance(self) -> Tensor:
        return self.covariance.diagonal(dim1=-2, dim2=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """log P(z) in nats, `(K, B)` for z `(K, B or 1, D)`; −∞ for what is no listed state."""
        if value.shape == self.states.shape and torch.equal(value, self.states):
            return self.log_weights
        hit = (value.unsqueeze(0) == self.states.unsqueeze(1)).all(-1)  # (S, K, B)
        return torch.where(hit, self.log_weights.unsqueeze(1), -torch.inf).logsumexp(0)

    def entropy(self) -> Tensor:
        """−E log P(z) in nats, `(B,)`."""
        return -(self.log_weights.exp() * self.log_weights).sum(0)

    def from_noise(self, eps: Tensor) -> Tensor:
        """z `(K, B, D)` from standard normal `eps` of that shape: its first number says which state, by Φ."""
        upto = self.log_weights.exp().cumsum(0)[:-1]  # (S − 1, B)
        number = (ndtr(eps[..., 0]).unsqueeze(0) > upto.unsqueeze(1)).sum(0)  # (K, B)
        if self.states.shape[1] == 1:
            return self.states[:, 0][number]
        return self.states[number, torch.arange(number.shape[-1], device=number.device)]

    def rsample(self, sample_shape: _size = Size()) -> Tensor:  # noqa: B008 — torch's signature
        shape = Size(sample_shape) + self.batch_shape + self.event_shape
        return self.from_noise(torch.randn(shape, dtype=self.log_weights.dtype, device=self.log_weights.device))
