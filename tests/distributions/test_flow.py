"""Flows: each map against its own Jacobian and its own inverse."""

import copy

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from vael.distributions import DiagonalGaussian, Flow
from vael.distributions.autoregressive_map import AutoregressiveMap
from vael.distributions.steps import Chain, Householder, OfNetwork, Planar, Radial, Step, Sylvester, Turned, solved
from vael.models.terms import detached

DIMS, EXAMPLES = 4, 3


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def by_network(**arguments: object) -> Step:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = AutoregressiveMap(DIMS, context=2, hidden=[8], **arguments).double()
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return OfNetwork(network, normal(EXAMPLES, 2, seed=5))


def amortised(member: type, place: int = 0, size: float = 1.5) -> Step:
    return member(size * normal(EXAMPLES, member.width(DIMS), seed=6 + place), DIMS, place)


STEPS = {
    "planar": lambda: amortised(Planar),
    "planar_strong": lambda: amortised(Planar, place=1, size=6.0),
    "radial": lambda: amortised(Radial),
    "radial_strong": lambda: amortised(Radial, place=1, size=6.0),
    "householder": lambda: amortised(Householder),
    "sylvester": lambda: amortised(Sylvester),
    "sylvester_turned": lambda: amortised(Sylvester, place=1, size=3.0),
    "affine": by_network,
    "affine_reversed": lambda: by_network(reverse=True),
    "coupling": lambda: by_network(groups=2),
    "spline": lambda: by_network(univariate="spline"),
    "inverse_affine": lambda: Turned(by_network()),
    "chain": lambda: Chain([amortised(Planar), by_network(), Turned(amortised(Radial))]),
}
every = pytest.mark.parametrize("name", STEPS)


@every
def test_the_log_determinant_is_autograds(name):
    step, u = STEPS[name](), normal(EXAMPLES, DIMS)
    z, log_det = step.forward(u)
    whole = torch.autograd.functional.jacobian(lambda u: step.forward(u)[0], u).movedim(2, 1)  # (B, B, D, D)
    own = torch.stack([whole[b, b] for b in range(EXAMPLES)])
    assert_close(log_det, torch.linalg.slogdet(own).logabsdet, atol=1e-10, rtol=1e-10)
    assert not whole[~torch.eye(EXAMPLES, dtype=torch.bool)].any()  # no example feels another
    back, log_inverse = step.backward(z)
    assert_close(log_inverse, -log_det, atol=1e-9, rtol=1e-9)
    assert_close(back, u, atol=1e-9, rtol=1e-9)


@every
def test_the_inverse_undoes_the_step_on_any_draws(name):
    step, u = STEPS[name](), 2 * normal(5, EXAMPLES, DIMS, seed=1)
    z, log_det = step.forward(u)
    assert log_det.shape == (5, EXAMPLES)
    assert (z - u).abs().max() > 0.1  # not nearly the identity
    assert_close(step.inverse(z), u, atol=1e-9, rtol=1e-9)
    assert_close(step.forward(step.inverse(u))[0], u, atol=1e-9, rtol=1e-9)
    assert_close(step.forward(u[2])[0], z[2], atol=1e-12, rtol=0)


