"""q(z|x) as a module."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vael.errors import RecipeError, ShapeError


class Posterior(nn.Module, ABC):
    """q(z|x): what an encoder believes about the latent behind an example.

    latent: How many numbers z holds.
    family: The distribution type `forward` returns, by which closed-form KLs are found; None if it varies.
    enumerates: Whether its law has so few states that all of them stand in for draws; then it has `every()`, the
        states `(K, 1 or B, D)`.
    certain: Whether q(z|x) is sure of one state, so that more draws are the same one again.
    """

    latent: int
    family: ClassVar[type[Distribution] | None] = None
    enumerates: bool = False
    certain: ClassVar[bool] = False
    has_density: ClassVar[bool] = True  # without one there is no rate, no bound and no log p(x)

    @property
    def path(self) -> str:
        """How the bound's gradient gets to q's parameters while training.

        "smooth" where z is a differentiable function of noise; "relaxed" where a stand-in for z is; "none" where z
        jumps; "straight" where the gradient passes a jump as if there were none; "all" where every state stands in for
        draws and is weighed by q; "point" where z is one of x alone, and q has no density.
        """
        return "all" if self.enumerates else "smooth"

    def bind(self, prior: nn.Module, likelihood: nn.Module) -> None:
        """Called once by the model it joins: a posterior computed from p(z) and p(x|z) keeps hold of them here.

        They stay the model's: no parameter of theirs becomes one of this posterior.
        """

    @abstractmethod
    def forward(self, x: Tensor, given: Tensor | None = None, observed: Tensor | None = None) -> Distribution:
        """q(z|x): batch shape `(B,)`, event shape `(D,)`, for x `(B, *event)`."""


class EncodedPosterior(Posterior):
    """A posterior whose law is read off the output of one encoder network.

    Args:
        network: x `(B, *event)` → `(B, width)`. A network with `takes_mask` is also handed which features were
            observed. None to ask for the width alone.
        latent: D; found from `network.outputs` where the network has them.

    Raises RecipeError when the size of z is not told, ShapeError when network and size disagree.
    """

    def __init__(self, network: nn.Module | None = None, latent: int | None = None) -> None:
        super().__init__()
        name, outputs = type(self).__name__, getattr(network, "outputs", None)
        if latent is None:
            if not isinstance(outputs, int):
                raise RecipeError(f"{name}: the network does not say its `outputs`; give latent, the size of z.")
            self.latent = self._latent_for(outputs)
        else:
            self.latent = latent
        self.network = network
        if self.latent < 1:
            raise RecipeError(f"{name}: latent must be at least 1, got {self.latent}.")
        if isinstance(outputs, int) and outputs != self.width(self.latent):
            raise ShapeError(
                f"{name}: {self.needs()}, got a network with {outputs} outputs"
                + (f" for {latent} latents, which take {self.width(latent)}." if latent else ".")
            )

    @abstractmethod
    def width(self, latent: int) -> int:
        """How many outputs the network of a posterior over `latent` numbers has."""

    @abstractmethod
    def needs(self) -> str:
        """What the outputs are, in words."""

    @abstractmethod
    def law(self, outputs: Tensor) -> Distribution:
        """q(z|x) from the network's outputs `(B, width)`."""

    def _latent_for(self, outputs: int) -> int:
        """The largest number of latents that `outputs` suffice for."""
        latent = 1
        while self.width(latent + 1) <= outputs:
            latent += 1
        return latent

    def outputs_of(self, x: Tensor, observed: Tensor | None = None, given: Tensor | None = None) -> Tensor:
        """The network's outputs `(..., width)`, with the leading axes of x or of what it is told, whichever are more.

        Raises ShapeError when they have another shape.
        """
        name, wanted = type(self).__name__, self.width(self.latent)
        if self.network is None:
            raise RecipeError(f"{name}: has no encoder network.")
        more: dict[str, Tensor | None] = {}
        if observed is not None and getattr(self.network, "takes_mask", False):
            more["observed"] = observed
        if getattr(self.network, "given", 0):
            more["given"] = given
        out: Tensor = self.network(x, **more)
        if out.shape[-1] != wanted:
            raise ShapeError(
                f"{name}: the network's output has shape {tuple(out.shape)}, expected (…, {wanted}).\n"
                f"  {self.needs()}: give the network {wanted} outputs, or say another latent."
            )
        return out.to(x.dtype) if torch.is_autocast_enabled(x.device.type) else out

    def forward(self, x: Tensor, given: Tensor | None = None, observed: Tensor | None = None) -> Distribution:
        return self.law(self.outputs_of(x, observed, given))
