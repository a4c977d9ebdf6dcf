"""Bessel functions of every order against scipy's, values and slopes, from 1e-3 to 1e4."""

import numpy as np
import pytest
import torch
from scipy.special import ive
from torch.testing import assert_close

from vael.distributions import bessel_ratio, log_bessel

X = torch.logspace(-3, 4, 400, dtype=torch.float64)  # on both sides of where the series hands over
ORDERS = [dims / 2 - 1 for dims in range(2, 65)]


def scipys(order: float) -> np.ndarray:
    return ive(order, X.numpy())


@pytest.mark.parametrize("orders", [ORDERS[:8], ORDERS[8:24], ORDERS[24:]])
def test_its_logarithm_its_ratio_and_its_slope_are_scipys(orders):
    for order in orders:
        truth, above = scipys(order), scipys(order + 1)
        told = above > 1e-280  # further down scipy's are zero
        x = X.clone().requires_grad_()
        log_i = log_bessel(order, x)
        ours = (log_i + order * x.log()).detach().numpy()
        assert np.abs(np.exp(ours[told] - np.log(truth[told])) - 1).max() < 1e-9
        ratio = torch.from_numpy(above[told] / truth[told])
        assert_close(bessel_ratio(order, X)[told], ratio, atol=0, rtol=1e-9)
        (slope,) = torch.autograd.grad(log_i.sum(), x)
        assert_close(slope[told] + 1, ratio, atol=1e-11, rtol=1e-9)  # the slope is the ratio less one


def test_it_is_smooth_down_to_nothing_and_finite_far_out():
    for order in (0.0, 0.5, 7.0, 31.0):
        x = torch.tensor([1e-30, 1e-6, 1e8, 1e30], dtype=torch.float64, requires_grad=True)
        log_i = log_bessel(order, x)
        (slope,) = torch.autograd.grad(log_i.sum(), x)
        assert log_i.isfinite().all()
        assert slope.isfinite().all()
        ends = [-order * np.log(2) - torch.lgamma(torch.tensor(order + 1, dtype=torch.float64)).item()]
        ends.append(-0.5 * np.log(2 * np.pi * 1e30) - order * np.log(1e30))
        assert_close(log_i[[0, 3]], torch.tensor(ends, dtype=torch.float64), atol=1e-12, rtol=1e-12)


def test_single_precision_is_right_to_its_digits():
    for order in (0.0, 1.5, 31.0):
        double = log_bessel(order, X)
        assert_close(log_bessel(order, X.float()).double(), double, atol=3e-6, rtol=3e-6)
