"""Points that fill a space, and how much of it each stands for: sums over them are integrals."""

import math

import numpy as np
import torch
from torch import Tensor


def sphere(dims: int, count: int) -> tuple[Tensor, Tensor]:
    """Points `(M, D)` of the unit sphere in R^D, D = 2 or 3, and the area `(M,)` of each: exact for smooth functions.

    Equal steps around; Gauss–Legendre in height, which areas are proportional to.
    """
    around = torch.arange(count, dtype=torch.float64) * (2 * math.pi / count)
    if dims == 2:
        return torch.stack([around.cos(), around.sin()], -1), torch.full_like(around, 2 * math.pi / count)
    height, weight = (torch.from_numpy(values) for values in np.polynomial.legendre.leggauss(count // 2))
    ring = (1 - height.square()).sqrt()
    circle = torch.stack([around.cos(), around.sin()], -1)
    points = torch.cat([ring[:, None, None] * circle, height[:, None, None].expand(-1, count, 1)], -1)
    return points.flatten(0, 1), (weight[:, None] * (2 * math.pi / count)).expand(-1, count).flatten()


def ball(dims: int, count: int, curvature: float = 1.0, radius: float = 9.0) -> tuple[Tensor, Tensor]:
    """Points `(M, D)` of the Poincaré ball of curvature −c within `radius` of its centre, and the volume of each.

    |z| = tanh(√c r / 2) / √c at distance r, where a shell has the area (sinh(√c r) / √c)^{D−1} times the sphere's.
    """
    root = math.sqrt(curvature)
    directions, areas = sphere(dims, count)
    node, weight = (torch.from_numpy(values) for values in np.polynomial.legendre.leggauss(count))
    distance = radius * (node + 1) / 2
    length = torch.tanh(root * distance / 2) / root
    shell = (torch.sinh(root * distance) / root) ** (dims - 1) * weight * radius / 2
    return (length[:, None, None] * directions).flatten(0, 1), (shell[:, None] * areas).flatten()
