"""A fixed encoder that adds noise step by step."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from vael.distributions.chained import Chained, Level
from vael.distributions.diagonal_gaussian import DiagonalGaussian
from vael.errors import RecipeError
from vael.posteriors.base import Posterior


class DiffusionPosterior(Posterior):
    """q(z|x) of z = (x_T, …, x_1), each a noisier x, with no parameter at all:

        q(x_t|x_{t−1}) = N(√(1 − β_t) x_{t−1}, β_t I),    x_0 = x

    written top-down, as a chain is drawn: α_t = 1 − β_t, ᾱ_t = α_1 ⋯ α_t,

        q(x_T|x) = N(√ᾱ_T x, (1 − ᾱ_T) I)
        q(x_{t−1}|x_t, x) = N(√ᾱ_{t−1} β_t / (1 − ᾱ_t) x + √α_t (1 − ᾱ_{t−1}) / (1 − ᾱ_t) x_t, β̃_t I)
        β̃_t = (1 − ᾱ_{t−1}) / (1 − ᾱ_t) β_t

    With a chain of Gaussians for a prior the ELBO is that of a diffusion model: T levels whose rates have closed forms,
    and a likelihood of x given x_1.

    Args:
        features: D, the numbers of x; z has T · D.
        betas: β_1 … β_T, each above 0 and below 1; see `geometric_betas`.

    Raises RecipeError for others.
    Source: Sohl-Dickstein et al. 2015 (arXiv 1503.03585); Ho, Jain & Abbeel 2020, eqs. 2–7 (arXiv 2006.11239).
    """

    family = Chained

    def __init__(self, features: int, betas: Sequence[float]) -> None:
        super().__init__()
        if not (isinstance(features, int) and features >= 1):
            raise RecipeError(f"DiffusionPosterior: features must be a whole number of at least 1, got {features!r}.")
        if not betas or not all(0 < beta < 1 for beta in betas):
            raise RecipeError(f"DiffusionPosterior: betas must be numbers above 0 and below 1, got {list(betas)}.")
        self.features, self.betas = features, list(betas)
        self.sizes = [features] * len(betas)
        self.latent = features * len(betas)

    def kept(self, t: int) -> float:
        """ᾱ_t, how much of x's variance is left after t steps."""
        return math.prod(1 - beta for beta in self.betas[:t])

    def forward(self, x: Tensor, given: Tensor | None = None, observed: Tensor | None = None) -> Chained:
        if observed is not None:
            raise RecipeError("DiffusionPosterior: adds noise to all of x, and cannot leave out what is missing.")
        clean = x.flatten(1)
        steps = len(self.betas)
        levels = [self.top(clean), *(self.back(clean, t) for t in range(steps, 1, -1))]
        return Chained(levels, self.sizes, still=lambda: Chained(levels, self.sizes))

    def top(self, clean: Tensor) -> Level:
        """q(x_T|x)."""
        kept = self.kept(len(self.betas))
        return lambda parents: spread(math.sqrt(kept) * clean, 1 - kept)

    def back(self, clean: Tensor, t: int) -> Level:
        """q(x_{t−1}|x_t, x), for parents that end with x_t."""
        beta, before, after = self.betas[t - 1], self.kept(t - 1), self.kept(t)
        of_clean = math.sqrt(before) * beta / (1 - after)
        of_noisy = math.sqrt(1 - beta) * (1 - before) / (1 - after)

        def law(parents: Tensor | None) -> DiagonalGaussian:
            assert parents is not None
            noisy = parents[..., -self.features :]
            return spread(of_clean * clean + of_noisy * noisy, (1 - before) / (1 - after) * beta)

        return law


def spread(loc: Tensor, variance: float) -> DiagonalGaussian:
    """N(loc, variance · I)."""
    return DiagonalGaussian(loc, torch.full_like(loc, 0.5 * math.log(variance)))


def geometric_betas(steps: int, least: float = 0.005, most: float = 0.98) -> list[float]:
    """β_1 … β_T with which 1 − ᾱ_t, the noise in x_t, grows by the same factor from `least` to `most`.

    No step then has much more to take back than another, which is worth most where there are few.
    Raises RecipeError for less than one step, or a noise that does not grow between 0 and 1.
    """
    if steps < 1 or not 0 < least < most < 1:
        raise RecipeError(
            f"geometric_betas: needs at least 1 step and 0 < least < most < 1, got {steps}, {least} and {most}."
        )
    grown = [most] if steps == 1 else [least * (most / least) ** (t / (steps - 1)) for t in range(steps)]
    return [1 - (1 - after) / (1 - before) for before, after in pairwise([0.0, *grown])]
