"""Variational inference for a log-density that a person wrote, against quadrature."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from vael import RecipeError, ShapeError, TrainingError, approximate
from vael.evidence import Annealed
from vael.posteriors import BernoulliPosterior, GaussianPosterior

# Eight schools (Rubin 1981): effects and their standard errors.
EFFECTS = torch.tensor([28, 8, -3, 7, -1, 1, 18, 12], dtype=torch.float64)
ERRORS = torch.tensor([15, 10, 16, 11, 9, 11, 10, 18], dtype=torch.float64)


def schools(z: Tensor) -> Tensor:
    """log p(effects, μ, log τ): school effects integrated out, μ ~ N(0, 20²), log τ ~ N(1, 1)."""
    mean, log_tau = z[:, :1], z[:, 1:]
    spread = torch.sqrt(torch.exp(2 * log_tau) + ERRORS**2)
    prior = Normal(0.0, 20.0).log_prob(mean) + Normal(1.0, 1.0).log_prob(log_tau)
    return (Normal(mean, spread).log_prob(EFFECTS)).sum(-1) + prior[:, 0]


def by_grid() -> tuple[float, np.ndarray]:
    """log ∫ p̃ and the posterior mean, by the rectangle rule in numpy."""
    mean, log_tau = np.meshgrid(np.linspace(-90, 110, 801), np.linspace(-6, 8, 801), indexing="ij")
    variance = np.exp(2 * log_tau)[..., None] + ERRORS.numpy() ** 2
    log_p = -0.5 * ((EFFECTS.numpy() - mean[..., None]) ** 2 / variance + np.log(2 * np.pi * variance)).sum(-1)
    log_p += -0.5 * (mean / 20) ** 2 - math.log(20) - 0.5 * (log_tau - 1) ** 2 - math.log(2 * math.pi)
    weight = np.exp(log_p - log_p.max())
    cell = (mean[1, 0] - mean[0, 0]) * (log_tau[0, 1] - log_tau[0, 0])
    middle = np.array([(weight * mean).sum(), (weight * log_tau).sum()]) / weight.sum()
    return float(np.log(weight.sum() * cell) + log_p.max()), middle


def test_eight_schools_against_quadrature():
    """3 standard errors for each estimate of the evidence, the errors themselves below 0.02 nats.

    With 30 temperatures the weights have a tail that 400 chains do not see, and their error is too small.
    """
    truth, middle = by_grid()
    found = approximate(schools, 2, steps=1500)
    bound, error = found.elbo(20_000)
    assert truth - 0.1 < bound < truth + 3 * error
    weighed = found.evidence(20_000)
    assert abs(float(weighed.value) - truth) < 3 * float(weighed.monte_carlo_error)
    assert float(weighed.monte_carlo_error) < 0.02
    annealed = found.evidence(annealed=Annealed(temperatures=100, chains=400))
    assert abs(float(annealed.value) - truth) < 3 * float(annealed.monte_carlo_error)
    assert float(annealed.monte_carlo_error) < 0.02
    assert np.abs(found.sample(50_000).mean(0).numpy() - middle).max() < 0.25


def test_a_gaussian_is_found_exactly():
    """The family holds the target: the bound is the evidence, every weight the same."""
    covariance = torch.tensor([[1.0, 0.8], [0.8, 2.0]]).double()
    target = torch.distributions.MultivariateNormal(torch.tensor([3.0, -1.0]).double(), covariance)
    found = approximate(lambda z: target.log_prob(z) + 7.0, 2)
    log_w = found.log_weights(500)
    assert abs(float(log_w.mean()) - 7.0) < 0.005
    assert float(log_w.std()) < 0.02


def test_the_nearest_gaussian_by_reverse_kl_sits_on_one_of_two_modes():
    """½N(−2, ½²) + ½N(2, ½²): min KL(q‖p) = 0.693053 at N(±1.9998, 0.5004²)."""

    def two_modes(z: Tensor) -> Tensor:
        each = [Normal(centre, 0.5).log_prob(z[:, 0]) for centre in (-2.0, 2.0)]
        return torch.logaddexp(*each) - math.log(2)

    found = approximate(two_modes, 1, posterior=GaussianPosterior(latent=1), begin=torch.tensor([0.5]), steps=3000)
    assert float(found.q.mean.abs()) == pytest.approx(1.9998, abs=0.01)
    assert float(found.q.scale) == pytest.approx(0.5004, abs=0.01)
    bound, error = found.elbo(50_000)
    assert abs(-bound - 0.693053) < 4 * error + 1e-3
    assert error < 0.005


def test_the_same_seed_gives_the_same_law_and_global_state_is_left_alone():
    before = torch.get_rng_state()
    one, two = (approximate(schools, 2, steps=20, seed=3) for _ in range(2))
    assert torch.equal(one.q.mean, two.q.mean)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_cannot_be_is_refused_in_words():
    with pytest.raises(ShapeError, match=r"log_joint returned shape \(\) for z of shape \(16, 2\), expected \(16,\)"):
        approximate(lambda z: z.sum(), 2)
    with pytest.raises(TrainingError, match="step 0: log_joint is not finite at a draw of q"):
        approximate(lambda z: torch.log(z[:, 0]), 1)
    with pytest.raises(RecipeError, match="the posterior has 3 latents, latent is 2"):
        approximate(schools, 2, posterior=GaussianPosterior(latent=3))


def test_a_target_that_teaches_nothing_is_refused():
    with pytest.raises(RecipeError, match="log_joint carries no gradient to z"):
        approximate(lambda z: schools(z.detach()), 2)
    with pytest.raises(RecipeError, match="BernoulliPosterior carry no gradient"):
        approximate(schools, 2, posterior=BernoulliPosterior(latent=2))
    with pytest.raises(ShapeError, match=r"begin has shape \(3,\), expected \(2,\)"):
        approximate(schools, 2, begin=torch.zeros(3))
    with pytest.raises(RecipeError, match="draws must be a whole number of at least 1, got 0"):
        approximate(schools, 2, draws=0)
