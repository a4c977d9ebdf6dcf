"""Several laws, each told the draws of those before it, as one."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from vael.distributions.bits import OneHot
from vael.distributions.kl import closed_unit_kl, find_kl, find_unit_kl
from vael.errors import RecipeError

Level = Callable[[Tensor | None], Any]  # draws of the levels above `(..., B, parents)`, None for the first → its law

CERTAIN = 1e4  # nats between a class that is known and any other: its probability is one to the last digit


class Chained(Distribution):
    """p(z) = Π_l p_l(z_l | z_1 … z_{l−1}), the levels side by side in z `(..., D_1 + … + D_L)`.

    Args:
        levels: For each level, the draws above → its law, of event shape `(D_l,)`.
        sizes: D_l.
        still: The same chain with every parameter held still, called when asked for; None where it has none.
        summed: Whether the first level, a law with `every()`, is summed over instead of drawn; see `weighed`.
        penalties: Named costs `(B,)` of whoever made the law.

    What `from_noise` or `weighed` drew is remembered, and costs nothing to score.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(
        self, levels: Sequence[Level], sizes: Sequence[int], *, still: "Callable[[], Chained] | None" = None,
        summed: bool = False, penalties: dict[str, Tensor] | None = None,
    ) -> None:  # fmt: skip
        self.levels, self.sizes, self.frozen, self.summed = list(levels), list(sizes), still, summed
        self.penalties = penalties or {}
        self.first = self.levels[0](None)
        self.drawn: tuple[Tensor, list[Any]] | None = None
        super().__init__(self.first.batch_shape, Size((sum(sizes),)), validate_args=False)

    def law(self, level: int, parents: Tensor | None) -> Any:
        """The law of a level below those draws."""
        return self.first if level == 0 else self.levels[level](parents)

    def from_noise(self, eps: Tensor) -> Tensor:
        """A draw from standard normals `(..., D)`, level by level."""
        laws: list[Any] = []
        z: Tensor | None = None
        for level, noise in enumerate(eps.split(self.sizes, -1)):
            laws.append(self.law(level, z))
            piece = laws[-1].from_noise(noise)
            z = piece if z is None else torch.cat([z, piece], -1)
        assert z is not None
        self.drawn = (z, laws)
        return z

    def weighed(self, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Each state of the first level with a draw of the others: z `(K · S, B, D)` and log-weights `(K · S, B)`.

        eps: `(K, B, D)`, of which the first level's part is not looked at. Weights: log q(state) − log K, so that a
        weighted mean is a sum over the states and a mean over draws; their order is draw by draw.
        """
        states = self.first.every()  # (S, 1, D_1)
        count, draws, batch = len(states), len(eps), eps.shape[1]
        top = states.expand(count, batch, -1)
        weight = self.first.log_prob(top) - math.log(draws)  # (S, B)
        laws, z = [self.first], top
        for level, noise in enumerate(eps.split(self.sizes, -1)[1:], start=1):
            laws.append(self.law(level, z))
            piece = laws[-1].from_noise(noise.unsqueeze(1).expand(-1, count, -1, -1))  # (K, S, B, D_l)
            z = torch.cat([z.expand(*piece.shape[:-1], z.shape[-1]), piece], -1)
        if z.dim() == 3:  # nothing is below the first level
            z = z.expand(draws, *z.shape)
        self.drawn = (z.flatten(0, 1), laws)
        return self.drawn[0], weight.expand(draws, -1, -1).flatten(0, 1)

    def laws_at(self, z: Tensor) -> list[Any]:
        """Each level's law below the draws z `(..., D)`."""
        if self.drawn is not None and self.drawn[0] is z:
            return self.drawn[1]
        ends = [sum(self.sizes[:level]) for level in range(len(self.sizes))]
        return [self.law(level, z[..., :end] if level else None) for level, end in enumerate(ends)]

    def log_probs(self, z: Tensor) -> list[Tensor]:
        """log p_l(z_l | z_<l) of every level, nats, each of the leading axes of z `(..., D)` and the batch's."""
        found = [law.log_prob(piece) for law, piece in zip(self.laws_at(z), self.split(z), strict=True)]
        apart = self.summed and self.drawn is not None and self.drawn[0] is z
        return [log_p.expand(*found[-1].shape).reshape(z.shape[:-1]) for log_p in found] if apart else found

    def split(self, z: Tensor) -> list[Tensor]:
        """The levels' parts of z; of a summed chain's own draws with the axis of its states, `(K, S, B, D_l)`."""
        pieces = z.split(self.sizes, -1)
        if self.summed and self.drawn is not None and self.drawn[0] is z:
            states = len(self.first.every())
            return [piece.unflatten(0, (-1, states)) for piece in pieces]
        return list(pieces)

    def log_prob(self, value: Tensor) -> Tensor:
        total = torch.zeros((), dtype=value.dtype, device=value.device)
        for log_p in self.log_probs(value):
            total = total + log_p
        return total

    def still(self) -> "Chained":
        """The same law with parameters that carry no gradient; draws handed to it still do."""
        if self.frozen is None:
            raise RecipeError(
                "Chained: its maker gave no way to hold its parameters still, which this gradient needs.\n"
                "  Use objective elbo."
            )
        return self.frozen()

    @property
    def mean(self) -> Tensor:
        """Each level's mean below the means of those above: a picture of the middle, and not E[z]."""
        return torch.cat([law.mean for law in self._middle()], -1)

    @property
    def variance(self) -> Tensor:
        """Each level's variance below the means of those above."""
        return torch.cat([law.variance for law in self._middle()], -1)

    def _middle(self) -> list[Any]:
        laws: list[Any] = []
        z: Tensor | None = None
        for level in range(len(self.levels)):
            laws.append(self.law(level, z))
            z = laws[-1].mean if z is None else torch.cat([z, laws[-1].mean], -1)
        return laws


@closed_unit_kl(Chained, Chained)
def _level_by_level(q: Chained, p: Chained) -> Tensor:
    """KL of each unit, or each level as one, below q's own draws, `(K, B, G)`: the mean over draws is the rate.

    Where a level's pair has no closed form it is log q − log p of its draw.
    """
    if q.drawn is None or q.sizes != p.sizes:
        raise ValueError("Chained: a rate is that of draws; call from_noise first, and give both the same levels.")
    z = q.drawn[0]
    shape, found = z.shape[:-1], []
    states = len(q.first.every()) if q.summed else 1
    for mine, theirs, piece, flat in zip(q.laws_at(z), p.laws_at(z), q.split(z), p.split(z), strict=True):
        unit = find_unit_kl(type(mine), type(theirs))
        whole = find_kl(type(mine), type(theirs))
        if unit is None and whole is None:
            rate = (mine.log_prob(piece).reshape(shape) - theirs.log_prob(flat).reshape(shape)).unsqueeze(-1)
        else:
            # A law below K draws of S states is told them as (K · S, B) by p, and as (K, S, B) or (S, B) by q.
            theirs = _with_states(theirs, states)
            rate = unit(mine, theirs) if unit is not None else whole(mine, theirs).unsqueeze(-1)  # type: ignore[misc]
            rate = rate.expand(*torch.broadcast_shapes(rate.shape[:-1], _apart(shape, states)), rate.shape[-1])
            rate = rate.reshape(*shape, rate.shape[-1])
        found.append(rate)
    return torch.cat(found, -1)


def _apart(shape: Size, states: int) -> tuple[int, ...]:
    """(K · S, B) as (K, S, B)."""
    return tuple(shape) if states == 1 else (shape[0] // states, states, *shape[1:])


def _with_states(law: Any, states: int) -> Any:
    """A law of batch shape (K · S, B) seen as one of (K, S, B); one that depends on no draws as it is."""
    if states == 1 or len(law.batch_shape) < 2:
        return law
    other = object.__new__(type(law))
    for name, value in vars(law).items():
        apart = isinstance(value, Tensor) and value.shape[: len(law.batch_shape)] == law.batch_shape
        setattr(other, name, value.unflatten(0, (-1, states)) if apart else value)
    return other


def known(law: OneHot, label: Tensor) -> OneHot:
    """One choice of C classes where `label` `(B,)` tells it, and the law's own chances where it is below 0."""
    classes = torch.eye(law.classes, dtype=law.logits.dtype, device=law.logits.device)[label.clamp(min=0)]
    told = CERTAIN * (classes - 1).unsqueeze(-2)  # (B, 1, C)
    logits = torch.where((label >= 0)[:, None, None], told, law.logits)
    return OneHot(logits, temperature=law.temperature, straight_through=law.straight_through)


def above_and_given(parents: Tensor | None, given: Tensor | None) -> Tensor | None:
    """The latents above `(..., P)` and what the model is given `(B, C)`, side by side; None where there is neither."""
    if parents is None or given is None:
        return given if parents is None else parents
    return beside(parents, given)


def beside(z: Tensor, given: Tensor) -> Tensor:
    """z `(..., B, D)` and what is given, `(B, C)` or more axes, side by side: `(..., B, D + C)`."""
    leading = torch.broadcast_shapes(z.shape[:-1], given.shape[:-1])
    told = given.to(z.dtype)
    return torch.cat([z.expand(*leading, z.shape[-1]), told.expand(*leading, told.shape[-1])], -1)
