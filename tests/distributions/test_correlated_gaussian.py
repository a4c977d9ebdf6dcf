"""Gaussians with correlated components against torch's full-covariance formulas, over all parameters."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence
from torch.testing import assert_close

from vael.distributions import DiagonalGaussian, FullGaussian, LowRankGaussian, StandardGaussian, find_kl, find_unit_kl

ROUNDING = {"atol": 1e-9, "rtol": 1e-9}
LATENT = 4
numbers = st.floats(-2, 2, allow_nan=False)


def tensor(values: list[float], *shape: int) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(shape)


def full(values: list[float]) -> tuple[FullGaussian, Tensor]:
    """The law of 8 + 16 numbers, and its covariance built by hand."""
    loc, log_scale = tensor(values[:8], 2, 1, LATENT)
    shear = tensor(values[8:24], 1, LATENT, LATENT).tril(-1)
    root = torch.diag_embed(log_scale.exp()) @ (torch.eye(LATENT) + shear)
    return FullGaussian(loc, log_scale, shear), root @ root.mT


def low_rank(values: list[float]) -> tuple[LowRankGaussian, Tensor]:
    """The law of 8 + 2 · 4 numbers, and its covariance built by hand."""
    loc, log_scale = tensor(values[:8], 2, 1, LATENT)
    factor = tensor(values[8:16], 1, LATENT, 2)
    scale = torch.diag_embed(log_scale.exp())
    covariance = scale @ (torch.eye(LATENT).double() + factor @ factor.mT) @ scale
    return LowRankGaussian(loc, log_scale, factor), covariance


both = pytest.mark.parametrize("make", [full, low_rank])


@both
@given(values=st.lists(numbers, min_size=24, max_size=24), eps=st.lists(numbers, min_size=12, max_size=12))
def test_every_formula_is_that_of_the_covariance_built_by_hand(make, values, eps):
    q, covariance = make(values)
    truth = MultivariateNormal(q.loc, covariance)
    noise = tensor(eps, 3, 1, LATENT)
    z = q.from_noise(noise)
    assert_close(q.log_prob(z), truth.log_prob(z), atol=1e-8, rtol=1e-8)  # a condition of up to 1e6 takes two digits
    assert_close(q.entropy(), truth.entropy(), **ROUNDING)
    assert_close(q.variance, truth.variance, **ROUNDING)
    # R undone on what R did: the noise itself
    assert_close(q._by_columns(q.whitened, z - q.loc), noise, atol=1e-8, rtol=1e-8)


@both
@given(values=st.lists(numbers, min_size=24, max_size=24))
def test_the_root_times_its_transpose_is_the_covariance(make, values):
    q, covariance = make(values)
    root = (q.from_noise(torch.eye(LATENT, dtype=torch.float64)[:, None]) - q.loc).movedim(0, -1)
    assert_close(root @ root.mT, covariance, **ROUNDING)


@both
@given(values=st.lists(numbers, min_size=24, max_size=24), other=st.lists(numbers, min_size=8, max_size=8))
def test_kls_are_torchs(make, values, other):
    q, covariance = make(values)
    full_q = MultivariateNormal(q.loc, covariance)
    standard = MultivariateNormal(torch.zeros(LATENT).double(), torch.eye(LATENT).double())
    p = DiagonalGaussian(tensor(other[:4], 1, LATENT), tensor(other[4:], 1, LATENT))
    diagonal = MultivariateNormal(p.loc, torch.diag_embed(p.variance))
    close = {"atol": 1e-9, "rtol": 1e-9}
    assert_close(
        find_kl(type(q), StandardGaussian)(q, StandardGaussian(LATENT)), kl_divergence(full_q, standard), **close
    )
    assert_close(find_kl(type(q), DiagonalGaussian)(q, p), kl_divergence(full_q, diagonal), **close)


@both
def test_they_do_not_factorise_over_units(make):
    q, _ = make([0.1] * 24)
    assert find_unit_kl(type(q), StandardGaussian) is None


def test_whitening_keeps_its_digits_along_a_long_direction():
    """|y|² − |C⁻¹ Vᵀ y|², the textbook form of the exponent, loses half of float32's seven digits here."""
    loc = log_scale = torch.zeros(1, 3)
    factor = torch.tensor([[[2000.0], [1000.0], [-500.0]]])
    q = LowRankGaussian(loc, log_scale, factor)
    truth = LowRankGaussian(loc.double(), log_scale.double(), factor.double())
    eps = torch.tensor([[[1.0, 0.5, -0.5]], [[-1.0, 0.2, 2.0]]])
    z = q.from_noise(eps)
    assert_close(q.log_prob(z).double(), truth.log_prob(z.double()), atol=2e-3, rtol=0)


def test_draws_of_a_batch_and_of_none_agree():
    q, _ = full([0.3] * 24)
    alone = FullGaussian(q.loc[0], q.log_scale[0], q.shear[0])
    eps = torch.randn(5, 1, LATENT, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert_close(alone.from_noise(eps[:, 0]), q.from_noise(eps)[:, 0], **ROUNDING)
    assert_close(alone.log_prob(eps[:, 0]), q.log_prob(eps)[:, 0], **ROUNDING)
    assert alone.entropy().shape == ()
