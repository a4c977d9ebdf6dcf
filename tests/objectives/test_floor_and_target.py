"""FreeBits, RateFloor and Capacity on literal tensors: the formulas, per example, with gradients and limits."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from vael import ELBO, Beta, Capacity, FreeBits, RecipeError, Terms
from vael.distributions import DiagonalGaussian, StandardGaussian, find_kl, find_unit_kl
from vael.models import Latent
from vael.objectives import RateFloor

F64 = torch.float64
PAIR = (DiagonalGaussian, StandardGaussian)
LOG_PX_Z = torch.tensor([[-10.0, -3.0, -7.0]], dtype=F64)  # (K, B) = (1, 3)
LOCS = [[1.0, 0.0], [2.0, 0.2], [0.0, 0.4]]
# With scale 1 a unit's rate is loc² / 2.
RATES = torch.tensor([[0.5, 0.0], [2.0, 0.02], [0.0, 0.08]], dtype=F64)  # means 5/6 and 1/30


def terms(loc: Tensor, *, by_unit: bool = True) -> Terms:
    q, zero = DiagonalGaussian(loc, torch.zeros_like(loc)), torch.zeros((), dtype=F64)
    z = loc.detach().unsqueeze(0)
    latent = Latent(q, StandardGaussian(2), z, zero, find_kl(*PAIR), find_unit_kl(*PAIR) if by_unit else None)
    return Terms((latent,), LOG_PX_Z, zero)


def known(requires_grad: bool = False, **options: bool) -> tuple[Tensor, Terms]:
    loc = torch.tensor(LOCS, dtype=F64, requires_grad=requires_grad)
    return loc, terms(loc, **options)


# ── free bits ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_mean_of_free_bits_is_the_papers_formula():
    _, found = known()
    assert_close(found.unit_rate, RATES)
    for bits, charged in [(0.0, 5 / 6 + 1 / 30), (0.02, 5 / 6 + 1 / 30), (0.25, 5 / 6 + 0.25), (1.5, 3.0)]:
        value = FreeBits(bits=bits)(found)
        assert value.shape == (3,)
        assert float(value.mean()) == pytest.approx(-20 / 3 - charged, abs=1e-12)


def test_each_example_pays_its_elbo_and_what_its_units_lack():
    _, found = known()
    lacking = 0.25 - 1 / 30
    expected = LOG_PX_Z[0] - RATES.sum(1) - lacking
    assert_close(FreeBits(bits=0.25)(found), expected)


def test_a_unit_below_the_floor_gets_no_gradient_from_its_rate():
    loc, found = known(requires_grad=True)
    FreeBits(bits=0.25)(found).sum().backward()
    expected = torch.tensor([[-1.0, 0.0], [-2.0, 0.0], [-0.0, 0.0]], dtype=F64)  # −loc, but for the second unit
    assert_close(loc.grad, expected)
    loc.grad = None
    ELBO()(terms(loc)).sum().backward()
    assert loc.grad[1:, 1].abs().min() > 0.1  # which under the ELBO it gets


def test_without_a_floor_free_bits_is_the_elbo_in_value_and_gradient():
    loc, found = known(requires_grad=True)
    assert_close(FreeBits(bits=0.0)(found), ELBO()(found))
    one, two = (torch.autograd.grad(of(terms(loc)).sum(), loc)[0] for of in (FreeBits(bits=0.0), ELBO()))
    assert torch.equal(one, two)


def test_a_latent_that_does_not_factorise_is_one_group():
    _, found = known(by_unit=False)
    assert found.unit_rate.shape == (3, 1)
    assert float(FreeBits(bits=0.25)(found).mean()) == pytest.approx(-20 / 3 - (5 / 6 + 1 / 30), abs=1e-12)
    assert float(FreeBits(bits=2.0)(found).mean()) == pytest.approx(-20 / 3 - 2.0, abs=1e-12)


def test_levels_stand_side_by_side_and_a_lower_one_is_averaged_over_the_draws_above():
    per_draw = torch.tensor([[[1.0, 2.0]] * 3, [[3.0, 6.0]] * 3], dtype=F64)  # (K, B, D) = (2, 3, 2)
    q = DiagonalGaussian(torch.tensor(LOCS, dtype=F64), torch.zeros(3, 2, dtype=F64))
    half = torch.tensor(-math.log(2), dtype=F64)
    z = torch.zeros(2, 3, 2, dtype=F64)
    upper = Latent(q, StandardGaussian(2), z, half, find_kl(*PAIR), find_unit_kl(*PAIR))
    lower = Latent(q, q, z, half, lambda q, p: per_draw.sum(-1), lambda q, p: per_draw)
    found = Terms((upper, lower), LOG_PX_Z.expand(2, 3), half)
    expected = torch.cat([RATES, torch.tensor([[2.0, 4.0]] * 3, dtype=F64)], 1)
    assert_close(found.unit_rate, expected)
    assert_close(found.unit_rate.sum(1), found.rate)
    by_example = half.expand(2, 3)  # the same weights, written out for each example
    assert_close(Latent(q, q, z, by_example, None, lambda q, p: per_draw).unit_rate, expected[:, 2:])


@given(
    loc=st.lists(st.floats(-3, 3), min_size=6, max_size=6), bits=st.floats(0, 3), by_unit=st.booleans()
)  # fmt: skip
def test_free_bits_is_nowhere_above_the_elbo_and_is_the_formula(loc, bits, by_unit):
    found = terms(torch.tensor(loc, dtype=F64).reshape(3, 2), by_unit=by_unit)
    value = FreeBits(bits=bits)(found)
    assert (value <= ELBO()(found) + 1e-12).all()
    floored = sum(max(bits, float(mean)) for mean in found.unit_rate.mean(0))
    assert float(value.mean()) == pytest.approx(float(LOG_PX_Z.mean()) - floored, abs=1e-9)


def test_a_warm_up_weighs_what_free_bits_charges():
    _, found = known()
    share = torch.tensor(0.25, dtype=F64)
    warmed = FreeBits(bits=0.25, draws=3).warmed(share)
    assert warmed.draws == 3
    assert float(warmed(found).mean()) == pytest.approx(-20 / 3 - 0.25 * (5 / 6 + 0.25), abs=1e-12)
    share.fill_(1.0)
    assert_close(warmed(found), FreeBits(bits=0.25)(found))
    assert_close(warmed.warmed(0.5)(found), FreeBits(bits=0.25).warmed(0.5)(found))


# ── rate floor ───────────────────────────────────────────────────────────────────────────────────────────────

EACH = RATES.sum(1)  # 0.5, 2.02, 0.08


@pytest.mark.parametrize("floor", [0.0, 0.3, 1.0, 9.0])
def test_an_example_pays_its_rate_or_the_floor(floor):
    _, found = known()
    expected = LOG_PX_Z[0] - torch.tensor([max(floor, float(rate)) for rate in EACH], dtype=F64)
    assert_close(RateFloor(floor=floor)(found), expected)
    assert (RateFloor(floor=floor)(found) <= ELBO()(found)).all()


def test_an_example_below_the_floor_gets_no_gradient_from_its_rate_and_others_all_of_it():
    loc, found = known(requires_grad=True)
    RateFloor(floor=1.0)(found).sum().backward()
    assert_close(loc.grad, torch.tensor([[0.0, 0.0], [-2.0, -0.2], [0.0, 0.0]], dtype=F64))


def test_without_a_floor_it_is_the_elbo_in_value_and_gradient():
    loc, found = known(requires_grad=True)
    assert_close(RateFloor(floor=0.0)(found), ELBO()(found))
    one, two = (torch.autograd.grad(of(terms(loc)).sum(), loc)[0] for of in (RateFloor(floor=0.0), ELBO()))
    assert_close(one, two)


def test_a_warm_up_weighs_what_the_floor_charges():
    _, found = known()
    assert_close(RateFloor(floor=1.0, draws=3).warmed(0.5)(found), LOG_PX_Z[0] - 0.5 * EACH.clamp(min=1.0))


# ── capacity ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("capacity", [0.0, 0.3, 2.0, 30.0])
def test_the_mean_of_capacity_is_the_papers_formula(capacity):
    _, found = known()
    value = Capacity(capacity=capacity, weight=3.0)(found)
    assert value.shape == (3,)
    distance = abs(5 / 6 + 1 / 30 - capacity)
    assert float(value.mean()) == pytest.approx(-20 / 3 - 3.0 * distance, abs=1e-12)


def test_capacity_pulls_the_rate_up_from_below_and_down_from_above():
    for capacity, sign in [(2.0, 1.0), (0.1, -1.0)]:
        loc, found = known(requires_grad=True)
        Capacity(capacity=capacity, weight=3.0)(found).sum().backward()
        assert_close(loc.grad, sign * 3.0 * loc.detach())


def test_without_capacity_it_is_beta_and_at_weight_one_the_elbo():
    _, found = known()
    assert_close(Capacity(capacity=0.0, weight=4.0)(found), Beta(beta=4.0)(found))
    assert_close(Capacity(capacity=0.0, weight=1.0)(found), ELBO()(found))


def test_a_warm_up_raises_the_capacity_in_place_and_leaves_the_weight():
    _, found = known()
    share = torch.tensor(0.0, dtype=F64)
    rising = Capacity(capacity=2.0, weight=3.0, draws=2).warmed(share)
    assert rising.draws == 2
    assert_close(rising(found), Beta(beta=3.0)(found))
    share.fill_(0.5)
    assert_close(rising(found), Capacity(capacity=1.0, weight=3.0)(found))
    assert_close(rising.warmed(1.0)(found), Capacity(capacity=2.0, weight=3.0)(found))


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: FreeBits(bits=-0.1), "FreeBits: bits must be at least 0 nats, got -0.1"),
        (lambda: FreeBits(bits=math.nan), "bits must be at least 0 nats, got nan"),
        (lambda: FreeBits(draws=0), "FreeBits: draws must be at least 1, got 0"),
        (lambda: RateFloor(floor=-1.0), "RateFloor: floor must be at least 0 nats, got -1"),
        (lambda: RateFloor(draws=0), "RateFloor: draws must be at least 1, got 0"),
        (lambda: Capacity(capacity=-1.0), "Capacity: capacity must be at least 0 nats, got -1"),
        (lambda: Capacity(weight=0.0), "Capacity: weight must be above 0, got 0"),
        (lambda: Capacity(draws=0), "Capacity: draws must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_is_refused(make, complaint):
    with pytest.raises(RecipeError, match=complaint):
        make()
