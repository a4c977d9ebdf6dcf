"""Energy distance: MMD² by minus the distance itself, which has no width to choose."""

import torch
from torch import Tensor

from vael.distributions.distances.kernels import two_sample


def energy(x: Tensor, y: Tensor, *, unbiased: bool = False) -> Tensor:
    """2 E‖X − Y‖ − E‖X − X′‖ − E‖Y − Y′‖, in units of x, `(...)`; 0 for equal laws alone. See `two_sample`.

    Source: Székely & Rizzo 2013, Energy statistics, J. Stat. Plan. Inference 143; as a regulariser Turinici 2019,
    Radon–Sobolev variational auto-encoders (arXiv 1911.13135).
    """
    return two_sample(lambda square: -root(square), x, y, unbiased=unbiased)


def root(square: Tensor) -> Tensor:
    """√square with slope 0 at 0, where a point meets itself."""
    apart = square > 0
    return torch.where(apart, square, 1.0).sqrt() * apart
