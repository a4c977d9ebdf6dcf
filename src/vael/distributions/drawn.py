"""Mean and variance of a law that has none in closed form."""

from copy import copy
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from vael.noise import stream

DRAWS = 256


def drawn_moments(law: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """(mean, variance) of a law, `(*batch, D)` each, over 256 draws: always the same, 128 normals and their negatives.

    Of one seed and for every example alike, so that an example's mean does not depend on its neighbours. Both are
    estimates: the mean has a standard error of about a sixteenth of a standard deviation, less where z is nearly linear
    in its noise.
    """
    normals = torch.cat([half := _normals(law.event_shape[0]), -half]).to(like)
    shape = (DRAWS, *law.batch_shape, *law.event_shape)
    eps = normals.reshape(DRAWS, *(1,) * len(law.batch_shape), -1).expand(shape)
    z: Tensor = copy(law).from_noise(eps)  # a copy, since a law may remember what it drew last
    return z.mean(0), z.var(0, correction=0)


@lru_cache(maxsize=8)
def _normals(dims: int) -> Tensor:
    generator = stream(0, dims, purpose="moments of a law")
    return torch.randn(DRAWS // 2, dims, dtype=torch.float64, generator=generator)
