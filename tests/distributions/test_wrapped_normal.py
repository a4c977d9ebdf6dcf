"""Hyperbolic space and the Gaussian wrapped round it: ways there and back, volume by autograd, its flat limit."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from vael.distributions import DiagonalGaussian, WrappedNormal
from vael.distributions.poincare import asinhc, from_centre, log_sinhc, shifted, tanhc, towards

F64 = torch.float64
ROUNDING = {"atol": 1e-9, "rtol": 1e-9}
curvatures = pytest.mark.parametrize("curvature", [2.0, 1.0, 0.3])
dimensions = pytest.mark.parametrize("dims", [1, 2, 5])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def law(dims: int, curvature: float, examples: int = 4) -> WrappedNormal:
    loc = from_centre(1.5 * normal(examples, dims), curvature)
    return WrappedNormal(loc, 0.4 * normal(examples, dims, seed=1), curvature)


def distance(one: Tensor, other: Tensor, curvature: float) -> Tensor:
    """arcosh(1 + 2c |x − y|² / ((1 − c |x|²)(1 − c |y|²))) / √c, the ball's own metric."""
    room = (1 - curvature * one.square().sum(-1)) * (1 - curvature * other.square().sum(-1))
    return torch.acosh(1 + 2 * curvature * (one - other).square().sum(-1) / room) / math.sqrt(curvature)


@curvatures
@dimensions
def test_a_step_leads_as_far_as_it_is_long_and_back(dims, curvature):
    q, eps = law(dims, curvature), normal(6, 4, dims, seed=2)
    z, step = q.from_noise(eps), q.log_scale.exp() * eps
    assert (curvature * z.square().sum(-1) < 1).all()
    assert_close(distance(q.loc, z, curvature), step.norm(dim=-1), **ROUNDING)
    assert_close(towards(q.loc, z, curvature), step, **ROUNDING)


@curvatures
@dimensions
def test_the_density_is_the_steps_over_what_volume_it_is_stretched_to(dims, curvature):
    """log |det ∂z/∂v| by autograd, and the element of volume (2 / (1 − c |z|²))^D of the ball's metric."""
    q, eps = law(dims, curvature, 1), normal(5, dims, seed=3)
    for noise in eps:
        jacobian = torch.autograd.functional.jacobian(lambda given: q.from_noise(given)[0], noise)
        z = q.from_noise(noise)
        volume = dims * torch.log(2 / (1 - curvature * z.square().sum()))
        log_noise = -0.5 * (noise.square().sum() + dims * math.log(2 * math.pi))
        truth = log_noise - torch.linalg.slogdet(jacobian)[1] - volume
        assert_close(q.log_prob(z)[0], truth, **ROUNDING)


def test_without_curvature_twice_z_is_gaussian():
    loc, log_scale = 0.5 * normal(4, 3), 0.4 * normal(4, 3, seed=1)
    q, flat = WrappedNormal(loc, log_scale, 1e-8), DiagonalGaussian(2 * loc, log_scale)
    eps = normal(5, 4, 3, seed=2)
    z = q.from_noise(eps)
    assert_close(2 * z, flat.from_noise(eps), atol=1e-6, rtol=0)  # of the order of c
    assert_close(q.log_prob(z), flat.log_prob(2 * z), atol=1e-6, rtol=0)
    assert_close(4 * q.variance, flat.variance, atol=1e-6, rtol=0)


def test_the_variance_is_that_of_a_narrow_law():
    q = WrappedNormal(from_centre(normal(2, 3), 0.7), torch.full((2, 3), math.log(1e-3), dtype=F64), 0.7)
    z = q.from_noise(normal(20_000, 2, 3, seed=3))
    assert_close(z.var(0), q.variance, atol=0, rtol=0.04)  # four times √(2 / 20000)


@pytest.mark.parametrize(
    ("ours", "truth"),
    [
        (tanhc, lambda s: torch.tanh(s) / s),
        (asinhc, lambda s: torch.asinh(s) / s),
        (log_sinhc, lambda s: torch.log(torch.sinh(s) / s)),
    ],
)
def test_functions_of_a_square_are_smooth_where_their_rule_changes(ours, truth):
    s = torch.tensor([1e-3, 9.9e-3, 1.01e-2, 0.3, 2.0, 15.0], dtype=F64)
    assert_close(ours(s.square()), truth(s), atol=1e-11, rtol=1e-9)
    square = torch.tensor([0.0, 1e-12, 1e-4 - 1e-9, 1e-4 + 1e-9, 0.5], dtype=F64, requires_grad=True)
    (slope,) = torch.autograd.grad(ours(square).sum(), square)
    limit = {tanhc: -1 / 3, asinhc: -1 / 6, log_sinhc: 1 / 6}[ours]
    assert_close(slope[:4], torch.full((4,), limit, dtype=F64), atol=2e-4, rtol=0)
    assert_close(slope[2], slope[3], atol=1e-6, rtol=0)


def test_moving_space_is_undone_by_the_opposite_move():
    centre, z = from_centre(normal(4, 3), 0.5), from_centre(normal(4, 3, seed=1), 0.5)
    assert_close(shifted(-centre, shifted(centre, z, 0.5), 0.5), z, **ROUNDING)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_densities_and_slopes_stay_finite_out_to_the_edge(dtype):
    """Centres 0 to 60 lengths out, and steps of up to 40: beyond about 12 float32 holds all at the edge."""
    way = torch.tensor([0.0, 1.0, 8.0, 60.0], dtype=dtype)[:, None] * torch.tensor([0.6, 0.8, 0.0], dtype=dtype)
    way.requires_grad_()
    log_scale = torch.zeros(4, 3, dtype=dtype, requires_grad=True)
    q = WrappedNormal(from_centre(way, 1.0), log_scale, 1.0)
    eps = torch.tensor([[0.0, 0, 0], [1.0, -1, 2], [40.0, 0, 0]], dtype=dtype)[:, None, :]
    z = q.from_noise(eps)
    assert (z.norm(dim=-1) < 1).all()
    log_q = q.log_prob(z)
    slopes = torch.autograd.grad(log_q.sum() + z.sum(), (way, log_scale))
    assert log_q.isfinite().all()
    assert all(slope.isfinite().all() for slope in slopes)


def test_single_precision_is_right_where_latents_are_found():
    q = law(3, 1.0)
    z = q.from_noise(normal(200, 4, 3, seed=3))
    single = WrappedNormal(q.loc.float(), q.log_scale.float(), 1.0)
    assert distance(torch.zeros_like(z), z, 1.0).max() > 4
    assert_close(single.log_prob(z.float()).double(), q.log_prob(z), atol=1e-3, rtol=1e-4)
