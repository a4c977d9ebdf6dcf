"""Over-fitting taken apart, on a linear-Gaussian world where log p(x) and both gaps are known."""

import pytest
import torch
from worlds import Linear, split_of

from vael.diagnostics import gaussian_kl, marginal_gap, overfitting
from vael.evaluation import bounds
from vael.numbers import Number

WORLD = Linear.random(latent=2, observed=6, seed=3)


def scores(world, model, x):
    return bounds(model, split_of(x), draws=50).elbo, world.log_px(x)


def test_the_two_parts_add_up_and_are_zero_for_a_model_that_was_not_fitted():
    train, test = WORLD.sample(2000, seed=1), WORLD.sample(2000, seed=2)
    found = overfitting(scores(WORLD, WORLD.model(), train), scores(WORLD, WORLD.model(), test))
    assert found.whole.value == pytest.approx(found.model.value + found.encoder.value, abs=1e-9)
    for part in (found.whole, found.model, found.encoder):
        assert part.standard_error < 0.1
        assert abs(part.value) < 4 * part.standard_error
    plain = WORLD.model_with_full_posterior()
    middle = WORLD.weight.T @ WORLD.weight + WORLD.variance * torch.eye(2).double()
    gap = 0.5 * float(middle.diagonal().log().sum() - torch.logdet(middle))
    assert plain.latent == 2
    assert found.gap.value == pytest.approx(gap, abs=4 * found.gap.standard_error)


def test_a_density_that_knows_twelve_rows_by_heart_is_the_models_fault():
    """The covariance of twelve rows has a log-likelihood there that other rows do not have, by far."""
    train, test = WORLD.sample(12, seed=1), WORLD.sample(2000, seed=2)
    law = torch.distributions.MultivariateNormal(train.mean(0), torch.cov(train.T) + 1e-3 * torch.eye(6).double())
    one, other = law.log_prob(train), law.log_prob(test)
    found = overfitting((one - 1.0, one), (other - 1.0, other))
    assert found.model.exceeds(1.0)
    assert found.encoder.value == pytest.approx(0, abs=1e-9)
    assert found.whole.value == pytest.approx(float(one.mean() - other.mean()))


def test_a_posterior_that_is_right_on_training_rows_alone_is_the_encoders_fault():
    train, test = WORLD.sample(1000, seed=1), WORLD.sample(1000, seed=2)
    exact, off = WORLD.model_with_full_posterior(), WORLD.model_with_full_posterior()
    with torch.no_grad():
        off.posterior.network.head.bias[:2] += 1.0
    found = overfitting(scores(WORLD, exact, train), scores(WORLD, off, test))
    covariance = WORLD.variance * torch.linalg.inv(
        WORLD.weight.T @ WORLD.weight + WORLD.variance * torch.eye(2).double()
    )
    shift = torch.ones(2).double()
    truth = 0.5 * float(shift @ torch.linalg.solve(covariance, shift))  # KL of two Gaussians of one covariance
    assert found.encoder.standard_error < 0.1 * truth
    assert abs(found.encoder.value - truth) < 4 * found.encoder.standard_error
    assert abs(found.model.value) < 4 * found.model.standard_error


def test_errors_of_two_samples_add_in_squares():
    rows = torch.arange(10.0).double()
    found = overfitting((rows, rows), (2 * rows, 2 * rows))
    assert found.model.value == pytest.approx(-4.5)
    error = float((rows.var() / 10 + 4 * rows.var() / 10).sqrt())
    assert found.model.standard_error == pytest.approx(error)


# ── q̄ by its moments ─────────────────────────────────────────────────────────────────────────────────────────


def test_mean_and_covariance_tell_a_gaussian_from_the_prior():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(20_000, 3, generator=generator).double() * torch.tensor([1.0, 0.5, 2.0]) + torch.tensor([1.0, 0, 0])
    scale = torch.tensor([1.0, 0.5, 2.0]).double()
    truth = 0.5 * float((scale.square() + torch.tensor([1.0, 0, 0]) - 1 - 2 * scale.log()).sum())
    assert gaussian_kl(z) == pytest.approx(truth, abs=0.07)  # four standard errors, mostly of the variance of 4


def test_few_draws_of_the_prior_are_not_taken_for_something_else():
    """Without its correction the divergence of 200 draws of N(0, I₂₀) would be 0.57 nats on average."""
    found = [gaussian_kl(torch.randn(200, 20, generator=torch.Generator().manual_seed(seed))) for seed in range(20)]
    assert sum(found) / 20 < 0.1


def test_the_gap_of_a_model_is_that_of_its_aggregated_posterior():
    moved = WORLD.model(torch.tensor([3.0, 0.0]).double(), torch.ones(2).double())
    assert marginal_gap(moved, split_of(WORLD.sample(4000))) == pytest.approx(4.5, abs=0.15)
    assert marginal_gap(moved, split_of(WORLD.sample(7))) is None


def test_a_measured_mean_exceeds_a_bound_by_its_errors_or_not_at_all():
    assert Number(2.0, 0.2).exceeds(1.0)
    assert not Number(2.0, 0.3).exceeds(1.0)
    assert Number(2.0, None).exceeds(1.0)
    assert str(Number(-2.0, 0.25)) == "−2.00 ± 0.25"
