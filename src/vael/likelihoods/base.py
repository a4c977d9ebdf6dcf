"""p(x|z) as a module: a decoder network, and the law its output parametrises."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.distributions import Distribution

from vael.data.schema import Field, Kind, View
from vael.distributions.chained import beside
from vael.errors import RecipeError, ShapeError

PIECE = 2**19  # numbers decoded at once where no gradient is wanted: 2 MiB in float32, which stay near the core
DEVICE_PIECE = 2**26  # the same elsewhere than on a CPU: 256 MiB, many times what a launch costs


class Likelihood(nn.Module, ABC):
    """p(x|z): features independent given z, each with the same law; `Mixed` joins different ones.

        log p(x|z) = Σ_f log p(x_f | parameters_f(z))

    The decoder network's output holds `parameters_per_feature` numbers for each feature, side by side along its
    first event axis: `(..., P · F)`, or `(..., P · C, H, W)` for a convolutional decoder. The likelihood turns those
    real numbers into what its law needs; the network's output is never squashed by hand.

    Args:
        network: z `(..., D)` → real parameters. None for a member of a `Mixed` likelihood, which has one for all.
        event_shape: Shape of one x; taken from `network.outputs` where the network has it.
    """

    parameters_per_feature: ClassVar[int] = 1
    view: ClassVar[View] = "whole"
    candidate_for: ClassVar[tuple[Kind, ...]] = ()  # the kinds of field for which `--likelihood auto` tries this law

    def __init__(self, network: nn.Module | None = None, event_shape: int | Sequence[int] | None = None) -> None:
        super().__init__()
        self.network = network
        self.event_shape = self._event_shape(network, event_shape)

    def _event_shape(self, network: nn.Module | None, stated: int | Sequence[int] | None) -> tuple[int, ...]:
        name, each = type(self).__name__, self.width()
        if stated is not None:
            return (stated,) if isinstance(stated, int) else tuple(stated)
        outputs = getattr(network, "outputs", None)
        if outputs is None:
            raise RecipeError(f"{name}: the network does not say its `outputs`; give event_shape, the shape of one x.")
        first, *others = (outputs,) if isinstance(outputs, int) else outputs
        if first % each:
            raise ShapeError(
                f"{name}: takes {each} parameters per feature, got a network with outputs {outputs}.\n"
                f"  Give it {each} × as many outputs as x has features."
            )
        return (first // each, *others)

    def width(self) -> int:
        """How many network outputs each feature takes."""
        return self.parameters_per_feature

    def decoder_outputs(self, event_shape: Sequence[int]) -> int | list[int]:
        """`outputs` of a decoder network for x of `event_shape`: P times its first axis."""
        first, *others = event_shape
        return [self.width() * first, *others] if others else self.width() * first

    @classmethod
    def view_for(cls, field: Field) -> View:
        """How a field has to be seen to be scored."""
        return "whole" if field.coded else cls.view

    def has_density(self) -> bool:
        """Whether log_prob is a log-probability or log-density of x, so that log p(x) has a meaning."""
        return True

    @abstractmethod
    def distribution(self, parameters: Tensor) -> Distribution:
        """The law of every feature, batch shape `(..., *event)`, from parameters `(..., P, *event)`."""

    @abstractmethod
    def draw(self, law: Distribution, generator: Generator | None) -> Tensor:
        """One x `(..., *event)` from what `forward` returned."""

    def centre(self, law: Any) -> Tensor:
        """The value that stands for a law in a picture: its mean, shape `(..., *event)`."""
        mean: Tensor = law.mean
        return mean

    def marginal(self, x: Tensor, observed: Tensor) -> Tensor | None:
        """Real parameters `(P, *event)` that fit x `(N, *event)` without any z; where a decoder may start.

        A law with parameters of its own, such as cut-points, moves them to the same start.
        """
        return None

    @classmethod
    def arguments(cls, fields: Sequence[Field]) -> dict[str, Any]:
        """The constructor's arguments that the schema of its fields decides."""
        return {}

    def scored(self, fields: Sequence[Field]) -> list[Field]:
        """The schema's `fields` as this likelihood scores them, by mass or by density.

        Raises RecipeError when the law cannot be theirs, or an argument contradicts the schema.
        """
        name, levels = type(self).__name__, getattr(self, "levels", None)
        for field in fields:
            refusal = self.refusal(field)
            if refusal:
                raise RecipeError(f"{refusal}; field {field.name!r} is {field.describe()}.")
            if levels is not None and field.levels > levels:
                raise RecipeError(
                    f"{name}: levels is {levels}, but field {field.name!r} takes {field.levels} values; the rest "
                    f"would share the last one's probability.\n  Leave levels to the schema."
                )
        return [replace(field, spike=None) for field in fields]

    @classmethod
    def refusal(cls, field: Field) -> str | None:
        """Why this law cannot be that of `field`, in words, or None."""
        return None

    def parameters_of(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        """The decoder's output `(..., P, *event)` for z `(..., D)`; its input is z, and beside it what is given."""
        if self.network is None:
            raise RecipeError(f"{type(self).__name__}: has no decoder network of its own.")
        out: Tensor = self.network(z if given is None else beside(z, given))
        return self.unpacked(out.to(z.dtype))  # products may have been in fewer digits; the law is not

    def unpacked(self, out: Tensor) -> Tensor:
        """Network output `(..., P · F₀, F₁ …)` → `(..., P, F₀, F₁ …)`. Raises ShapeError when it does not fit."""
        rank, each = self.rank, self.width()
        wanted = (each * self.event_shape[0], *self.event_shape[1:])
        if tuple(out.shape[-rank:]) != wanted:
            raise ShapeError(
                f"{type(self).__name__} likelihood: the decoder's output has shape {tuple(out.shape)}, expected "
                f"(…, {', '.join(map(str, wanted))}): {each} × {self.event_shape}.\n"
                f"  Change the network's outputs, or build the likelihood with another event_shape."
            )
        unpacked: Tensor = out.unflatten(-rank, (each, self.event_shape[0]))
        return unpacked

    def forward(self, z: Tensor, given: Tensor | None = None) -> Distribution:
        """p(x|z): a distribution of batch shape `(..., *event)` whose log_prob is per feature."""
        return self.distribution(self.parameters_of(z, given))

    def log_prob_parts(
        self, x: Tensor, z: Tensor, given: Tensor | None = None, observed: Tensor | None = None
    ) -> Tensor:
        """log p(x_f|z) for each feature in nats: x `(B, *event)`, z `(K, B, D)` → `(K, B, F)`.

        observed: `(B, F)` booleans. Parts of hidden features are for the caller to leave out; a law that is solved
        for from x must not look at them.

        Raises ShapeError when x does not have the likelihood's event shape.
        """
        self.check(x)
        if observed is not None:
            # A hole is 0 in x, where a density may be infinite and its gradient NaN even where it is left out; 0.5 is
            # inside every support.
            x = torch.where(observed.reshape(x.shape), x, torch.full_like(x, 0.5))
        parts = self(z, given).log_prob(x)
        flat: Tensor = parts.flatten(-self.rank) if self.rank > 1 else parts
        return flat

    def log_prob(self, x: Tensor, z: Tensor, given: Tensor | None = None, observed: Tensor | None = None) -> Tensor:
        """log p(x|z) of the observed features in nats: x `(B, *event)`, z `(K, B, D)` → `(K, B)`.

        Without gradients, in eval mode, a few draws are decoded at a time, so that memory does not grow with K. (In
        training a scale may be solved for over all of z.)
        """
        if torch.is_grad_enabled() or self.training or not len(x):
            return self.sum_of_parts(x, z, given, observed)
        self.check(x)
        numbers = max(len(x), z.shape[1]) * self.width() * self.dims  # decoded for one draw
        at_once = max(1, (PIECE if z.device.type == "cpu" else DEVICE_PIECE) // numbers)
        score = self.scorer(x, given, observed)
        return torch.cat([score(piece) for piece in z.split(at_once)])

    def scorer(self, x: Tensor, given: Tensor | None, observed: Tensor | None) -> Callable[[Tensor], Tensor]:
        """z `(K, B, D)` → `log_prob` of x `(K, B)`, to be called for piece after piece, without gradients.

        A law whose sum over features is cheaper than its parts overrides this.
        """
        return lambda z: self.sum_of_parts(x, z, given, observed)

    def sum_of_parts(self, x: Tensor, z: Tensor, given: Tensor | None, observed: Tensor | None) -> Tensor:
        """`log_prob` from `log_prob_parts`, `(K, B)`."""
        parts = self.log_prob_parts(x, z, given, observed)
        if observed is not None:
            parts = torch.where(observed, parts, torch.zeros((), dtype=parts.dtype, device=parts.device))
        return parts.sum(-1)

    def check(self, x: Tensor) -> None:
        """Raise ShapeError unless x is `(B, *event)`."""
        if tuple(x.shape[1:]) != self.event_shape:
            raise ShapeError(
                f"{type(self).__name__} likelihood: x has shape {tuple(x.shape)}, expected "
                f"(batch, {', '.join(map(str, self.event_shape))}) from the decoder's output.\n"
                f"  Reshape the data, or build the networks for {tuple(x.shape[1:])}, as in MLP(latent, [400], shape)."
            )

    @property
    def rank(self) -> int:
        """How many axes one x has."""
        return len(self.event_shape)

    @property
    def dims(self) -> int:
        """How many features one x has."""
        return prod(self.event_shape)


def masked_mean(x: Tensor, observed: Tensor) -> Tensor:
    """Mean over the observed rows of x `(N, *event)`, shape `(*event)`; 0 where a feature is never observed."""
    seen = observed.reshape(x.shape).to(x.dtype)
    return (x * seen).sum(0) / torch.clamp(seen.sum(0), min=1)
