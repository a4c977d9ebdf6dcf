"""The Poincaré ball of curvature −c: hyperbolic space, its points z in R^D with c |z|² < 1."""

import math

import torch
from torch import Tensor

EDGE = {torch.float64: 1e-12, torch.float32: 1e-5}  # 1 − √c |z| of the points furthest out; 1e-5 is 12 / √c away


def tanhc(square: Tensor) -> Tensor:
    """tanh(s) / s from s²: smooth at 0, where it is 1."""
    near = square < 1e-4
    s = torch.where(near, torch.ones_like(square), square).sqrt()
    return torch.where(near, 1 - square / 3 + 2 * square.square() / 15, torch.tanh(s) / s)


def asinhc(square: Tensor) -> Tensor:
    """asinh(s) / s from s²: smooth at 0, where it is 1."""
    near = square < 1e-4
    s = torch.where(near, torch.ones_like(square), square).sqrt()
    return torch.where(near, 1 - square / 6 + 3 * square.square() / 40, torch.asinh(s) / s)


def log_sinhc(square: Tensor) -> Tensor:
    """log(sinh(s) / s) from s²: smooth at 0, where it is 0, and straight in s far out."""
    near = square < 1e-4
    s = torch.where(near, torch.ones_like(square), square).sqrt()
    far = s + torch.log(-torch.expm1(-2 * s)) - math.log(2) - torch.log(s)
    return torch.where(near, square / 6 - square.square() / 180, far)


def inside(z: Tensor, curvature: float) -> Tensor:
    """z, drawn in where it rounds to the edge or beyond."""
    most = (1 - EDGE.get(z.dtype, 1e-2)) / math.sqrt(curvature)
    length = z.square().sum(-1, keepdim=True).clamp(min=torch.finfo(z.dtype).tiny).sqrt()
    return torch.where(length > most, z * (most / length), z)


def from_centre(tangent: Tensor, curvature: float) -> Tensor:
    """Where one gets from 0 in the direction of v by going |v|: exp_0 of a vector in units of length, `(..., D)`.

    z = tanh(√c |v| / 2) / √c · v / |v|
    """
    square = curvature * tangent.square().sum(-1, keepdim=True) / 4
    return inside(tangent / 2 * tanhc(square), curvature)


def shifted(centre: Tensor, z: Tensor, curvature: float) -> Tensor:
    """Möbius addition: z carried along with the movement of space that takes 0 to the centre.

        μ ⊕ z = [ (1 + 2c ⟨μ, z⟩ + c |z|²) μ + (1 − c |μ|²) z ] / (1 + 2c ⟨μ, z⟩ + c² |μ|² |z|²)

    Source: Ungar 2008, A gyrovector space approach to hyperbolic geometry; Ganea et al. 2018, eq. 1 (arXiv 1805.09112).
    """
    along = 2 * curvature * (centre * z).sum(-1, keepdim=True)
    ours, theirs = (curvature * point.square().sum(-1, keepdim=True) for point in (centre, z))
    total = ((1 + along + theirs) * centre + (1 - ours) * z) / (1 + along + ours * theirs)
    return inside(total, curvature)


def towards(centre: Tensor, z: Tensor, curvature: float) -> Tensor:
    """The vector v, in units of length, whose path from 0 the same movement carries to z: |v| is how far z is.

        v = d · n / |n|,   d = (2/√c) asinh(s),   s² = c |δ|² / ((1 − c |μ|²)(1 − c |z|²)),   δ = z − μ
        n = (1 − c |μ|²) δ − c |δ|² μ,  in the direction of (−μ) ⊕ z

    All from δ, so that what is near the centre is not lost to rounding.
    """
    offset = z - centre
    square, ours, theirs = (curvature * point.square().sum(-1, keepdim=True) for point in (offset, centre, z))
    room = (1 - ours) * (1 - theirs)
    direction = (1 - ours) * offset - square * centre
    along = curvature * (offset * centre).sum(-1, keepdim=True)
    # |n|² = |δ|² · this
    stretch = (1 - ours).square() - 2 * (1 - ours) * along + square * ours
    return 2 * direction * asinhc(square / room) * torch.rsqrt(room * stretch)
