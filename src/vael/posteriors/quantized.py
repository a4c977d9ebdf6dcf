"""An encoder whose output is moved to the nearest vectors of a learned codebook."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from vael.distributions.codes import CodePoint, nearest
from vael.errors import RecipeError
from vael.networks.inputs import given_of
from vael.posteriors.coded import CodedPosterior

BEGUN_WITH = 16  # positions that are encoded at the start, for each code


class QuantizedPosterior(CodedPosterior):
    """Each of P positions of e = network(x) becomes the nearest of C codes: vector quantisation.

        z_p = c_k,   k = argmin_j |e_p − c_j|²         ∂z/∂e = I, straight through the choice

    With several stages each quantises what those before it have left, r_s = e − Σ_{i<s} c_i, from a codebook of its
    own. z then holds the stages' codes side by side, and their sum is what has ∂/∂e = I.

    A code follows the mean of what it is chosen for, with memory `decay`; in units of an even share of a batch of M
    positions, for n a code's use and m its sum,

        n ← decay · n + (1 − decay) · C/M · (how often chosen)
        m ← decay · m + (1 − decay) · C/M · (sum of what it was chosen for),     c = m / n from the next step on

    Training moves n, m and c in its forward pass, and no gradient does. A code whose use falls below `revival` of an
    even share takes the place of what its batch quantises worst. `commitment` · Σ |r_s − c_s|² is a penalty of each
    example beside the bound.

    Args:
        network: x `(B, *event)` → `(B, P · W)`, a position's numbers beside each other.
        positions: P.
        codes: C, at least 2. size: W, numbers of a code; z has P · stages · W.
        stages: How many codes a position has.
        commitment: Nats per unit of squared distance, at least 0.
        decay: At least 0, below 1. revival: At least 0, which never revives, and below 1.

    Raises RecipeError for other numbers.
    Source: van den Oord, Vinyals & Kavukcuoglu 2017, eqs. 1–3 and appendix A.1 (arXiv 1711.00937); Zeghidour et al.
        2021, SoundStream, for stages and revival (arXiv 2107.03312).
    """

    joins_examples: ClassVar[bool] = True  # a code moves by all that chose it
    uses: Tensor
    sums: Tensor

    def __init__(
        self, network: nn.Module | None = None, *, positions: int, codes: int = 64, size: int = 2, stages: int = 1,
        commitment: float = 0.25, decay: float = 0.99, revival: float = 0.05,
    ) -> None:  # fmt: skip
        self.positions, self.codes, self.size, self.stages = positions, codes, size, stages
        super().__init__(network)
        self.commitment, self.decay, self.revival = commitment, decay, revival
        if not commitment >= 0:
            raise RecipeError(f"QuantizedPosterior: commitment must be at least 0, got {commitment}.")
        for what, value in (("decay", decay), ("revival", revival)):
            if not 0 <= value < 1:
                raise RecipeError(f"QuantizedPosterior: {what} must be at least 0 and below 1, got {value}.")
        book = torch.randn(stages, codes, size)
        self.register_buffer("codebook", book)
        self.register_buffer("uses", torch.ones(stages, codes))
        self.register_buffer("sums", book.clone())

    def law(self, outputs: Tensor) -> CodePoint:
        if self.training:
            self.move()
        encoded = outputs.unflatten(-1, (self.positions, self.size))
        left, numbers, vectors = encoded, [], []
        cost = torch.zeros_like(outputs[..., 0])
        for stage, book in enumerate(self.codebook.unbind(0)):
            numbers.append(nearest(book, left.detach()))
            vectors.append(book[numbers[-1]])
            if self.training:
                self.learn(stage, left.detach(), numbers[-1], vectors[-1])
            left = left - vectors[-1]
            cost = cost + left.square().sum((-2, -1))
        straight = (encoded - encoded.detach()) / self.stages
        z = torch.stack([vector + straight for vector in vectors], -2)  # (B, P, S, W)
        penalties = {"commitment": self.commitment * cost} if self.commitment else {}
        return CodePoint(self.codebook, torch.stack(numbers, -1).flatten(-2), z.flatten(-3), penalties=penalties)

    @torch.no_grad()
    def move(self) -> None:
        """Put every code where its mean is; one that is never used any more stays where it is."""
        uses = self.uses.unsqueeze(-1)
        used = uses > torch.finfo(uses.dtype).tiny / torch.finfo(uses.dtype).eps
        self.codebook.copy_(torch.where(used, self.sums / torch.where(used, uses, 1.0), self.codebook))

    @torch.no_grad()
    def learn(self, stage: int, seen: Tensor, numbers: Tensor, vectors: Tensor) -> None:
        """Add a batch to the means of a stage's codes, and revive those without use.

        seen `(..., P, W)`: what was quantised; numbers `(..., P)` and vectors: what was chosen for it.
        """
        seen, numbers, vectors = seen.flatten(0, -2), numbers.flatten(), vectors.flatten(0, -2)
        chosen = torch.eye(self.codes, dtype=seen.dtype, device=seen.device)[numbers]  # (M, C)
        new = (1 - self.decay) * self.codes / len(seen)
        uses = self.decay * self.uses[stage] + new * chosen.sum(0)
        sums = self.decay * self.sums[stage] + new * (chosen.T @ seen)
        if self.revival:
            off, worst = (seen - vectors).square().sum(-1).topk(min(self.codes, len(seen)))
            dead = uses < self.revival
            turn = dead.cumsum(0) - 1  # the first dead code takes the worst place, the second the next
            place = turn.clamp(0, len(worst) - 1)
            dead = dead & (turn < len(worst)) & (off[place] > 0)
            uses = torch.where(dead, 1.0, uses)
            sums = torch.where(dead.unsqueeze(-1), seen[worst[place]], sums)
        self.uses[stage].copy_(uses)
        self.sums[stage].copy_(sums)

    @torch.no_grad()
    def begin(self, x: Tensor) -> None:
        """Start every codebook at what there is to quantise, where the encoder sees x alone."""
        if self.network is None or given_of(self.network):
            return
        rows = -(-BEGUN_WITH * self.codes // self.positions)
        left = self.outputs_of(torch.nan_to_num(x[:rows])).unflatten(-1, (self.positions, self.size)).flatten(0, -2)
        for stage, book in enumerate(self.codebook):
            start = left.roll(-stage * self.codes, 0)[: self.codes]
            book[: len(start)].copy_(start)
            left = left - book[nearest(book, left)]
        self.uses.fill_(1.0)
        self.sums.copy_(self.codebook)
