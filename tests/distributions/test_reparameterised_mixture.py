"""A mixture drawn by conditional distributions: its density, its draws, and the gradient of what they mean.

A mean over draws is a sum over noise by the rectangle rule, which is exact where draws are smooth functions of it.
"""

import math

import pytest
import torch
from scipy.stats import norm
from torch import Tensor
from torch.testing import assert_close

from vael.distributions import DiagonalGaussian, ReparameterisedMixture
from vael.distributions.reparameterised_mixture import drawn

F64 = torch.float64
ROUNDING = {"atol": 1e-9, "rtol": 1e-9}


def law(components: int, dims: int, apart: float = 1.0, examples: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits, loc, log_scale = (
        torch.randn(examples, components, *more, dtype=F64, generator=generator) for more in ((), (dims,), (dims,))
    )
    return [logits, apart * loc, 0.3 * log_scale]


def grid(dims: int, count: int) -> tuple[Tensor, float]:
    """Places `(M, D)` within ±16 and what each stands for: the rectangle rule, exact for smooth laws that end there."""
    line = torch.linspace(-16, 16, count, dtype=F64)
    return torch.cartesian_prod(*[line] * dims).reshape(-1, dims), (32 / (count - 1)) ** dims


@pytest.mark.parametrize("dims", [1, 2])
def test_density_mean_and_variance_are_those_of_quadrature(dims):
    q, (points, cell) = ReparameterisedMixture(*law(3, dims)), grid(dims, 513)
    weight = q.log_prob(points.unsqueeze(1)).exp()[:, 0] * cell
    assert_close(weight.sum(), torch.tensor(1.0, dtype=F64), **ROUNDING)
    assert_close(weight @ points, q.mean[0], **ROUNDING)
    assert_close(weight @ points.square() - (weight @ points).square(), q.variance[0], **ROUNDING)


def test_one_component_is_a_gaussian_noise_for_noise():
    logits, loc, log_scale = law(1, 4, examples=5)
    q, truth = ReparameterisedMixture(logits, loc, log_scale), DiagonalGaussian(loc[:, 0], log_scale[:, 0])
    eps = torch.randn(6, 5, 4, dtype=F64, generator=torch.Generator().manual_seed(1))
    assert_close(q.from_noise(eps), truth.from_noise(eps), **ROUNDING)
    assert_close(q.log_prob(eps), truth.log_prob(eps), **ROUNDING)


@pytest.mark.parametrize("apart", [0.5, 3.0, 40.0])
@pytest.mark.parametrize("spread", [0.3, 2.0])
def test_the_share_below_a_draw_is_that_of_its_noise(apart, spread):
    """Up to fifty scales apart, a scale a hundredth of another; by scipy's Φ, counted from the nearer end."""
    generator = torch.Generator().manual_seed(2)
    logits, loc, log_scale = (torch.randn(100, 4, dtype=F64, generator=generator) for _ in range(3))
    eps = torch.tensor([-6.0, -2.0, 0.0, 0.5, 3.0, 6.0], dtype=F64)[:, None].expand(-1, 100)
    z = drawn(eps, logits.log_softmax(-1), apart * loc, spread * log_scale)
    white = ((z.unsqueeze(-1) - apart * loc) / (spread * log_scale).exp()).numpy()
    weights = logits.softmax(-1).numpy()
    below, beyond = ((weights * tail(white)).sum(-1) for tail in (norm.cdf, norm.sf))
    near = eps.numpy() <= 0
    share = torch.from_numpy(below * near + beyond * ~near)
    assert_close(share, torch.from_numpy(norm.cdf(-abs(eps.numpy()))), atol=0, rtol=1e-9)


def value(z: Tensor) -> Tensor:
    return torch.sin(2 * z[..., 0] + z[..., -1]) + z[..., -1].square() * z[..., 0]


@pytest.mark.parametrize(("dims", "count"), [(1, 1001), (2, 181)])
def test_the_gradient_of_a_mean_over_draws_is_that_of_the_mean(dims, count):
    """Every slope, of the weights too; the truth is autograd's through a sum over places."""
    line = torch.linspace(-7.5, 7.5, count, dtype=F64)
    eps, (points, cell) = torch.cartesian_prod(*[line] * dims).reshape(-1, dims), grid(dims, 513)
    shares = torch.exp(-0.5 * eps.square().sum(-1)) * (15 / (count - 1) / math.sqrt(2 * math.pi)) ** dims
    found = []
    for by_draws in (True, False):
        parameters = [values.requires_grad_() for values in law(3, dims)]
        q = ReparameterisedMixture(*parameters)
        if by_draws:
            mean = shares @ value(q.from_noise(eps.unsqueeze(1)))[:, 0]
        else:
            mean = (value(points) * q.log_prob(points.unsqueeze(1)).exp()[:, 0]).sum() * cell
        slopes = torch.autograd.grad(mean, parameters)
        found.append(torch.cat([mean.reshape(1), *(slope.flatten() for slope in slopes)]))
    assert_close(found[0], found[1], atol=1e-6, rtol=0)
    assert found[1].abs().min() > 0.002


def test_components_all_alike_are_one_whatever_their_weights():
    logits = torch.tensor([[0.3, -2.0, 1.0]], dtype=F64, requires_grad=True)
    loc, log_scale = torch.full((1, 3, 2), 0.7, dtype=F64), torch.full((1, 3, 2), -0.4, dtype=F64)
    eps = torch.randn(5, 1, 2, dtype=F64, generator=torch.Generator().manual_seed(1))
    z = ReparameterisedMixture(logits, loc, log_scale).from_noise(eps)
    assert_close(z, 0.7 + math.exp(-0.4) * eps, **ROUNDING)
    (slope,) = torch.autograd.grad(z.sum(), logits)
    assert_close(slope, torch.zeros(1, 3, dtype=F64), **ROUNDING)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_draws_and_slopes_stay_finite_however_far_apart(dtype):
    logits = torch.tensor([[0.0, -30.0]], dtype=dtype, requires_grad=True)
    loc = torch.tensor([[[-300.0, 0.0], [300.0, 1.0]]], dtype=dtype, requires_grad=True)
    log_scale = torch.tensor([[[-3.0, 0.0], [3.0, 1.0]]], dtype=dtype, requires_grad=True)
    eps = torch.tensor([[-40.0, 0.0], [0.0, 0.0], [40.0, 40.0], [7.0, -3.0]], dtype=dtype)[:, None]
    q = ReparameterisedMixture(logits, loc, log_scale)
    z = q.from_noise(eps)
    assert z.isfinite().all()
    assert q.log_prob(z).isfinite().all()
    assert all(slope.isfinite().all() for slope in torch.autograd.grad(z.sum(), (logits, loc, log_scale)))
