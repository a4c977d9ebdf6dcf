"""Distances of two clouds after each point was smoothed to a Gaussian."""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from vael.distributions.distances.kernels import positive, squared, two_sample

NODES = 32  # of the quadrature over angles: right to 1e-9 while ‖x − y‖ is below 10 widths


def cramer_wold(x: Tensor, y: Tensor, *, width: float | Tensor) -> Tensor:
    """The Cramér–Wold distance: ∫ (p_θ − q_θ)² over a line, averaged over its directions θ, `(...)`.

        CW² = 1/(2h√π) [mean φ(x, x′) + mean φ(y, y′) − 2 mean φ(x, y)],    φ = ₁F₁(½; D/2; −‖x − y‖² / 4h²)

    p_θ and q_θ are the clouds' shadows on the line, each point smoothed to N(·, h²). ₁F₁ is the mean of
    exp(−cos²α ‖x − y‖² / 4h²) over the angle α between a direction and x − y, taken by quadrature.

    width: h, the paper's √γ, in units of x. Raises RecipeError unless it is above 0.
    Source: Tabor et al. 2018, Cramer–Wold autoencoder, theorem 1 (arXiv 1805.09235).
    """
    positive("cramer_wold", "width", width)

    def similarity(square: Tensor) -> Tensor:
        return sum(
            (weight * torch.exp(-share * square / (4 * width**2)) for share, weight in angles(x.shape[-1])),
            torch.zeros_like(square),
        )

    return two_sample(similarity, x, y) / (2 * math.sqrt(math.pi) * width)


@lru_cache(maxsize=64)
def angles(dims: int) -> list[tuple[float, float]]:
    """cos²α and its weight for nodes α in 0 … π/2; on the sphere in D dimensions α has density ∝ sin^{D−2} α."""
    if dims == 1:
        return [(1.0, 1.0)]
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    angle = (nodes + 1) * np.pi / 4
    weights = weights * np.sin(angle) ** (dims - 2)
    return list(zip((np.cos(angle) ** 2).tolist(), (weights / weights.sum()).tolist(), strict=True))


def cauchy_schwarz(x: Tensor, y: Tensor, *, width: float | Tensor) -> Tensor:
    """The Cauchy–Schwarz divergence −log ⟨p, q⟩² / (⟨p, p⟩ ⟨q, q⟩) in nats, `(...)`, ⟨p, q⟩ = ∫ p q.

    p and q are the clouds with each point smoothed to N(·, h² I), so ⟨p, q⟩ is the mean over pairs of N(x; y, 2h² I).
    At least 0, and 0 for equal clouds alone.

    width: h, in units of x. Raises RecipeError unless it is above 0.
    Source: Jenssen et al. 2006, J. Franklin Inst. 343; in an autoencoder Tran et al. 2022 (arXiv 2101.02149).
    """
    positive("cauchy_schwarz", "width", width)

    def log_overlap(one: Tensor, other: Tensor) -> Tensor:
        log_kernel = -squared(one, other) / (4 * width**2)
        return torch.logsumexp(log_kernel, (-2, -1)) - math.log(log_kernel.shape[-2] * log_kernel.shape[-1])

    return log_overlap(x, x) + log_overlap(y, y) - 2 * log_overlap(x, y)
