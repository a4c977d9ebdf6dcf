"""What the linear model says a latent can carry: a unit is worth its rate while its eigenvalue exceeds βσ².

For x = W z + b + ε, ε ~ N(0, σ² I), and the bound with its rate weighted by β, the best model keeps the directions of
the data's covariance with λ_j > βσ² and no others:

    rate = Σ_j ½ log(λ_j / βσ²),        E|x − x̂|² = Σ_j min(λ_j, βσ²)        (reverse water-filling)

Source: Lucas et al. 2019, Don't blame the ELBO (arXiv 1911.02469); Cover & Thomas 2006, theorem 10.3.3.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vael.errors import RecipeError


def eigenvalues(x: Tensor) -> Tensor:
    """Eigenvalues of the covariance of x `(N, *event)`, largest first, `(d,)` float64, in the units of x squared."""
    flat = x.flatten(1).to("cpu", torch.float64)
    centred = flat - flat.mean(0)
    found = torch.zeros(flat.shape[1], dtype=torch.float64)
    # The smaller of the two Gram matrices has all that are not zero.
    gram = centred @ centred.T if len(flat) < flat.shape[1] else centred.T @ centred
    values = torch.linalg.eigvalsh(gram).flip(0).clamp(min=0) / len(flat)
    found[: len(values)] = values
    return found


def active_by_theory(values: Tensor, noise: float, *, beta: float = 1.0, latent: int | None = None) -> int:
    """How many latents the linear model keeps: λ_j > βσ², at most `latent`; values λ `(d,)`, noise σ²."""
    _check(noise, beta)
    count = int((values > beta * noise).sum())
    return count if latent is None else min(count, latent)


@dataclass(frozen=True)
class Point:
    """The linear model's best at one β: rate and distortion in nats, E|x − x̂|² and σ², latents in use."""

    beta: float
    rate: float
    distortion: float
    squared_error: float
    noise: float
    active: int


def tradeoff(values: Tensor, noise: float | None, *, beta: float, latent: int | None = None) -> Point:
    """Rate and distortion of the best linear model with that weight of the rate.

        distortion = d/2 log 2πσ² + E|x − x̂|² / 2σ²,        E|x − x̂|² = Σ_{j ≤ k} βσ² + Σ_{j > k} λ_j

    values: λ of the covariance, largest first, `(d,)`.
    noise: σ², or None where it is learned too: with k latents in use the best is σ² = Σ_{j > k} λ_j / (d − βk), and k
        is the one with the highest bound among those that keep the law.
    latent: At most so many in use. Raises RecipeError where a learned σ² would be 0.
    """
    if noise is None:
        noise = learned_noise(values, beta=beta, latent=latent)
    _check(noise, beta)
    dims, water = len(values), beta * noise
    active = active_by_theory(values, noise, beta=beta, latent=latent)
    kept, lost = values[:active], values[active:]
    squared = active * water + float(lost.sum())
    rate = 0.5 * float((kept / water).log().sum())
    distortion = 0.5 * dims * math.log(2 * math.pi * noise) + squared / (2 * noise)
    return Point(beta, rate, distortion, squared, noise, active)


def learned_noise(values: Tensor, *, beta: float, latent: int | None = None) -> float:
    """σ² where it is learned together with the linear model; see `tradeoff`."""
    dims, best, found = len(values), -math.inf, None
    for active in range(min(dims, latent if latent is not None else dims) + 1):
        lost = float(values[active:].sum())
        if dims - beta * active <= 0 or lost <= 0:
            continue
        noise = lost / (dims - beta * active)
        if active_by_theory(values, noise, beta=beta, latent=latent) != active:
            continue
        point = tradeoff(values, noise, beta=beta, latent=latent)
        if -point.distortion - beta * point.rate > best:
            best, found = -point.distortion - beta * point.rate, noise
    if found is None:
        raise RecipeError(
            f"tradeoff: with beta {beta:g} and {latent or dims} latents for {dims} features the best σ² is 0.\n"
            f"  Give σ², or fewer latents."
        )
    return found


def _check(noise: float, beta: float) -> None:
    if not (noise > 0 and beta > 0):
        raise RecipeError(f"the linear theory needs σ² and β above 0, got σ² {noise:g} and β {beta:g}.")
