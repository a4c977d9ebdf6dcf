"""Zeros and ones, and one-hot choices, as laws of a latent."""

from typing import Any, ClassVar

import torch
from torch import Size, Tensor
from torch.distributions import Distribution
from torch.nn.functional import logsigmoid
from torch.types import _size

from vael.distributions.cells import log_normal_cdf
from vael.distributions.kl import closed_unit_kl
from vael.errors import RecipeError

MOST_STATES = 2**16  # states that are ever enumerated


def logistic_noise(eps: Tensor) -> Tensor:
    """Standard normal `eps` as standard logistic noise: logit Φ(eps), exact in both tails."""
    noise: Tensor = log_normal_cdf(eps) - log_normal_cdf(-eps)
    return noise


def gumbel_noise(eps: Tensor) -> Tensor:
    """Standard normal `eps` as standard Gumbel noise: −log(−log Φ(eps))."""
    return -torch.log(-log_normal_cdf(eps))


class Bits(Distribution):
    """Independent zeros and ones over the last axis: P(z_j = 1) = σ(logit_j).

    Args:
        logits: Shape `(..., D)`.
        temperature: None for exact draws. Else `from_noise` gives relaxed ones, σ((logit + logistic noise) / τ), whose
            gradient reaches the logits and is that of the discrete bound only as τ → 0.
        straight_through: Exact draws that pass on the gradient of the relaxed ones.

    `log_prob` is that of the exact law, linear in z between 0 and 1.
    Source: Maddison, Mnih & Teh 2017, appendix B (arXiv 1611.00712).
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 — torch's own declaration of it
    discrete: ClassVar[bool] = True

    def __init__(
        self, logits: Tensor, *, temperature: float | Tensor | None = None, straight_through: bool = False
    ) -> None:
        self.logits, self.temperature, self.straight_through = logits, temperature, straight_through
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return torch.sigmoid(self.logits)

    @property
    def variance(self) -> Tensor:
        return torch.sigmoid(self.logits) * torch.sigmoid(-self.logits)

    def from_noise(self, eps: Tensor) -> Tensor:
        """z `(K, ..., D)` from standard normal `eps` of that shape."""
        pushed = self.logits + logistic_noise(eps)
        hard = (pushed > 0).to(pushed.dtype)
        if self.temperature is None:
            return hard
        soft = torch.sigmoid(pushed / self.temperature)
        return hard + (soft - soft.detach()) if self.straight_through else soft

    def log_prob(self, value: Tensor) -> Tensor:
        """Σ_j z_j log σ(l_j) + (1 − z_j) log σ(−l_j), nats, `(K, ...)`."""
        return (value * logsigmoid(self.logits) + (1 - value) * logsigmoid(-self.logits)).sum(-1)

    def entropy(self) -> Tensor:
        """−E log p(z) in nats, shape of the batch."""
        return -self.log_prob(self.mean)

    @property
    def states(self) -> int:
        """How many states there are: 2^D."""
        return int(2 ** self.event_shape[0])

    def every(self) -> Tensor:
        """All 2^D states, `(2^D, 1, D)`: state k holds the binary digits of k, lowest first.

        Raises RecipeError for more than 16 bits.
        """
        bits = self.event_shape[0]
        if self.states > MOST_STATES:
            raise RecipeError(f"{bits} bits have 2^{bits} states, too many to enumerate; at most 16 bits can be.")
        where = self.logits.device
        places = torch.arange(self.states, device=where)[:, None] >> torch.arange(bits, device=where)
        return (places & 1).to(self.logits.dtype).unsqueeze(1)

    def rsample(self, sample_shape: _size = Size()) -> Tensor:  # noqa: B008 — torch's signature
        like = self.logits
        return self.from_noise(torch.randn(Size(sample_shape) + like.shape, dtype=like.dtype, device=like.device))


class OneHot(Distribution):
    """Independent choices of one of C classes, each as a one-hot row, side by side over the last axis.

        P(group g = class c) = softmax(logits_g)_c

    Args:
        logits: Shape `(..., G, C)`; a draw has shape `(..., G · C)`.
        temperature, straight_through: As for `Bits`, with softmax((logits + Gumbel noise) / τ).

    Source: Jang, Gu & Poole 2017 (arXiv 1611.01144).
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012
    discrete: ClassVar[bool] = True

    def __init__(
        self, logits: Tensor, *, temperature: float | Tensor | None = None, straight_through: bool = False
    ) -> None:
        self.logits, self.temperature, self.straight_through = logits, temperature, straight_through
        self.groups, self.classes = logits.shape[-2:]
        super().__init__(logits.shape[:-2], Size((self.groups * self.classes,)), validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.logits.softmax(-1).flatten(-2)

    @property
    def variance(self) -> Tensor:
        return self.mean * (1 - self.mean)

    def from_noise(self, eps: Tensor) -> Tensor:
        """z `(K, ..., G · C)` from standard normal `eps` of that shape."""
        pushed = self.logits + gumbel_noise(eps.unflatten(-1, (self.groups, self.classes)))
        hard = torch.eye(self.classes, dtype=pushed.dtype, device=pushed.device)[pushed.argmax(-1)]
        if self.temperature is None:
            return hard.flatten(-2)
        soft = torch.softmax(pushed / self.temperature, -1)
        return (hard + (soft - soft.detach()) if self.straight_through else soft).flatten(-2)

    def log_prob(self, value: Tensor) -> Tensor:
        """Σ over groups of z · log softmax(logits), nats, `(K, ...)`."""
        return (value * self.logits.log_softmax(-1).flatten(-2)).sum(-1)

    def entropy(self) -> Tensor:
        """−E log p(z) in nats, shape of the batch."""
        return -self.log_prob(self.mean)

    @property
    def states(self) -> int:
        """How many states there are: C^G."""
        return int(self.classes**self.groups)

    def every(self) -> Tensor:
        """All C^G states, `(C^G, 1, G · C)`. Raises RecipeError for more than 65 536."""
        if self.states > MOST_STATES:
            raise RecipeError(
                f"{self.groups} choices of {self.classes} have {self.states} states, too many to enumerate."
            )
        state = torch.arange(self.states, device=self.logits.device)
        chosen = [(state // self.classes**group) % self.classes for group in range(self.groups)]
        rows = torch.eye(self.classes, dtype=self.logits.dtype, device=state.device)[torch.stack(chosen, -1)]
        return rows.flatten(-2).unsqueeze(1)

    def rsample(self, sample_shape: _size = Size()) -> Tensor:  # noqa: B008
        shape = Size(sample_shape) + self.batch_shape + self.event_shape
        return self.from_noise(torch.randn(shape, dtype=self.logits.dtype, device=self.logits.device))


@closed_unit_kl(Bits, Bits)
def _bits_to_bits(q: Bits, p: Bits) -> Tensor:
    """π log(π/ρ) + (1 − π) log((1 − π)/(1 − ρ)) of each bit."""
    on = q.mean
    one = logsigmoid(q.logits) - logsigmoid(p.logits)
    zero = logsigmoid(-q.logits) - logsigmoid(-p.logits)
    return on * one + (1 - on) * zero


@closed_unit_kl(OneHot, OneHot)
def _one_hot_to_one_hot(q: OneHot, p: OneHot) -> Tensor:
    """Σ_c π_c log(π_c/ρ_c) of each group, `(..., G)`."""
    ratio = q.logits.log_softmax(-1) - p.logits.log_softmax(-1)
    return (q.logits.softmax(-1) * ratio).sum(-1)
