"""Hamiltonian Monte Carlo: moves that leave a density unchanged, many chains at once, steps sized per example."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vael.errors import RecipeError
from vael.inference.path import Path, Place
from vael.noise import stream

JITTER = 0.2  # a step is scaled by 1 ± this, drawn anew for each move: a fixed length can come back to where it began
BEGINNING = 0.5  # step before anything is known, in widths
FIRST_GAIN = 1.5  # log-step per unit of missed acceptance in the first adaptation; later ones by 1/√n of it


class Move(Protocol):
    """A transition that leaves f_β unchanged and is its own reverse."""

    def __call__(self, place: Place, beta: float, path: Path, noise: Tensor) -> Place:
        """place: `(C, B)` chains. noise: Standard normal `(C, B, D + 2)`. → where they are after."""
        ...


def hamiltonian(
    place: Place, beta: float, path: Path, noise: Tensor, *, step: Tensor, leapfrog: int
) -> tuple[Place, Tensor]:
    """One move of C chains for each of B examples, and the probability `(C, B)` with which each was accepted.

        momentum r ~ N(0, I);  leapfrog in y = z / width;  accepted with probability min(1, exp(H − H'))
        H = ½ ‖r‖² − log f_β(z)

    noise: `(C, B, D + 2)`: momentum, the acceptance draw, and the jitter of the step. step: `(B,)`, in widths.
    Each move costs `leapfrog` gradients: the first one is known from the move before.

    Source: Neal 2011, MCMC using Hamiltonian dynamics, sections 2–5 (arXiv 1206.1901).
    """
    momentum, uniform, jitter = noise[..., :-2], torch.special.ndtr(noise[..., -2]), torch.special.ndtr(noise[..., -1])
    stride = (step * (1 + JITTER * (2 * jitter - 1))).unsqueeze(-1)  # (C, B, 1)
    width = path.width(beta)
    before = place.log_density(beta) - 0.5 * momentum.square().sum(-1)
    there, lost = place, torch.zeros_like(before, dtype=torch.bool)
    for _ in range(leapfrog):
        momentum = momentum + 0.5 * stride * width * there.slope(beta)
        z = there.z + stride * width * momentum
        # A trajectory that runs away is refused in the end; until then it waits where densities are defined.
        lost = lost | ~torch.isfinite(z).all(-1)
        there = path.at(torch.where(lost.unsqueeze(-1), place.z, z))
        momentum = momentum + 0.5 * stride * width * there.slope(beta)
    after = there.log_density(beta) - 0.5 * momentum.square().sum(-1)
    accept = torch.nan_to_num(torch.exp(torch.clamp(after - before, max=0.0)), nan=0.0)
    accept = torch.where(lost, torch.zeros_like(accept), accept)
    return there.where(uniform < accept, place), accept


@dataclass(frozen=True)
class HMC:
    """Moves with steps that were found beforehand and are held still, so that each leaves f_β exactly unchanged.

    betas: The places on the path where steps are known, rising, G of them. log_steps: `(G, B)`; between two, the
    logarithm of the step is read off the line between them.
    """

    betas: tuple[float, ...]
    log_steps: Tensor
    leapfrog: int

    def step(self, beta: float) -> Tensor:
        """The step at β in widths, `(B,)`."""
        at = sum(known <= beta for known in self.betas[1:-1])
        low, high = self.betas[at], self.betas[min(at + 1, len(self.betas) - 1)]
        share = (beta - low) / (high - low) if high > low else 0.0
        return torch.exp(torch.lerp(self.log_steps[at], self.log_steps[min(at + 1, len(self.betas) - 1)], share))

    def __call__(self, place: Place, beta: float, path: Path, noise: Tensor) -> Place:
        moved, _ = hamiltonian(place, beta, path, noise, step=self.step(beta), leapfrog=self.leapfrog)
        return moved


def find_steps(
    path: Path, place: Place, noise: Iterator[Tensor], betas: Sequence[float], *, leapfrog: int, acceptance: float,
    moves: int = 20,
) -> HMC:  # fmt: skip
    """Steps with the wanted mean `acceptance`, by `moves` adapting moves at each of `betas`, in order.

        log ε ← log ε + g_n (accepted − wanted),    g_n = FIRST_GAIN / √n

    What is kept is the mean of the last half. The chains walked here are thrown away: steps that adapted to a chain
    that is then counted would bias it.

    Raises RecipeError unless 0 < acceptance < 1.
    """
    if not 0 < acceptance < 1:
        raise RecipeError(f"HMC: acceptance must be between 0 and 1, got {acceptance}.")
    log_step, kept = torch.full_like(place.start[0], math.log(BEGINNING)), []
    for beta in betas:
        late = []
        for n in range(1, moves + 1):
            place, accepted = hamiltonian(
                place, beta, path, next(noise), step=log_step.exp(), leapfrog=leapfrog
            )  # fmt: skip
            log_step = log_step + FIRST_GAIN / math.sqrt(n) * (accepted.mean(0) - acceptance)
            if 2 * n > moves:
                late.append(log_step)
        kept.append(torch.stack(late).mean(0))
    return HMC(tuple(betas), torch.stack(kept), leapfrog)


def noise_of(
    examples: Sequence[int], chains: int, width: int, *, seed: int, purpose: str, like: Tensor
) -> Iterator[Tensor]:
    """Standard normal noise `(chains, B, width)`, block after block: a function of (seed, example, purpose)."""
    streams = [stream(seed, example, purpose=purpose) for example in examples]
    while True:
        blocks = [torch.randn((chains, width), generator=one, dtype=like.dtype) for one in streams]
        yield torch.stack(blocks, 1).to(like.device)


def sample_posterior(
    path: Path, examples: Sequence[int], *, draws: int, chains: int = 4, warm_up: int = 100, thin: int = 1,
    leapfrog: int = 10, acceptance: float = 0.65, seed: int = 0,
) -> Tensor:  # fmt: skip
    """Draws from f₁ for each of B examples by HMC from f₀: `(draws · chains, B, D)`, chain by chain within a draw.

    warm_up: Moves that come before the first draw is kept. thin: Moves between two that are kept.
    """
    latent = path.goal_width.shape[-1]
    noise = noise_of(examples, chains, latent + 2, seed=seed, purpose="hmc", like=path.goal_width)
    place = path.at(path.draw(next(noise)[..., :latent]))
    hmc = find_steps(path, place, noise, (1.0,), leapfrog=leapfrog, acceptance=acceptance, moves=50)
    kept = []
    for n in range(warm_up + draws * thin):
        place = hmc(place, 1.0, path, next(noise))
        if n >= warm_up and (n - warm_up) % thin == 0:
            kept.append(place.z)
    return torch.cat(kept)
