"""Cells of continuous laws: closed forms against mpmath, quadrature against scipy, tails, ends, gradients."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from vael.distributions import Cells, log_end_integral, log_integral, log_interval, log_sinhc
from vael.distributions.cells import log_normal_cdf


def normal_cells(loc: torch.Tensor, scale: torch.Tensor, step: torch.Tensor) -> Cells:
    """A normal law scored by log Φ differences."""
    normal = torch.distributions.Normal(loc, scale)
    return Cells(normal, step, lambda law, value, width: log_interval((value - law.loc) / law.scale, width / law.scale))


def truth(centre: float, width: float) -> float:
    """log(Φ(b) − Φ(a)) by mpmath at 60 digits."""
    import mpmath

    with mpmath.workdps(60):
        a, b = sorted(
            (-abs(mpmath.mpf(centre)) - mpmath.mpf(width) / 2, -abs(mpmath.mpf(centre)) + mpmath.mpf(width) / 2)
        )
        return float(mpmath.log(mpmath.ncdf(b) - mpmath.ncdf(a)))


@given(centre=st.floats(-30, 30), log_width=st.floats(-14, 4))
def test_the_log_mass_of_a_cell_is_exact_in_any_tail_at_any_width(centre, log_width):
    width = 2.718281828459045**log_width
    found = log_interval(torch.tensor(centre, dtype=torch.float64), torch.tensor(width, dtype=torch.float64)).item()
    assert found == pytest.approx(truth(centre, width), rel=1e-8, abs=1e-8)  # the series' own O(w⁴) at w = 0.05


@given(loc=st.floats(-3, 3), log_scale=st.floats(-3, 2), ratio=st.floats(0.01, 3))
def test_the_masses_of_all_cells_sum_to_one(loc, log_scale, ratio):
    scale = 2.718281828459045**log_scale
    step = ratio * scale
    cells = torch.arange(-12 * scale - step, 12 * scale + step, step, dtype=torch.float64) + loc
    law = normal_cells(
        torch.tensor([loc], dtype=torch.float64),
        torch.tensor([scale], dtype=torch.float64),
        torch.tensor([step], dtype=torch.float64),
    )
    assert law.log_prob(cells[:, None]).logsumexp(0).item() == pytest.approx(0.0, abs=1e-8)


def test_a_fine_grid_is_the_density_times_the_step():
    law = normal_cells(torch.zeros(1).double(), torch.ones(1).double(), torch.full((1,), 1e-4, dtype=torch.float64))
    x = torch.tensor([[0.3], [2.0], [-4.0]], dtype=torch.float64)
    density = torch.distributions.Normal(0.0, 1.0).log_prob(x)
    assert_close(law.log_prob(x), density + torch.log(torch.tensor(1e-4, dtype=torch.float64)), atol=1e-8, rtol=0)


def test_where_the_step_is_zero_it_is_the_density():
    step = torch.tensor([0.0, 0.5], dtype=torch.float64)
    law = normal_cells(torch.zeros(2).double(), torch.full((2,), 0.7, dtype=torch.float64), step)
    x = torch.tensor([[0.2, 0.5]], dtype=torch.float64)
    found = law.log_prob(x)[0]
    assert found[0].item() == pytest.approx(
        torch.distributions.Normal(0.0, 0.7).log_prob(torch.tensor(0.2)).item(), abs=1e-6
    )
    assert found[1].item() == pytest.approx(truth(0.5 / 0.7, 0.5 / 0.7), abs=1e-8)


@pytest.mark.parametrize("width", [1e-3, 0.05, 0.2, 3.0])
@pytest.mark.parametrize("centre", [-60.0, -3.0, 0.0, 1e-4, 8.0, 60.0])
def test_gradients_are_finite_and_right(centre, width):
    values = torch.tensor([centre, width], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(log_interval(values[0], values[1]), values)
    h = 1e-5
    slope = (truth(centre + h, width) - truth(centre - h, width)) / (2 * h)
    assert gradient[0].item() == pytest.approx(slope, rel=1e-4, abs=1e-5)
    assert torch.isfinite(gradient).all()


def test_float32_agrees_with_float64_over_the_working_range():
    centre, width = torch.meshgrid(torch.linspace(-8, 8, 81), torch.logspace(-4, 1, 40), indexing="ij")
    single = log_interval(centre, width)
    assert_close(single.double(), log_interval(centre.double(), width.double()), atol=2e-4, rtol=1e-4)


@given(loc=st.floats(-2, 2), log_scale=st.floats(-1, 2), distance=st.floats(-5, 5))
def test_quadrature_over_a_cell_of_two_scales_is_the_interval_probability(loc, log_scale, distance):
    """Eight Gauss–Legendre nodes over two deviations, out to five of them."""
    scale = 2.718281828459045**log_scale
    value, step = (torch.tensor(number, dtype=torch.float64) for number in (loc + distance * scale, scale))
    law = torch.distributions.Normal(torch.tensor(loc, dtype=torch.float64), step)
    expected = log_interval((value - loc) / step, torch.tensor(2.0, dtype=torch.float64))
    assert_close(log_integral(law.log_prob, value - step, value + step), expected, atol=1e-8, rtol=0)


@pytest.mark.parametrize("power", [0.05, 0.3, 0.8, 1.0, 1.7, 6.0])
@pytest.mark.parametrize("width", [0.01, 0.5, 2.0])
def test_the_end_of_a_half_line_is_integrated_through_its_singularity(power, width):
    """∫ t^{a−1} e^{−t} dt from 0 to w is the lower incomplete gamma function, which scipy has."""
    from scipy import special

    at, to = (torch.tensor(number, dtype=torch.float64) for number in (power, width))
    found = log_end_integral(lambda t: -t, at, to)
    expected = math.log(special.gammainc(power, width)) + special.gammaln(power)
    assert float(found) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("centre", [30.0, 1e3, 1e4, 2.4e6])
@pytest.mark.parametrize("width", [0.01, 0.06, 2.0])
def test_in_the_far_tail_values_and_gradients_hold_in_float32(centre, width):
    import mpmath

    c = torch.tensor(centre, requires_grad=True)
    found = log_interval(c, torch.tensor(width))
    found.backward()
    with mpmath.workdps(60):
        a, b = mpmath.mpf(-centre) - mpmath.mpf(width) / 2, mpmath.mpf(-centre) + mpmath.mpf(width) / 2
        if centre < 1e5:  # beyond, the asymptotic slope −(c − w/2) of the nearer end is exact to float32
            slope = -(mpmath.npdf(b) - mpmath.npdf(a)) / (mpmath.ncdf(b) - mpmath.ncdf(a))
            assert found.item() == pytest.approx(truth(centre, width), rel=1e-6)
        else:
            slope = -(centre - width / 2)
    assert c.grad is not None
    assert c.grad.item() == pytest.approx(float(slope), rel=1e-3)  # differences of the ends at c w = 0.3


@pytest.mark.parametrize("half", [1e-4, 0.5, 1e3, 1e8])
def test_the_logarithm_of_sinhc_holds_in_float32(half):
    exact = math.log(math.sinh(half) / half) if half < 700 else half - math.log(2 * half)
    assert log_sinhc(torch.tensor(half)).item() == pytest.approx(exact, rel=2e-7, abs=2e-7)  # rounding of float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_slope_at_nought_is_that_beside_it(dtype):
    """d log Φ / dt at 0 is φ(0)/Φ(0) = √(2/π); the edge of a cell may lie on the centre of its law."""
    at = torch.zeros((), dtype=dtype, requires_grad=True)
    (slope,) = torch.autograd.grad(log_normal_cdf(at), at)
    assert float(slope) == pytest.approx(math.sqrt(2 / math.pi), rel=10 * torch.finfo(dtype).eps)
