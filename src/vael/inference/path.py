"""The way from a law that is easy to draw from to one that is wanted, and places on it with their slopes."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vael.data.batch import Batch
from vael.errors import RecipeError
from vael.models.vae import VAE

LogDensity = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Place:
    """C chains for each of B examples: where they are, both log-densities there, and their gradients.

    z: `(C, B, D)`. start, goal: log f₀(z) and log f₁(z), nats, `(C, B)`. start_slope, goal_slope: `(C, B, D)`.
    """

    z: Tensor
    start: Tensor
    goal: Tensor
    start_slope: Tensor
    goal_slope: Tensor

    @property
    def lift(self) -> Tensor:
        """log f₁(z) − log f₀(z), `(C, B)`: d/dβ of log f_β, whose mean along the path integrates to log p(x)."""
        return self.goal - self.start

    def log_density(self, beta: float) -> Tensor:
        """log f_β(z) = (1 − β) log f₀(z) + β log f₁(z), `(C, B)`."""
        return (1 - beta) * self.start + beta * self.goal

    def slope(self, beta: float) -> Tensor:
        """∂ log f_β(z) / ∂z, `(C, B, D)`."""
        return (1 - beta) * self.start_slope + beta * self.goal_slope

    def where(self, chosen: Tensor, other: "Place") -> "Place":
        """This place where `chosen` `(C, B)`, the other elsewhere."""
        wide = chosen.unsqueeze(-1)
        return Place(
            torch.where(wide, self.z, other.z),
            torch.where(chosen, self.start, other.start),
            torch.where(chosen, self.goal, other.goal),
            torch.where(wide, self.start_slope, other.start_slope),
            torch.where(wide, self.goal_slope, other.goal_slope),
        )


@dataclass(frozen=True)
class Path:
    """f_β(z) = f₀(z)^(1 − β) f₁(z)^β for each of B examples: f₀ normalised, ∫ f₁ = p(x).

    start, goal: log f₀ and log f₁, z `(C, B, D)` → `(C, B)`. draw: Standard normal noise `(C, B, D)` → z from f₀.
    start_width, goal_width: Standard deviations that z is thought to have under either, `(B, D)`: a guess is allowed to
        be wrong, and only costs steps.
    """

    start: LogDensity
    goal: LogDensity
    draw: Callable[[Tensor], Tensor]
    start_width: Tensor
    goal_width: Tensor

    def at(self, z: Tensor) -> Place:
        """Densities and slopes at z."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            start, goal = self.start(z), self.goal(z)
            (goal_slope,) = torch.autograd.grad(goal.sum(), z)
            (start_slope,) = torch.autograd.grad(start.sum(), z)
        return Place(z.detach(), start.detach(), goal.detach(), start_slope, goal_slope)

    def width(self, beta: float) -> Tensor:
        """What a component moves by in one unit of a step, `(B, D)`: precisions mix along the path of two Gaussians."""
        precision = (1 - beta) / self.start_width.square() + beta / self.goal_width.square()
        return precision.rsqrt()


def path_to_posterior(model: VAE, batch: Batch, *, start: str = "prior") -> Path:
    """From p(z), or from the encoder's q(z|x), to p(x, z) for the examples of a batch.

    Raises RecipeError for latents that have no slope, and for an unknown start.
    """
    if start not in ("prior", "encoder"):
        raise RecipeError(f"path to the posterior: start must be prior or encoder, got {start!r}.")
    with torch.no_grad():
        q, p = model.posterior(batch.x, batch.given, batch.observed), model.prior(batch.given)
    if any(getattr(law, "discrete", False) or getattr(law, "atomic", False) for law in (p, q)):
        raise RecipeError(
            "path to the posterior: the latents are discrete or have point masses, and Hamiltonian moves and grids "
            "need a density over lengths.\n  Use method importance, or exact where all states can be summed."
        )
    if space := getattr(p, "space", ""):
        raise RecipeError(
            f"path to the posterior: the latents are points of {space}, and Hamiltonian moves and grids go straight.\n"
            "  Use method importance."
        )
    law = p if start == "prior" else q
    goal_width = width_of(q, batch.x, model.latent)
    start_width = width_of(law, batch.x, model.latent)
    return Path(law.log_prob, lambda z: model.log_joint(batch, z), law.from_noise, start_width, goal_width)


def width_of(law: object, like: Tensor, latent: int) -> Tensor:
    """Standard deviations `(B, D)` of a law; ones where it does not tell."""
    variance = getattr(law, "variance", None)
    ones = like.new_ones(len(like), latent)
    if not isinstance(variance, Tensor):
        return ones
    return ones * variance.to(like.device, like.dtype).sqrt()
