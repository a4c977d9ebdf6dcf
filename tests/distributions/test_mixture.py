"""Mixtures against torch's own and against sums by hand."""

import torch
from scipy.stats import multivariate_normal
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.testing import assert_close

from vael.distributions import GaussianMixture, Mixture, mixture
from vael.posteriors import FullGaussianPosterior, GaussianPosterior

ROUNDING = {"atol": 1e-9, "rtol": 1e-9}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def as_torchs(loc: Tensor, log_scale: Tensor, logits: Tensor) -> MixtureSameFamily:
    return MixtureSameFamily(Categorical(logits=logits), Independent(Normal(loc, log_scale.exp()), 1))


def test_log_prob_mean_and_variance_are_torchs():
    loc, log_scale, logits, z = normal(4, 3), normal(4, 3, seed=1) / 2, normal(4, seed=2), normal(6, 5, 3, seed=3)
    truth = as_torchs(loc, log_scale, logits)
    law = GaussianMixture(loc, log_scale, logits)
    read_off = Mixture(torch.cat([loc, log_scale], -1), GaussianPosterior(None, latent=3).law, logits)
    for found in (law, read_off):
        assert_close(found.log_prob(z), truth.log_prob(z), **ROUNDING)
        assert_close(found.mean, truth.mean, **ROUNDING)
        assert_close(found.variance, truth.variance, **ROUNDING)
    eps = normal(7, 2, 3, seed=4)
    assert_close(law.from_noise(eps), read_off.from_noise(eps), **ROUNDING)


def test_a_mixture_of_correlated_laws_is_the_sum_over_them():
    family = FullGaussianPosterior(None, latent=2)
    outputs, logits, z = normal(3, 5), normal(3, seed=1), normal(4, 2, seed=2)
    law, each = Mixture(outputs, family.law, logits), family.law(outputs)
    density = sum(
        weight * torch.from_numpy(multivariate_normal(loc.numpy(), covariance.numpy()).pdf(z.numpy()))
        for weight, loc, covariance in zip(logits.softmax(0), each.mean, each.covariance, strict=True)
    )
    assert_close(law.log_prob(z), density.log(), **ROUNDING)


def test_many_draws_by_parts_are_the_same(monkeypatch):
    law = Mixture(normal(3, 4), GaussianPosterior(None, latent=2).law, normal(3, seed=1))
    z = normal(7, 5, 2, seed=2)
    whole = law.log_prob(z)
    monkeypatch.setattr(mixture, "AT_ONCE", 20)
    assert_close(law.log_prob(z), whole, atol=1e-12, rtol=0)


def test_no_gradient_comes_to_the_weights_by_draws_but_one_to_means_and_scales():
    loc, log_scale, logits = (value.requires_grad_() for value in (normal(2, 3), normal(2, 3, seed=1), normal(2)))
    GaussianMixture(loc, log_scale, logits).from_noise(normal(50, 3, seed=2)).square().sum().backward()
    assert logits.grad is None
    assert (loc.grad.abs() > 1e-9).all()
    assert (log_scale.grad.abs() > 1e-9).all()
