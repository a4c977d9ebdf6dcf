"""Closed-form divergences against torch's full-covariance formula, quadrature and draws."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import MultivariateNormal, Normal, kl_divergence
from torch.testing import assert_close

from vael.distributions import DiagonalGaussian, StandardGaussian, find_kl

numbers = st.floats(-3, 3, allow_nan=False)


def gaussian(loc: list[float], log_scale: list[float]) -> DiagonalGaussian:
    return DiagonalGaussian(torch.tensor([loc], dtype=torch.float64), torch.tensor([log_scale], dtype=torch.float64))


def full(q: DiagonalGaussian) -> MultivariateNormal:
    return MultivariateNormal(q.loc, torch.diag_embed(q.variance))


@given(st.lists(numbers, min_size=6, max_size=6))
def test_kl_to_the_standard_normal_is_that_of_full_covariances(values):
    q = gaussian(values[:3], values[3:])
    truth = kl_divergence(full(q), MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double()))
    assert_close(find_kl(DiagonalGaussian, StandardGaussian)(q, StandardGaussian(3)), truth, atol=1e-9, rtol=1e-9)


@given(st.lists(numbers, min_size=8, max_size=8))
def test_kl_between_diagonals_is_that_of_full_covariances(values):
    q, p = gaussian(values[:2], values[2:4]), gaussian(values[4:6], values[6:])
    truth = kl_divergence(full(q), full(p))
    assert_close(find_kl(DiagonalGaussian, DiagonalGaussian)(q, p), truth, atol=1e-9, rtol=1e-9)


def test_kl_to_a_correlated_gaussian_is_torchs():
    q = gaussian([0.1, -0.2], [-0.6, -0.4])
    p = MultivariateNormal(torch.tensor([[0.9, -0.2]]).double(), torch.tensor([[[0.5, 0.3], [0.3, 0.4]]]).double())
    assert_close(find_kl(DiagonalGaussian, MultivariateNormal)(q, p), kl_divergence(full(q), p), atol=1e-9, rtol=0)


def test_kl_is_the_integral_of_q_log_q_over_p():
    q, z = gaussian([0.7], [-0.5]), torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    # written out: torch.distributions turns plain numbers into float32
    log_q = -0.5 * ((z - 0.7) / math.exp(-0.5)) ** 2 + 0.5 - 0.5 * math.log(2 * math.pi)
    log_p = -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
    integral = torch.trapezoid(log_q.exp() * (log_q - log_p), z)
    assert find_kl(DiagonalGaussian, StandardGaussian)(q, StandardGaussian(1)).item() == pytest.approx(
        integral.item(), abs=1e-9
    )


def test_an_unknown_pair_has_no_closed_form():
    assert find_kl(Normal, StandardGaussian) is None
    assert find_kl(None, StandardGaussian) is None


def test_log_prob_and_entropy_are_torchs():
    q, z = gaussian([0.3, -1.0], [0.2, -0.7]), torch.randn(5, 1, 2, generator=torch.Generator().manual_seed(0)).double()
    assert_close(q.log_prob(z), full(q).log_prob(z), atol=1e-12, rtol=0)
    assert_close(q.entropy(), full(q).entropy(), atol=1e-12, rtol=0)
    assert_close(StandardGaussian(2).log_prob(z), Normal(0.0, 1.0).log_prob(z).sum(-1), atol=1e-12, rtol=0)


def test_noise_becomes_draws_of_the_law():
    q = gaussian([0.3, -1.0], [0.2, -0.7])
    eps = torch.randn(200_000, 1, 2, generator=torch.Generator().manual_seed(0)).double()
    z = q.from_noise(eps)[:, 0]
    assert_close(z.mean(0), q.loc[0], atol=4 * 1.3 / 447, rtol=0)
    assert_close(z.std(0), q.scale[0], atol=4 * 1.3 / 632, rtol=0)
