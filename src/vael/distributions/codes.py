"""Codes: vectors of a codebook, side by side, as states of a latent."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Size, Tensor
from torch.distributions import Distribution
from torch.types import _size

from vael.distributions.bits import MOST_STATES
from vael.distributions.choice import choose
from vael.distributions.drawn import drawn_moments
from vael.distributions.kl import closed_unit_kl
from vael.errors import RecipeError

Conditionals = Callable[[Tensor], Tensor]


class Codes(Distribution):
    """A law over T places in z, each of which holds one of C code vectors of W numbers.

    Args:
        codebook: The code vectors, all different, `(S, C, W)`; place t takes its code from book t mod S.
        places: T; z has T · W numbers.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 — torch's own declaration of it
    discrete: ClassVar[bool] = True

    def __init__(self, codebook: Tensor, places: int, batch_shape: Size | tuple[()] = ()) -> None:
        self.codebook, self.places = codebook, places
        super().__init__(Size(batch_shape), Size((places * codebook.shape[-1],)), validate_args=False)

    @property
    def codes(self) -> int:
        """C, how many codes a place can hold."""
        return self.codebook.shape[1]

    @property
    def books(self) -> Tensor:
        """The codebook of each place, `(T, C, W)`."""
        stages = len(self.codebook)
        return self.codebook[torch.arange(self.places, device=self.codebook.device) % stages]

    def numbers_of(self, value: Tensor) -> Tensor:
        """The number of the code that is nearest in each place of z `(..., T · W)`: `(..., T)`, 0 … C − 1."""
        pieces = value.detach().unflatten(-1, (self.places, -1)).unbind(-2)
        return torch.stack([nearest(book, piece) for book, piece in zip(self.books, pieces, strict=True)], -1)

    def vectors_of(self, numbers: Tensor) -> Tensor:
        """z `(..., T · W)` of code numbers `(..., T)`."""
        pieces = [book[number] for book, number in zip(self.books, numbers.unbind(-1), strict=True)]
        return torch.cat(pieces, -1)

    @property
    def states(self) -> int:
        """How many states there are: C^T."""
        return int(self.codes**self.places)

    def every(self) -> Tensor:
        """All C^T states, `(C^T, 1, T · W)`, the first place running fastest. Raises RecipeError for above 65 536."""
        if self.states > MOST_STATES:
            raise RecipeError(f"{self.places} places for {self.codes} codes have too many states to enumerate.")
        state = torch.arange(self.states, device=self.codebook.device)
        numbers = [(state // self.codes**place) % self.codes for place in range(self.places)]
        return self.vectors_of(torch.stack(numbers, -1)).unsqueeze(1)


class CodePoint(Codes):
    """One code in each place, for certain: log q of it is 0, and −∞ of anything else.

    Args:
        codebook: `(S, C, W)`. numbers: Of the codes, `(..., T)`.
        z: Their vectors, which may carry a gradient that goes straight through the choice, `(..., T · W)`.
        penalties: Named costs `(...)` of whoever made the law.
    """

    def __init__(
        self, codebook: Tensor, numbers: Tensor, z: Tensor, *, penalties: dict[str, Tensor] | None = None
    ) -> None:
        super().__init__(codebook, numbers.shape[-1], numbers.shape[:-1])
        self.numbers, self.z, self.penalties = numbers, z, penalties or {}

    @property
    def mean(self) -> Tensor:
        return self.z

    @property
    def variance(self) -> Tensor:
        return torch.zeros_like(self.z)

    def from_noise(self, eps: Tensor) -> Tensor:
        """The code vectors, whatever the noise `(K, ..., T · W)`, as many times as there is noise."""
        return self.z.expand(eps.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        same = (value == self.z).all(-1)
        return torch.where(same, 0.0, -torch.inf).to(self.z.dtype)

    def entropy(self) -> Tensor:
        return torch.zeros_like(self.z[..., 0])


class CodeSequence(Codes):
    """P(codes) = Π_t P(code_t | code_1 … code_{t−1}), with probabilities that a function of the codes gives.

    Args:
        codebook: `(S, C, W)`. places: T.
        conditionals: Zeros with a one for each place `(..., T, C)` → logits `(..., T, C)`, row t blind to place t and
            what follows. in_turn: Whether it looks at any place at all.
    """

    def __init__(self, codebook: Tensor, places: int, conditionals: Conditionals, *, in_turn: bool = True) -> None:
        super().__init__(codebook, places)
        self.conditionals, self.in_turn = conditionals, in_turn

    def log_probs_of(self, numbers: Tensor) -> Tensor:
        """log P(code_t | those before it) of each place, nats, `(..., T)`, for code numbers `(..., T)`."""
        ones = torch.eye(self.codes, dtype=self.codebook.dtype, device=numbers.device)[numbers]
        return (self.conditionals(ones).log_softmax(-1) * ones).sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.log_probs_of(self.numbers_of(value)).sum(-1)

    def from_noise(self, eps: Tensor) -> Tensor:
        """z from standard normals `(K, ..., T · W)`: the first of a place's W numbers chooses its code, by Φ.

        One pass through the conditionals for each place, or one for all where they are independent.
        """
        first = eps.unflatten(-1, (self.places, -1))[..., 0]  # (K, ..., T)
        ones = torch.zeros((*first.shape, self.codes), dtype=eps.dtype, device=eps.device)
        if not self.in_turn:
            return self.vectors_of(choose(first, self.conditionals(ones).log_softmax(-1))[0])
        eye = torch.eye(self.codes, dtype=eps.dtype, device=eps.device)
        numbers: list[Tensor] = []
        for place in range(self.places):
            logits = self.conditionals(ones)[..., place, :]
            numbers.append(choose(first[..., place], logits.log_softmax(-1))[0])
            ones = torch.cat([ones[..., :place, :], eye[numbers[-1]].unsqueeze(-2), ones[..., place + 1 :, :]], -2)
        return self.vectors_of(torch.stack(numbers, -1))

    @property
    def mean(self) -> Tensor:
        """E[z], estimated where codes depend on each other: see `drawn_moments`."""
        return self._moments()[0]

    @property
    def variance(self) -> Tensor:
        """Var[z] of each number, as its mean."""
        return self._moments()[1]

    def _moments(self) -> tuple[Tensor, Tensor]:
        if self.in_turn:
            return drawn_moments(self, self.codebook)
        nothing = torch.zeros((self.places, self.codes), dtype=self.codebook.dtype, device=self.codebook.device)
        chances = self.conditionals(nothing).softmax(-1).unsqueeze(-1)  # (T, C, 1)
        mean = (chances * self.books).sum(-2)
        spread = (chances * (self.books - mean.unsqueeze(-2)).square()).sum(-2)
        return mean.flatten(), spread.flatten()

    def rsample(self, sample_shape: _size = Size()) -> Tensor:  # noqa: B008 — torch's signature
        like = self.codebook
        return self.from_noise(torch.randn(Size(sample_shape) + self.event_shape, dtype=like.dtype, device=like.device))


def nearest(book: Tensor, value: Tensor) -> Tensor:
    """The number of the vector of `book` `(C, W)` that is nearest to each of value `(..., W)`: `(...)`.

    By differences, not by products, so that a vector of the book is at distance zero from itself, to the bit.
    """
    flat = value.reshape(-1, value.shape[-1])
    with torch.no_grad():
        distance = torch.cdist(flat, book, compute_mode="donot_use_mm_for_euclid_dist")
        return distance.argmin(-1).reshape(value.shape[:-1])


@closed_unit_kl(Codes, Codes)
def _of_each_place(q: CodePoint, p: CodeSequence) -> Tensor:
    """−log P(code_t | those before it) of each place: all the mass of q is on one code."""
    return -p.log_probs_of(q.numbers)
