"""Rates and activity of single units."""

import torch
from torch.testing import assert_close

from vael.diagnostics import active_units, unit_rates
from vael.distributions import Bits, DiagonalGaussian, LowRankGaussian, OneHot, StandardGaussian, find_kl


def test_unit_rates_add_up_to_the_kl():
    q = DiagonalGaussian(torch.randn(6, 3).double(), torch.randn(6, 3).double())
    whole = find_kl(DiagonalGaussian, StandardGaussian)(q, StandardGaussian(3))
    assert_close(unit_rates(q, StandardGaussian(3)).sum(1), whole, atol=1e-12, rtol=0)


def test_unit_rates_between_diagonals_add_up_too():
    q, p = (DiagonalGaussian(torch.randn(6, 3).double(), torch.randn(6, 3).double()) for _ in range(2))
    assert_close(unit_rates(q, p).sum(1), find_kl(DiagonalGaussian, DiagonalGaussian)(q, p), atol=1e-12, rtol=0)


def test_families_that_do_not_factorise_have_no_unit_rates():
    q = LowRankGaussian(torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1, 2, 1))
    assert unit_rates(q, StandardGaussian(2)) is None


def test_bits_have_rates_of_their_own_and_the_numbers_of_a_choice_have_not():
    q, p = Bits(torch.tensor([[0.5, -2.0]]).double()), Bits(torch.zeros(2).double())
    assert_close(unit_rates(q, p).sum(1), find_kl(Bits, Bits)(q, p), atol=1e-12, rtol=0)
    assert unit_rates(OneHot(torch.zeros(1, 2, 3)), OneHot(torch.zeros(2, 3))) is None


def test_a_unit_is_active_when_its_mean_moves_with_the_data():
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(5000, 3, generator=generator).double() * torch.tensor([1.0, 0.12, 0.05])
    assert active_units(means) == 2  # variances 1, 0.0144, 0.0025 against the threshold 0.01
    assert active_units(means, threshold=0.001) == 3
    assert active_units(means + 7) == 2  # a constant mean is no activity
    assert active_units(means[:1]) == 0