@every
def test_the_inverse_has_the_slope_of_the_inverse_function(name):
    """By z and by every number the step is read off: against central differences of its value."""
    step, z = STEPS[name](), normal(EXAMPLES, DIMS, seed=2).requires_grad_()
    torch.autograd.gradcheck(lambda z: step.backward(z), (z,), eps=1e-6, atol=1e-6)
    if hasattr(step, "numbers"):
        numbers = step.numbers.clone().requires_grad_()

        def by_numbers(numbers: Tensor) -> tuple[Tensor, Tensor]:
            return type(step)(numbers, DIMS, step.place).backward(z.detach())

        torch.autograd.gradcheck(by_numbers, (numbers,), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("member", [Planar, Radial, Sylvester, Householder])
def test_numbers_of_zero_are_the_identity_and_have_a_slope_there(member):
    numbers = torch.zeros(EXAMPLES, member.width(DIMS), dtype=torch.float64, requires_grad=True)
    u = normal(5, EXAMPLES, DIMS)
    z, log_det = member(numbers, DIMS).forward(u)
    assert_close(z.abs(), u.abs(), atol=1e-12, rtol=0)  # a reflection turns a sign
    assert_close(log_det, torch.zeros_like(log_det), atol=1e-12, rtol=0)
    (z * normal(DIMS, seed=3)).sum().backward()
    assert torch.isfinite(numbers.grad).all()
    assert (numbers.grad.abs() > 1e-9).any()


@pytest.mark.parametrize("univariate", ["affine", "spline"])
@pytest.mark.parametrize("dims", [1, 2, 5])
@pytest.mark.parametrize("context", [0, 3])
def test_an_autoregressive_map_begins_as_the_identity(univariate, dims, context):
    network = AutoregressiveMap(dims, context=context, univariate=univariate).double()
    u = normal(6, dims)
    z, log_det = network(u, normal(6, context) if context else None)
    assert_close(z, u, atol=1e-12, rtol=0)
    assert_close(log_det, torch.zeros(6).double(), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("groups", "passes"), [(None, DIMS), (2, 2)])
def test_a_map_takes_one_pass_forwards_and_one_for_each_group_backwards(groups, passes):
    step = by_network(groups=groups)
    calls: list[int] = []
    step.map.transform.hyper.register_forward_hook(lambda *_: calls.append(1))
    step.forward(normal(EXAMPLES, DIMS))
    assert len(calls) == 1
    step.inverse(normal(EXAMPLES, DIMS))
    assert len(calls) == 1 + passes


@pytest.mark.parametrize("member", [Planar, Radial, Sylvester, Householder])
@pytest.mark.parametrize("size", [1e-30, 1e-6, 1.0, 100.0])
def test_single_precision_stays_finite_at_any_size(member, size):
    numbers = (size * normal(50, member.width(DIMS), seed=1)).float().requires_grad_()
    step, u = member(numbers, DIMS), 3 * normal(7, 50, DIMS).float()
    z, log_det = step.forward(u)
    back, _ = step.backward(z.detach())
    (z.square().sum() + log_det.sum() + back.square().sum()).backward()
    for value in (z, log_det, back, numbers.grad):
        assert torch.isfinite(value).all()


def test_the_equation_is_solved_to_rounding_in_both_precisions():
    y, gain = 5 * normal(2000), 4 * normal(2000, seed=1)
    rate, shift = 3 * normal(2000, seed=2), normal(2000, seed=3)
    rate = torch.where(gain * rate > -0.999, rate, -rate)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-4)):
        y_, g, r, s = (value.to(dtype) for value in (y, gain, rate, shift))
        a = solved(y_, g, r, s)
        assert_close(a + g * torch.tanh(r * a + s), y_, atol=tolerance, rtol=tolerance)


# ── the law ──────────────────────────────────────────────────────────────────────────────────────────────────


def law(name: str) -> Flow:
    loc, log_scale = normal(EXAMPLES, DIMS, seed=8), normal(EXAMPLES, DIMS, seed=9) / 3
    return Flow(DiagonalGaussian(loc.requires_grad_(), log_scale.requires_grad_()), STEPS[name]())


@every
def test_what_is_remembered_of_draws_is_what_the_inverse_says(name):
    q = law(name)
    z = q.from_noise(normal(6, EXAMPLES, DIMS, seed=4))
    remembered = q.log_prob(z)
    assert remembered is q.drawn_log_prob
    assert_close(q.log_prob(z.clone()), remembered, atol=1e-9, rtol=1e-9)


@every
def test_held_still_it_is_a_function_of_z_alone_also_for_its_own_draws(name):
    q = law(name)
    z = q.from_noise(normal(6, EXAMPLES, DIMS, seed=4))
    other = z.detach().clone().requires_grad_()
    still = detached(q)
    (slope,) = torch.autograd.grad(still.log_prob(z).sum(), z)
    (wanted,) = torch.autograd.grad(q.log_prob(other).sum(), other)
    assert_close(slope, wanted, atol=1e-9, rtol=1e-9)
    assert_close(still.log_prob(z), q.log_prob(z), atol=1e-9, rtol=1e-9)
    assert not still.log_prob(z.detach()).requires_grad
    assert q.log_prob(z.detach()).requires_grad  # and the law itself still learns


@pytest.mark.parametrize("name", ["planar", "radial", "householder", "sylvester", "affine", "spline"])
def test_mean_and_variance_are_near_those_of_many_draws_and_leave_the_memory_alone(name):
    q = law(name)
    z = q.from_noise(normal(20_000, EXAMPLES, DIMS, seed=4))
    mean, variance = q.mean, q.variance
    assert q.drawn is z
    assert ((mean - z.mean(0)).abs() < 5 * z.std(0) / 16).all()  # of 256 draws
    assert ((variance / z.var(0)).log().abs() < 0.8).all()
    assert torch.equal(copy.copy(q).mean, mean)
