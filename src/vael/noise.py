"""Randomness with an address: every random number is a function of (seed, purpose, place).

No global state is read or moved. Two processes, two batch sizes, or a run and its resumption that ask for the same
place get the same numbers.
"""

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Noise:
    """The random input of one evaluation of a model's densities.

    latents: One tensor `(K, B, D)` of base noise for each level of latents, top-down; standard normal for a
        reparameterised Gaussian.
    spare: Standard normals `(S, B, D)` that no latent is made of, for an objective that asks for `spare` = S of them,
        to draw from the prior or to choose directions with; None where none were asked for.
    """

    latents: tuple[Tensor, ...]
    spare: Tensor | None = None


def stream(seed: int, *place: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own for `purpose` at `place`; equal arguments give equal streams on one kind of device."""
    address = f"{seed}|{purpose}|{'|'.join(map(str, place))}".encode()
    # manual_seed expands 64 bits into the whole state, so neighbouring addresses are unrelated after the hash.
    number = int.from_bytes(hashlib.blake2b(address, digest_size=8).digest(), "little") >> 1
    return torch.Generator(device).manual_seed(number)


STEPS_AT_ONCE = 64
MOST_AT_ONCE = 2**16  # numbers that are kept for the steps to come


def normals(
    shape: tuple[int, ...], *, seed: int, step: int, dtype: torch.dtype, device: torch.device | str, purpose: str
) -> Tensor:
    """Standard normal numbers of `shape` for `step`: a function of the arguments.

    Small ones are drawn for a block of steps at a time, since a stream takes as long to begin as thousands of numbers
    take to draw.
    """
    count = math.prod(shape)
    steps = max(1, min(STEPS_AT_ONCE, MOST_AT_ONCE // max(1, count)))
    drawn = _block((steps, *shape), seed, step // steps, dtype, torch.device(device), purpose)
    return drawn[step % steps].clone()  # the block is kept for the steps to come


@lru_cache(maxsize=4)
def _block(
    shape: tuple[int, ...], seed: int, place: int, dtype: torch.dtype, device: torch.device, purpose: str
) -> Tensor:
    generator = stream(seed, place, purpose=purpose, device=device)
    return torch.randn(shape, dtype=dtype, device=device, generator=generator)
