"""Interval probabilities of a normal law: masses, tails, narrow and wide cells, gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from vael.distributions import GridNormal, log_interval


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
    law = GridNormal(
        torch.tensor([loc], dtype=torch.float64),
        torch.tensor([scale], dtype=torch.float64),
        torch.tensor([step], dtype=torch.float64),
    )
    assert law.log_prob(cells[:, None]).logsumexp(0).item() == pytest.approx(0.0, abs=1e-8)


def test_a_fine_grid_is_the_density_times_the_step():
    law = GridNormal(torch.zeros(1).double(), torch.ones(1).double(), torch.full((1,), 1e-4, dtype=torch.float64))
    x = torch.tensor([[0.3], [2.0], [-4.0]], dtype=torch.float64)
    density = torch.distributions.Normal(0.0, 1.0).log_prob(x)
    assert_close(law.log_prob(x), density + torch.log(torch.tensor(1e-4, dtype=torch.float64)), atol=1e-8, rtol=0)


def test_where_the_step_is_zero_it_is_the_density():
    step = torch.tensor([0.0, 0.5], dtype=torch.float64)
    law = GridNormal(torch.zeros(2).double(), torch.full((2,), 0.7, dtype=torch.float64), step)
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
