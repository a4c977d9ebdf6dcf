"""A column where one value stands out of an otherwise continuous law."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Generator, Tensor, nn

from vael.data.schema import Field, View
from vael.distributions.inflated import Inflated
from vael.errors import RecipeError
from vael.likelihoods.base import Likelihood
from vael.likelihoods.gaussian import Gaussian
from vael.likelihoods.log_normal import LogNormal


class Spiked(Likelihood):
    """Features that hold one value, the spike, with a probability of its own, and else follow a continuous law.

        p(x_f|z) = π [x_f = spike] + (1 − π) p_slab(x_f),    (logit π, slab's parameters) = network(z)

    On a grid both parts are masses. Off it the spike is a mass and the rest a density, and log p(x) mixes the two.

    Args:
        network: z → logit π and the slab's parameters, side by side.
        slab: The law of the rest, without a network of its own and with the same event_shape.
        spike: The value, in the units of x; one number or one per feature.
        event_shape: Shape of one x; from the network's outputs where it has them.

    Raises RecipeError when the slab has a network of its own.
    """

    _spike: Tensor
    _massive: Tensor

    def __init__(
        self,
        network: nn.Module | None = None,
        *,
        slab: Likelihood,
        spike: float | Sequence[float] = 0.0,
        event_shape: int | Sequence[int] | None = None,
    ) -> None:
        if slab.network is not None:
            raise RecipeError("Spiked: the slab must have no network of its own; leave it out and give event_shape.")
        self._slab_width = slab.width()
        super().__init__(network, event_shape)
        if slab.event_shape != self.event_shape:
            raise RecipeError(f"Spiked: the slab has event_shape {slab.event_shape}, expected {self.event_shape}.")
        self.slab, self.spike = slab, spike
        self.register_buffer("_spike", torch.as_tensor(spike, dtype=torch.float64), persistent=False)
        steps = torch.as_tensor(getattr(slab, "step", 1.0))  # a law without one is of whole numbers
        self.register_buffer("_massive", steps > 0, persistent=False)

    def width(self) -> int:
        return 1 + self._slab_width

    def distribution(self, parameters: Tensor) -> Inflated:
        """(logit π, slab's) `(..., P, *event)` → inflated law of batch shape `(..., *event)`."""
        axis = -1 - self.rank
        logits, rest = parameters.split([1, self._slab_width], axis)
        slab = self.slab.distribution(rest)
        return Inflated(slab, logits.squeeze(axis), self._spike.to(logits.dtype), self._massive)

    def draw(self, law: Any, generator: Generator | None) -> Tensor:
        rest = self.slab.draw(law.law, generator)
        there = torch.bernoulli(torch.sigmoid(law.logits), generator=generator).bool()
        return torch.where(there, law.atom.to(rest.dtype), rest)

    def centre(self, law: Any) -> Tensor:
        """The spike where it is likelier than not, else the slab's centre."""
        rest = self.slab.centre(law.law)
        return torch.where(law.logits > 0, law.atom.to(rest.dtype), rest)

    def marginal(self, x: Tensor, observed: Tensor) -> Tensor | None:
        """The spike's share, and the slab's own start on the rest."""
        seen = observed.reshape(x.shape)
        there = (x == self._spike.to(x.dtype)) & seen
        share = there.sum(0) / torch.clamp(seen.sum(0), min=1)
        rest = self.slab.marginal(x, (seen & ~there).flatten(1))
        if rest is None:
            rest = torch.zeros(self._slab_width, *self.event_shape)
        return torch.cat([torch.logit(share.to(rest.dtype), eps=1e-3).unsqueeze(0), rest])

    def scored(self, fields: Sequence[Field]) -> list[Field]:
        """As the slab scores them, the spike kept."""
        # The ends may be the spike's: a law of numbers above zero is not asked about a spike of zeros.
        its_own = self.slab.scored([replace(field, spike=None, ends=()) for field in fields])
        return [replace(own, spike=field.spike, ends=field.ends) for own, field in zip(its_own, fields, strict=True)]

    @classmethod
    def view_for(cls, field: Field) -> View:
        return _slab_of(field).view

    @classmethod
    def arguments(cls, fields: Sequence[Field]) -> dict[str, Any]:
        """The spikes in the units of x, and the slab that fits the fields' kind."""
        law = _slab_of(fields[0])
        options: dict[str, Any] = {"scale": "per_example"} if law is Gaussian else {}
        slab = law(None, event_shape=len(fields), **law.arguments(fields), **options)
        return {"slab": slab, "spike": [field.seen(field.spike or 0.0) for field in fields]}

    @classmethod
    def refusal(cls, field: Field) -> str | None:
        return None if field.spike is not None else "spiked needs columns where one value stands out"


def _slab_of(field: Field) -> type[Likelihood]:
    """The law of what is not the spike."""
    return LogNormal if field.kind in ("positive", "count") else Gaussian
