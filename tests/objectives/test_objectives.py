"""Objectives on literal tensors: sign, unit, reduction, and what each draw weighs."""

import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close
from worlds import Linear

from vael import ELBO, IWAE, Beta, RecipeError, Terms
from vael.distributions import DiagonalGaussian, StandardGaussian, find_kl
from vael.models import Latent, average

F64 = torch.float64
LOG_PX_Z = torch.tensor([[-10.0, -3.0], [-12.0, -1.0]], dtype=F64)  # (K, B) = (2, 2)
Q = DiagonalGaussian(torch.tensor([[1.0], [0.0]], dtype=F64), torch.tensor([[0.0], [math.log(2)]], dtype=F64))
Z = torch.tensor([[[0.5], [1.0]], [[2.0], [-1.0]]], dtype=F64)  # (K, B, D)
LOG_K = torch.tensor(-math.log(2), dtype=F64)
KL = torch.tensor([0.5, 0.5 * (4 - 1 - 2 * math.log(2))], dtype=F64)


def terms(kl: object = find_kl(DiagonalGaussian, StandardGaussian)) -> Terms:
    return Terms((Latent(Q, StandardGaussian(1), Z, LOG_K, kl),), LOG_PX_Z, LOG_K)


def log_normal(z: float, loc: float, scale: float) -> float:
    return -0.5 * ((z - loc) / scale) ** 2 - math.log(scale) - 0.5 * math.log(2 * math.pi)


def expected_log_w() -> torch.Tensor:
    rows = []
    for k in range(2):
        row = []
        for b, (loc, scale) in enumerate([(1.0, 1.0), (0.0, 2.0)]):
            z = float(Z[k, b, 0])
            row.append(float(LOG_PX_Z[k, b]) + log_normal(z, 0, 1) - log_normal(z, loc, scale))
        rows.append(row)
    return torch.tensor(rows, dtype=F64)


def test_the_elbo_is_mean_log_likelihood_minus_the_exact_kl():
    assert_close(ELBO(draws=2)(terms()), torch.tensor([-11.0, -2.0], dtype=F64) - KL)


def test_without_a_registered_kl_the_rate_is_the_mean_log_ratio_of_the_draws():
    ratio = LOG_PX_Z - expected_log_w()
    assert_close(terms(kl=None).rate, ratio.mean(0))
    assert_close(terms(kl=None).elbo, expected_log_w().mean(0))


def test_log_w_holds_likelihood_and_prior_less_posterior():
    assert_close(terms().log_w, expected_log_w())


def test_iwae_is_the_log_of_the_mean_weight():
    weights = expected_log_w().exp()
    assert_close(IWAE(draws=2)(terms()), weights.mean(0).log())


def test_iwae_with_one_draw_is_that_draws_weight():
    one = Terms((Latent(Q, StandardGaussian(1), Z[:1], LOG_K * 0, None),), LOG_PX_Z[:1], LOG_K * 0)
    assert_close(IWAE(draws=1)(one), expected_log_w()[0])


def test_beta_weighs_the_rate_and_nothing_else():
    for beta in (0.0, 0.5, 4.0):
        assert_close(Beta(beta=beta)(terms()), torch.tensor([-11.0, -2.0], dtype=F64) - beta * KL)
    assert_close(Beta(beta=1.0)(terms()), ELBO()(terms()))


def test_rate_and_distortion_add_up_to_minus_the_elbo():
    found = terms()
    assert_close(found.rate + found.distortion, -found.elbo)


def test_a_warm_up_moves_the_weight_of_the_rate_in_place():
    share = torch.tensor(0.25, dtype=F64)
    warmed = ELBO(draws=2).warmed(share)
    assert warmed.draws == 2
    assert_close(warmed(terms()), torch.tensor([-11.0, -2.0], dtype=F64) - 0.25 * KL)
    share.fill_(1.0)
    assert_close(warmed(terms()), ELBO()(terms()))
    assert_close(Beta(beta=4.0).warmed(0.5)(terms()), Beta(beta=2.0)(terms()))


