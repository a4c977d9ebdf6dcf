"""Importance-weighted bounds with fewer draws to a weight, for the encoder's sake."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vael.errors import RecipeError
from vael.models.terms import Terms, average
from vael.objectives.elbo import check_draws

NO_RATE = "has no rate to warm up. Leave warm_up at 0, or use the ELBO or Beta objective."


@dataclass(frozen=True)
class MIWAE:
    """The mean of M importance-weighted bounds of K draws each.

        L(x) = 1/M Σ_m log 1/K Σ_k w_mk,    M · K draws in all

    M = 1 is `IWAE`; K = 1 the ELBO by its draws. The bound is that of K draws; the gradient that reaches the encoder
    has as much signal as theirs, with the noise of M of them averaged.

    Args:
        draws: M · K, at least 1.
        means: M, at least 1; it divides the draws.

    Call: `Terms` → the bound in nats per example, shape `(B,)`, higher is better.
    Source: Rainforth et al. 2018, Tighter variational bounds are not necessarily better, eq. 11 (arXiv 1802.04537).
    """

    draws: int = 64
    means: int = 8
    paths: ClassVar[frozenset[str]] = frozenset({"smooth", "relaxed"})

    def __post_init__(self) -> None:
        check_means("MIWAE", self.draws, self.means)

    def __call__(self, terms: Terms) -> Tensor:
        groups = in_groups("MIWAE", terms.log_w, self.means)
        return (groups.logsumexp(1) - math.log(groups.shape[1])).mean(0)

    def warmed(self, share: float | Tensor) -> "MIWAE":
        raise RecipeError(f"MIWAE: {NO_RATE}")


@dataclass(frozen=True)
class PIWAE:
    """`IWAE` for decoder and prior, `MIWAE` for the encoder: each gets the gradient that serves it.

        ∂_θ log 1/T Σ_t w_t,    ∂_φ 1/M Σ_m log 1/K Σ_k w_mk,    T = M · K

    Whatever q(z|x) is made of is φ, all else θ. With w̃ the shares of all weights and ṽ those within a group over M,
    the path through z has to carry ṽ where decoder and prior carry w̃: a term linear in z brings the difference.

    Args:
        draws: T, at least 1.
        means: M, at least 1; it divides the draws.

    The price is one more pass backwards through the decoder, as far as z.
    Call: `Terms` with one level of latents → the bound of `IWAE` in nats per example, shape `(B,)`, higher is better.
    Source: Rainforth et al. 2018, section 5 (arXiv 1802.04537).
    """

    draws: int = 64
    means: int = 8
    paths: ClassVar[frozenset[str]] = frozenset({"smooth"})

    def __post_init__(self) -> None:
        check_means("PIWAE", self.draws, self.means)

    def __call__(self, terms: Terms) -> Tensor:
        if len(terms.latents) != 1:
            raise RecipeError(f"PIWAE: is for one level of latents, got {len(terms.latents)}. Use MIWAE or IWAE.")
        log_w, z = terms.log_w_fixed, terms.latents[0].z
        known = log_w.detach()
        bound = (known + terms.log_measure).logsumexp(0)
        share = known.softmax(0)  # w̃, (T, B)
        within = in_groups("PIWAE", known, self.means).softmax(1).flatten(0, 1) / self.means  # ṽ
        # By its own parameters q is reached with ṽ, decoder and prior with w̃; and z, so far, with w̃.
        way = (share * log_w).sum(0) + (within * (terms.log_w - log_w)).sum(0)
        if z.requires_grad and torch.is_grad_enabled():
            (slope,) = torch.autograd.grad(log_w.sum(), z, retain_graph=True)
            way = way + ((within - share).unsqueeze(-1) * slope * z).sum((0, -1))
        return bound + (way - way.detach())

    def warmed(self, share: float | Tensor) -> "PIWAE":
        raise RecipeError(f"PIWAE: {NO_RATE}")


@dataclass(frozen=True)
class CIWAE:
    """A mixture of the ELBO and the importance-weighted bound, of the same draws.

        L(x) = β · 1/K Σ_k log w_k + (1 − β) log 1/K Σ_k w_k

    Args:
        beta: β, 0 … 1: 0 is `IWAE`, 1 the ELBO by its draws.
        draws: K, at least 1.

    Call: `Terms` → the bound in nats per example, shape `(B,)`, higher is better.
    Source: Rainforth et al. 2018, eq. 12 (arXiv 1802.04537).
    """

    beta: float | Tensor = 0.5
    draws: int = 64
    paths: ClassVar[frozenset[str]] = frozenset({"smooth", "relaxed"})

    def __post_init__(self) -> None:
        check_draws("CIWAE", self.draws)
        if not isinstance(self.beta, Tensor) and not 0 <= self.beta <= 1:
            raise RecipeError(f"CIWAE: beta must be between 0 and 1, got {self.beta}.")

    def __call__(self, terms: Terms) -> Tensor:
        elbo = average(terms.log_w, terms.log_measure)
        weighted = (terms.log_w + terms.log_measure).logsumexp(0)
        return self.beta * elbo + (1 - self.beta) * weighted

    def warmed(self, share: float | Tensor) -> "CIWAE":
        raise RecipeError(f"CIWAE: {NO_RATE}")


def check_means(name: str, draws: int, means: int) -> None:
    """Raise RecipeError unless the draws can be dealt out to as many groups."""
    check_draws(name, draws)
    if means < 1 or draws % means:
        raise RecipeError(f"{name}: means must be at least 1 and divide the {draws} draws, got {means}.")


def in_groups(name: str, log_w: Tensor, means: int) -> Tensor:
    """Log-weights `(M · K, B)` as `(M, K, B)`: draws in the order they came, K to a group."""
    if len(log_w) % means:
        raise RecipeError(f"{name}: {len(log_w)} draws cannot be dealt out to {means} groups.")
    return log_w.reshape(means, -1, log_w.shape[-1])
