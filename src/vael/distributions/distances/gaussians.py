"""Distances between two Gaussians in closed form.

The general ones take means `(D,)` and covariances `(D, D)`; those of N(shift, a² I) against N(0, b² I) the shift `(D,)`
and the two scales.
"""

import math

import numpy as np
import torch
from torch import Tensor

from vael.errors import RecipeError

LAGUERRE = 120  # nodes: eleven digits for C of the order of the variances
TAIL = 60  # terms of a Poisson mixture beyond its mean, and ten deviations more


def wasserstein_gaussians(loc: Tensor, covariance: Tensor, other_loc: Tensor, other: Tensor) -> Tensor:
    """W₂² = ‖Δ‖² + tr(Σ₁ + Σ₂ − 2 (Σ₂^½ Σ₁ Σ₂^½)^½), a scalar: the Fréchet distance too."""
    half = symmetric_root(other)
    cross = symmetric_root(half @ covariance @ half)
    distance: Tensor = (loc - other_loc).square().sum() + torch.trace(covariance + other - 2 * cross)
    return distance


def symmetric_root(matrix: Tensor) -> Tensor:
    """The positive root of a positive semi-definite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.mT
    return root


def renyi_gaussians(alpha: float, loc: Tensor, covariance: Tensor, other_loc: Tensor, other: Tensor) -> Tensor:
    """D_α(N₁‖N₂) = 1/(α−1) log ∫ p₁^α p₂^{1−α} in nats, a scalar.

        = α/2 Δᵀ Σ*⁻¹ Δ − 1/(2(α−1)) log |Σ*| / (|Σ₁|^{1−α} |Σ₂|^α),    Σ* = α Σ₂ + (1−α) Σ₁

    Raises RecipeError for α = 1, which is the KL, and where Σ* is not positive definite: there the integral diverges.
    Source: Gil, Alajaji & Linder 2013, Information Sciences 249.
    """
    mixed = alpha * other + (1 - alpha) * covariance
    root, failed = torch.linalg.cholesky_ex(mixed)
    if alpha == 1 or int(failed):
        raise RecipeError(f"renyi_gaussians: has no value at alpha = {alpha} for these covariances.")
    white = torch.linalg.solve_triangular(root, (loc - other_loc).unsqueeze(-1), upper=False)
    logs = torch.logdet(mixed) - (1 - alpha) * torch.logdet(covariance) - alpha * torch.logdet(other)
    divergence: Tensor = alpha / 2 * white.square().sum() - logs / (2 * (alpha - 1))
    return divergence


def mmd_rbf_gaussians(loc: Tensor, covariance: Tensor, other_loc: Tensor, other: Tensor, *, width: float) -> Tensor:
    """MMD² by exp(−‖x − y‖² / 2h²), a scalar: E k = h^D |S|^{−½} exp(−½ Δᵀ S⁻¹ Δ), S = Σ₁ + Σ₂ + h² I."""
    identity = torch.eye(len(loc), dtype=loc.dtype, device=loc.device)

    def mean_kernel(shift: Tensor, spread: Tensor) -> Tensor:
        total = spread + width**2 * identity
        quadratic = shift @ torch.linalg.solve(total, shift)
        return torch.exp(len(loc) * math.log(width) - 0.5 * torch.logdet(total) - 0.5 * quadratic)

    none = torch.zeros_like(loc)
    own = mean_kernel(none, 2 * covariance) + mean_kernel(none, 2 * other)
    return own - 2 * mean_kernel(loc - other_loc, covariance + other)


def mmd_imq_gaussians(shift: Tensor, scale: float, other: float, *, constant: float) -> Tensor:
    """MMD² of N(shift, scale² I) and N(0, other² I) by C / (C + ‖x − y‖²), a scalar.

    With s² the sum of both variances, E k = ∫₀^∞ e^{−u} (1 + 2s²u/C)^{−D/2} exp(−(u/C) ‖Δ‖² / (1 + 2s²u/C)) du, since
    C / (C + r) is the integral of e^{−u} e^{−ur/C}; by quadrature.
    """
    nodes, weights = np.polynomial.laguerre.laggauss(LAGUERRE)
    u, weight = (torch.from_numpy(array).to(shift) for array in (nodes, weights))

    def mean_kernel(square: Tensor | float, variance: float) -> Tensor:
        widened = 1 + 2 * variance * u / constant
        return (weight * torch.exp(-u / constant * square / widened) * widened ** (-len(shift) / 2)).sum()

    own = mean_kernel(0.0, 2 * scale**2) + mean_kernel(0.0, 2 * other**2)
    return own - 2 * mean_kernel(shift.square().sum(), scale**2 + other**2)


def energy_gaussians(shift: Tensor, scale: float, other: float) -> Tensor:
    """2 E‖X − Y‖ − E‖X − X′‖ − E‖Y − Y′‖ of N(shift, scale² I) and N(0, other² I), a scalar."""
    cross = mean_length(shift, math.hypot(scale, other))
    none = torch.zeros_like(shift)
    return 2 * cross - mean_length(none, math.sqrt(2) * scale) - mean_length(none, math.sqrt(2) * other)


def mean_length(loc: Tensor, scale: float) -> Tensor:
    """E‖v‖ for v ~ N(loc, s² I), a scalar: s √2 Γ((D+1)/2) / Γ(D/2) ₁F₁(−½; D/2; −λ), λ = ‖loc‖² / 2s².

    ‖v‖² / s² is χ² with D + 2j degrees of freedom, j ~ Poisson(λ), so it is a sum of positive terms.
    """
    rate = loc.square().sum() / (2 * scale**2)
    terms = torch.arange(int(rate + 10 * rate.sqrt()) + TAIL, dtype=loc.dtype, device=loc.device)
    log_chance = torch.xlogy(terms, rate) - rate - torch.lgamma(terms + 1)
    half = len(loc) / 2
    log_length = torch.lgamma(half + 0.5 + terms) - torch.lgamma(half + terms)
    return scale * math.sqrt(2) * torch.exp(log_chance + log_length).sum()


def sliced_gaussians(shift: Tensor, scale: float, other: float) -> Tensor:
    """The mean over directions of W₂² between the shadows of N(shift, a² I) and N(0, b² I): ‖Δ‖²/D + (a − b)²."""
    return shift.square().mean() + (scale - other) ** 2