def test_an_enumerated_latent_makes_iwae_exact_and_means_into_sums():
    """z in {0, 1, 2} with prior π and posterior weights q: log_measure = log q in place of −log K."""
    prior = torch.tensor([0.5, 0.3, 0.2], dtype=F64)
    likelihood = torch.tensor([0.1, 0.7, 0.4], dtype=F64)
    q = torch.tensor([0.2, 0.5, 0.3], dtype=F64)

    class Known:
        def __init__(self, p: torch.Tensor) -> None:
            self.p = p

        def log_prob(self, z: torch.Tensor) -> torch.Tensor:
            return self.p.log()[z.long().squeeze(-1)]

    z = torch.arange(3, dtype=F64).reshape(3, 1, 1)
    log_measure = q.log().reshape(3, 1)
    found = Terms((Latent(Known(q), Known(prior), z, log_measure),), likelihood.log().reshape(3, 1), log_measure)
    assert_close(IWAE(draws=3)(found), (prior * likelihood).sum().log().reshape(1))
    elbo = (q * (likelihood.log() + prior.log() - q.log())).sum()
    assert_close(found.elbo, elbo.reshape(1))


def test_a_lower_levels_kl_is_averaged_over_the_draws_above_it():
    per_draw = torch.tensor([[1.0, 2.0], [3.0, 6.0]], dtype=F64)
    lower = Latent(Q, StandardGaussian(1), Z, LOG_K, lambda q, p: per_draw)
    upper = Latent(Q, StandardGaussian(1), Z, LOG_K, find_kl(DiagonalGaussian, StandardGaussian))
    found = Terms((upper, lower), LOG_PX_Z, LOG_K)
    assert_close(found.rate, KL + torch.tensor([2.0, 4.0], dtype=F64))
    ratio = LOG_PX_Z - expected_log_w()
    assert_close(found.log_w, LOG_PX_Z - 2 * ratio)


def test_the_mean_over_draws_weighs_each_alike():
    values = torch.tensor([[1.0], [3.0], [8.0]], dtype=F64)
    assert_close(average(values, torch.tensor(-math.log(3), dtype=F64)), torch.tensor([4.0], dtype=F64))


@pytest.mark.parametrize("make", [ELBO, Beta, IWAE])
def test_an_objective_without_draws_is_refused(make):
    with pytest.raises(RecipeError, match="draws must be at least 1, got 0"):
        make(draws=0)
    with pytest.raises(RecipeError, match="draws must be at least 1, got -3"):
        replace(make(draws=1), draws=-3)


def test_a_negative_beta_and_a_warmed_iwae_are_refused():
    with pytest.raises(RecipeError, match="beta must be at least 0, got -1"):
        Beta(beta=-1)
    with pytest.raises(RecipeError, match="no rate to warm up"):
        IWAE().warmed(0.5)


def test_a_drawn_rate_makes_the_bound_the_mean_log_weight_with_the_same_expectation():
    world = Linear.random(2, 5)
    model, x = world.model(torch.zeros(2).double(), torch.full((2,), 0.7).double()), world.sample(4)
    terms = model.terms(x, model.noise(20_000, 4, seed=0))
    drawn, closed = ELBO(draws=20_000, rate="drawn")(terms), ELBO(draws=20_000)(terms)
    assert_close(drawn, terms.log_w.mean(0), atol=1e-9, rtol=0)
    error = (terms.latents[0].log_q - terms.latents[0].log_p).std(0) / 20_000**0.5
    assert ((drawn - closed).abs() < 4 * error).all()
    assert (drawn != closed).all()
    assert (error < 0.02).all()
    with pytest.raises(RecipeError, match="rate must be closed or drawn, got 'sampled'"):
        ELBO(rate="sampled")
