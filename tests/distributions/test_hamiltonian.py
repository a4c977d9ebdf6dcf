"""A law carried along by leapfrog steps: back to where it began, its density by autograd, its bound on log p(x)."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from worlds import Linear

from vael import Batch
from vael.distributions import DiagonalGaussian, Hamiltonian, StandardGaussian

F64 = torch.float64
ROUNDING = {"atol": 1e-9, "rtol": 1e-9}
ways = pytest.mark.parametrize(("leapfrog", "temperature"), [(1, 1.0), (3, 1.0), (3, 2.5)])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def bent(z: Tensor) -> Tensor:
    """A log-density that is no parabola."""
    return -0.5 * z.square().sum(-1) + torch.sin(2 * z[..., 0] + z[..., 1])


def law(leapfrog: int, temperature: float, step: float = 0.3) -> Hamiltonian:
    base = DiagonalGaussian(0.5 * normal(4, 3, seed=5), 0.3 * normal(4, 3, seed=6))
    return Hamiltonian(base, bent, step, leapfrog, temperature)


@ways
def test_steps_lead_back_to_where_they_began(leapfrog, temperature):
    q, eps = law(leapfrog, temperature), normal(5, 4, 6)
    z, momentum = q.begun(q.from_noise(eps))
    assert_close(z, q.base.from_noise(eps[..., :3]), atol=1e-10, rtol=0)
    assert_close(momentum, eps[..., 3:], atol=1e-10, rtol=0)


@ways
def test_the_density_is_the_noises_over_the_determinant_of_the_way(leapfrog, temperature):
    q, eps = law(leapfrog, temperature), normal(4, 6)
    jacobian = torch.autograd.functional.jacobian(q.from_noise, eps)
    for example in range(4):
        log_det = torch.linalg.slogdet(jacobian[example, :, example])[1]
        log_noise = -0.5 * (eps[example].square().sum() + 6 * math.log(2 * math.pi))
        assert_close(q.log_prob(q.from_noise(eps))[example], log_noise - log_det, **ROUNDING)


def test_the_energy_of_untempered_steps_is_off_by_the_square_of_the_step():
    eps, off = normal(2_000, 4, 6), []
    for step, leapfrog in ((0.2, 5), (0.1, 10)):  # a way of the same length
        q = law(leapfrog, 1.0, step)
        start = torch.cat([q.base.from_noise(eps[..., :3]), eps[..., 3:]], -1)
        energies = [0.5 * pair[..., 3:].square().sum(-1) - bent(pair[..., :3]) for pair in (start, q.from_noise(eps))]
        off.append((energies[1] - energies[0]).abs().mean())
    assert off[0] / off[1] == pytest.approx(4.0, rel=0.1)


@ways
def test_the_gradient_is_that_of_finite_differences(leapfrog, temperature):
    eps = normal(3, 4, 6)

    def value(loc: Tensor, log_scale: Tensor, step: Tensor) -> Tensor:
        q = Hamiltonian(DiagonalGaussian(loc, log_scale), bent, step, leapfrog, temperature)
        z = q.from_noise(eps)
        return (bent(z[..., :3]) - q.log_prob(z)).sum()

    start = (0.5 * normal(4, 3, seed=5), 0.3 * normal(4, 3, seed=6), torch.full((3,), 0.3, dtype=F64))
    assert torch.autograd.gradcheck(value, tuple(part.requires_grad_() for part in start), atol=1e-6)


# ── its bound ────────────────────────────────────────────────────────────────────────────────────────────────


def bounds(step: float, leapfrog: int = 3, temperature: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Per draw and example: the bound after the steps, the plain one from the same noise, and log p(x)."""
    world = Linear.random(latent=2, observed=5, variance=2.0)
    model, x = world.model(torch.zeros(2, dtype=F64), torch.full((2,), 0.6, dtype=F64)), world.sample(6)
    batch, eps = Batch(x), normal(4_000, 6, 4)
    base = model.posterior(x)
    q = Hamiltonian(base, lambda z: model.log_joint(batch, z), step, leapfrog, temperature)
    z = q.from_noise(eps)
    carried = model.log_joint(batch, z[..., :2]) + StandardGaussian(2).log_prob(z[..., 2:]) - q.log_prob(z)
    before = base.from_noise(eps[..., :2])
    return carried.detach(), (model.log_joint(batch, before) - base.log_prob(before)).detach(), world.log_px(x)


def test_steps_of_no_length_leave_the_plain_bound():
    carried, plain, _ = bounds(1e-9)
    assert_close(carried, plain, atol=1e-6, rtol=0)


@pytest.mark.parametrize("temperature", [1.0, 1.5])
def test_the_bound_is_above_the_plain_one_and_below_the_evidence(temperature):
    carried, plain, log_px = bounds(0.25, 3, temperature)
    error = 4 * carried.std(0) / math.sqrt(4_000)
    assert (carried.mean(0) < log_px + error).all()
    gained = carried - plain  # from the same noise
    assert (gained.mean(0) > 4 * gained.std(0) / math.sqrt(4_000)).all()
    ratio = torch.logsumexp(carried, 0) - math.log(4_000)  # its weights' mean is p(x) itself
    spread = torch.exp(carried - log_px).std(0) / math.sqrt(4_000)
    assert ((ratio - log_px).exp() - 1).abs().lt(4 * spread + 1e-12).all()
