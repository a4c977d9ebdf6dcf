"""Zeros and ones, and one-hot choices, with probabilities from an encoder."""

import torch
from torch import Tensor, nn

from vael.distributions.bits import Bits, OneHot
from vael.errors import RecipeError
from vael.posteriors.base import EncodedPosterior


class DiscretePosterior(EncodedPosterior):
    """What posteriors over zeros and ones share: three ways for a gradient to get past a z that jumps.

    Cooling takes the temperature down by the same factor in every step,

        τ = temperature · (cooled / temperature)^progress

    with `progress` the share of training done, which training fills in; see `Engine.schedule`.
    """

    temperature: float | None
    cooled: float | None
    straight_through: bool
    progress: Tensor

    def relax(self, temperature: float | None, cooled: float | None, straight_through: bool, enumerates: bool) -> None:
        """Keep how draws are made in training. Raises RecipeError for a way that contradicts itself."""
        check_relaxation(type(self).__name__, temperature, cooled, straight_through, enumerates)
        self.temperature, self.cooled = temperature, cooled
        self.straight_through, self.enumerates = straight_through, enumerates
        if cooled is not None:
            self.register_buffer("progress", torch.zeros(()), persistent=False)

    @property
    def warmth(self) -> float | Tensor | None:
        """τ of the draws as things stand: None for exact ones, as in evaluation."""
        if not self.training or self.temperature is None or self.cooled is None:
            return self.temperature if self.training else None
        return self.temperature * torch.pow(self.cooled / self.temperature, self.progress)

    @property
    def path(self) -> str:
        """All states where it enumerates, relaxed ones with a temperature, else none; see `Posterior.path`."""
        if self.enumerates:
            return "all"
        return "none" if self.temperature is None else "relaxed"

    def width(self, latent: int) -> int:
        return latent


class BernoulliPosterior(DiscretePosterior):
    """q(z|x) = Π_j σ(l_j)^{z_j} σ(−l_j)^{1 − z_j},    l = network(x)

    Args:
        network: x `(B, *event)` → logits `(B, D)`.
        temperature: None for exact draws, which carry no gradient to the encoder: train with `Score`, `VIMCO` or
            `enumerates`. Else the τ of relaxed draws while training; evaluation always draws exactly.
        cooled: τ at the end of training, where it is not to stay the same; `temperature` is then that of the start.
        straight_through: Exact draws with the gradient of the relaxed ones, while training.
        enumerates: All 2^D states stand in for draws; for at most 16 bits.
        latent: D; the network's outputs where it has them.
    """

    family = Bits

    def __init__(
        self, network: nn.Module | None = None, *, temperature: float | None = None, cooled: float | None = None,
        straight_through: bool = False, enumerates: bool = False, latent: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(network, latent)
        self.relax(temperature, cooled, straight_through, enumerates)

    def needs(self) -> str:
        return "needs a logit for each bit"

    def law(self, outputs: Tensor) -> Bits:
        return Bits(outputs, temperature=self.warmth, straight_through=self.straight_through)


class CategoricalPosterior(DiscretePosterior):
    """q(z|x): `groups` independent one-hot choices of `classes`, logits from network(x).

    Args:
        network: x `(B, *event)` → logits `(B, groups · classes)`.
        classes, groups: C and G; z has G · C numbers.
        temperature, cooled, straight_through, enumerates: As for `BernoulliPosterior`.
    """

    family = OneHot

    def __init__(
        self, network: nn.Module | None = None, *, classes: int, groups: int = 1, temperature: float | None = None,
        cooled: float | None = None, straight_through: bool = False, enumerates: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(network, classes * groups)
        self.classes, self.groups = classes, groups
        self.relax(temperature, cooled, straight_through, enumerates)

    def needs(self) -> str:
        return "needs a logit for each class of each group"

    def law(self, outputs: Tensor) -> OneHot:
        logits = outputs.unflatten(-1, (self.groups, self.classes))
        return OneHot(logits, temperature=self.warmth, straight_through=self.straight_through)


def check_relaxation(
    name: str, temperature: float | None, cooled: float | None, straight_through: bool, enumerates: bool
) -> None:
    """Raise RecipeError for a way of drawing that contradicts itself."""
    for what, value in (("temperature", temperature), ("cooled", cooled)):
        if value is not None and not (isinstance(value, int | float) and value > 0):
            raise RecipeError(f"{name}: {what} must be a number above 0, got {value!r}.")
    if cooled is not None and temperature is None:
        raise RecipeError(f"{name}: cooled is where a temperature ends; give the temperature that it starts at.")
    if straight_through and temperature is None:
        raise RecipeError(f"{name}: straight_through passes on the gradient of relaxed draws; give their temperature.")
    if enumerates and temperature is not None:
        raise RecipeError(f"{name}: enumerates takes every state and draws none; leave out the temperature.")
