"""The von Mises–Fisher law: its KL to the uniform one, and draws that are its own, with their gradient.

Draws are held to quadrature by putting the midpoints of equal shares through the inverse of Φ in place of noise.
"""

import math
from itertools import pairwise

import pytest
import torch
from scipy.integrate import quad
from spaces import sphere
from torch import Tensor
from torch.special import ndtr, ndtri
from torch.testing import assert_close

from vael.distributions import UniformSphere, VonMisesFisher, find_kl
from vael.distributions.von_mises_fisher import angle_of

F64 = torch.float64
kappas = pytest.mark.parametrize("kappa", [1e-3, 1.0, 10.0, 300.0, 1e4])
dimensions = pytest.mark.parametrize("dims", [2, 3, 5, 16, 64])


def law(dims: int, *kappa: float) -> VonMisesFisher:
    arrow = torch.randn(len(kappa), dims, dtype=F64, generator=torch.Generator().manual_seed(0))
    return VonMisesFisher(arrow / arrow.norm(dim=-1, keepdim=True), torch.tensor(kappa, dtype=F64))


def below(angle: float, kappa: float, dims: int) -> float:
    """∫₀^angle exp(κ (cos t − 1)) sin(t)^{D−2} dt by scipy's adaptive rule, in pieces as wide as the law."""
    pieces = torch.linspace(0, angle, 12, dtype=F64).tolist()
    return sum(
        quad(
            lambda t: math.exp(-2 * kappa * math.sin(t / 2) ** 2) * math.sin(t) ** (dims - 2),
            *ends,
            epsabs=0,
            epsrel=1e-12,
        )[0]
        for ends in pairwise(pieces)
    )


# ── density ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_kl_to_the_uniform_law_has_its_known_values():
    """κ coth κ − 1 + log κ − log sinh κ on the sphere in R³."""
    kl = find_kl(VonMisesFisher, UniformSphere)(law(3, 1.0, 10.0, 100.0), UniformSphere(3))
    assert_close(kl, torch.tensor([0.1515959239, 1.9957323168, 4.2983173665], dtype=F64), atol=1e-10, rtol=0)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kappa", [1e-2, 1.0, 40.0])
def test_density_moments_and_kl_are_those_of_quadrature(dims, kappa):
    q, (points, cells) = law(dims, kappa), sphere(dims, 400)
    log_q = q.log_prob(points.unsqueeze(1))[:, 0]
    weight = cells * log_q.exp()
    assert_close(weight.sum(), torch.tensor(1.0, dtype=F64), atol=1e-9, rtol=0)
    assert_close(weight @ points, q.mean[0], atol=1e-9, rtol=0)
    assert_close(weight @ points.square() - (weight @ points).square(), q.variance[0], atol=1e-9, rtol=0)
    assert_close((weight * -log_q).sum(), q.entropy()[0], atol=1e-9, rtol=1e-9)
    kl = find_kl(VonMisesFisher, UniformSphere)(q, UniformSphere(dims))[0]
    ratio = log_q - UniformSphere(dims).log_prob(points)
    assert_close((weight * ratio).sum(), kl, atol=1e-9, rtol=1e-9)


def test_the_area_of_a_sphere_is_known():
    for dims, area in ((2, 2 * math.pi), (3, 4 * math.pi), (4, 2 * math.pi**2)):
        assert UniformSphere(dims).log_prob(torch.ones(dims)).item() == pytest.approx(-math.log(area), rel=1e-6)


def test_single_precision_is_right_where_the_law_is_narrow():
    q = law(5, 1.0, 300.0, 1e5)
    z = q.from_noise(torch.randn(50, 3, 5, dtype=F64, generator=torch.Generator().manual_seed(1)))
    single = VonMisesFisher(q.loc.float(), q.concentration.float())
    off = single.log_prob(z.float()).double() - q.log_prob(z)
    assert (off.abs() < torch.tensor([1e-5, 1e-4, 5e-3])).all()  # a step of float32 in z, times its own κ times 1/√κ


# ── draws ────────────────────────────────────────────────────────────────────────────────────────────────────


@dimensions
@kappas
def test_the_share_of_the_law_below_a_drawn_angle_is_that_of_its_noise(dims, kappa):
    eps = torch.tensor([-4.0, -1.0, 0.0, 0.7, 3.0], dtype=F64)
    angle = angle_of(eps, torch.tensor(kappa, dtype=F64), dims)
    whole = below(min(math.pi, 30 * math.sqrt(dims / kappa)), kappa, dims)
    share = [below(t, kappa, dims) / whole for t in angle.tolist()]
    assert_close(torch.tensor(share, dtype=F64), ndtr(eps), atol=1e-12, rtol=1e-9)


