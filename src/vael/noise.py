"""Randomness with an address: every random number is a function of (seed, purpose, place).

No global state is read or moved. Two processes, two batch sizes, or a run and its resumption that ask for the same
place get the same numbers.
"""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Noise:
    """The random input of one evaluation of a model's densities.

    latents: One tensor `(K, B, D)` of base noise for each level of latents, top-down; standard normal for a
        reparameterised Gaussian.
    """

    latents: tuple[Tensor, ...]


def stream(seed: int, *place: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own for `purpose` at `place`; equal arguments give equal streams on one kind of device."""
    address = f"{seed}|{purpose}|{'|'.join(map(str, place))}".encode()
    # manual_seed expands 64 bits into the whole state, so neighbouring addresses are unrelated after the hash.
    number = int.from_bytes(hashlib.blake2b(address, digest_size=8).digest(), "little") >> 1
    return torch.Generator(device).manual_seed(number)