@kappas
def test_in_three_dimensions_the_cosine_is_the_closed_inverse(kappa):
    """The cosine is uniform in e^{κw}: w = 1 + log(u + (1 − u) e^{−2κ}) / κ, where u falls as the angle grows."""
    eps = torch.linspace(-5, 5, 41, dtype=F64)
    angle = angle_of(eps, torch.tensor(kappa, dtype=F64), 3)
    height = torch.log1p(ndtr(eps) * math.expm1(-2 * kappa)) / -kappa  # 1 − w
    assert_close(2 * torch.sin(angle / 2).square(), height, atol=1e-10, rtol=1e-8)


@dimensions
@pytest.mark.parametrize("kappa", [0.3, 10.0, 300.0])
def test_the_slope_of_an_angle_is_that_of_its_finite_difference(dims, kappa):
    eps, step = torch.tensor([-3.0, -0.4, 0.0, 1.0, 3.0], dtype=F64), 1e-4 * kappa
    concentration = torch.full((5,), kappa, dtype=F64, requires_grad=True)
    (slope,) = torch.autograd.grad(angle_of(eps, concentration, dims).sum(), concentration)
    after, before = (angle_of(eps, concentration.detach() + sign * step, dims) for sign in (1, -1))
    assert_close(slope, (after - before) / (2 * step), atol=0, rtol=1e-6)  # the difference's own error: step² / κ²


def through_shares(q: VonMisesFisher, value) -> Tensor:
    """The mean of value(z) over draws from the midpoints of 4001 shares of the angle, on both sides, in the plane."""
    middle = (torch.arange(4001, dtype=F64) + 0.5) / 4001
    eps = torch.stack([ndtri(middle).repeat(2), torch.tensor([1.0, -1.0], dtype=F64).repeat_interleave(4001)], -1)
    return value(q.from_noise(eps.unsqueeze(1))).mean()


@pytest.mark.parametrize("start", [(0.6, 0.8), (-0.6, 0.8), (1.0, 0.0), (-1.0, 0.0)])
def test_the_gradient_of_a_mean_over_draws_is_that_of_the_mean(start):
    """In the plane, over shares of the angle in place of noise; the truth is a sum over the circle, by autograd."""
    points, cells = sphere(2, 400)

    def value(z: Tensor) -> Tensor:
        return torch.sin(2 * z[..., 0] + z[..., 1]) + z[..., 1] ** 3

    found = []
    for by_draws in (True, False):
        turn = torch.tensor(math.atan2(start[1], start[0]), dtype=F64, requires_grad=True)
        kappa = torch.tensor([3.0], dtype=F64, requires_grad=True)
        q = VonMisesFisher(torch.stack([turn.cos(), turn.sin()]).unsqueeze(0), kappa)
        mean = (
            through_shares(q, value) if by_draws else (cells * q.log_prob(points[:, None])[:, 0].exp()) @ value(points)
        )
        found.append(
            torch.stack([mean.reshape(()), *(g.reshape(()) for g in torch.autograd.grad(mean, (turn, kappa)))])
        )
    assert_close(found[0], found[1], atol=1e-6, rtol=0)  # midpoints of 4001 shares
    assert found[1][1:].abs().min() > 1e-3


@dimensions
def test_draws_are_unit_vectors_with_the_laws_moments(dims):
    q = law(dims, 0.5, 4.0, 60.0)
    z = q.from_noise(torch.randn(6_000, 3, dims, dtype=F64, generator=torch.Generator().manual_seed(2)))
    assert_close(z.norm(dim=-1), torch.ones(6_000, 3, dtype=F64), atol=1e-12, rtol=0)
    error = 4 * (q.variance / 6_000).sqrt()
    assert ((z.mean(0) - q.mean).abs() < error).float().mean() > 0.99
    assert ((z.var(0) - q.variance).abs() < 0.08 * q.variance + 1e-4).all()  # over four times √(2/6000) of it


def test_draws_and_their_slopes_stay_finite_at_the_edges():
    for dtype in (torch.float32, F64):
        eps = torch.tensor([[-40.0, 0.0, 0.0], [40.0, 1.0, 0.0], [-9.0, 0.0, 1.0], [9.0, 1.0, 1.0]], dtype=dtype)
        for kappa in (1e-3, 1.0, 1e6):
            concentration = torch.full((4,), kappa, dtype=dtype, requires_grad=True)
            loc = torch.tensor([[1.0, 0, 0], [-1.0, 0, 0], [0, 1.0, 0], [0, 0, -1.0]], dtype=dtype)
            z = VonMisesFisher(loc, concentration).from_noise(eps)
            (slope,) = torch.autograd.grad(z.sum(), concentration)
            assert z.isfinite().all()
            assert slope.isfinite().all()
