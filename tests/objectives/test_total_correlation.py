"""Total correlation from one batch: by loops over examples and units, in closed form, and in its limits."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch.testing import assert_close
from worlds import Linear, split_of

from vael import ELBO, RecipeError, Terms, Training
from vael.distributions import DiagonalGaussian, FullGaussian, StandardGaussian, find_kl
from vael.models import Latent
from vael.objectives import Objective, TotalCorrelation
from vael.training import Engine

F64 = torch.float64
WORLD = Linear.random(2, 5, seed=4)
X = WORLD.sample(4)
TERMS = WORLD.model().terms(X, WORLD.model().noise(3, 4, seed=0))
COUNTS = {  # weight of row i on example m of a batch of 4 of N = 100, by the distance of m to i
    "stratified": [1 / 100, 97 / 300, 1 / 3, 1 / 3],
    "even": [1 / 100, 99 / 300, 99 / 300, 99 / 300],
    "weighted": [1 / 400] * 4,
}


def linear(examples: int, seed: int) -> tuple[Terms, float]:
    """Means m ~ N(0, C), q(z|x) = N(m, s²): q̄ is N(0, C + s²), and its total correlation is known."""
    covariance = np.array([[1.0, 0.7], [0.7, 0.9]])
    generator = torch.Generator().manual_seed(seed)
    loc = torch.randn(examples, 2, dtype=F64, generator=generator) @ torch.from_numpy(np.linalg.cholesky(covariance)).T
    q = DiagonalGaussian(loc, torch.full_like(loc, math.log(0.5)))
    z = q.from_noise(torch.randn(1, examples, 2, dtype=F64, generator=generator))
    one = torch.zeros((), dtype=F64)
    latent = Latent(q, StandardGaussian(2), z, one, find_kl(DiagonalGaussian, StandardGaussian))
    whole = covariance + 0.25 * np.eye(2)
    truth = 0.5 * (np.log(np.diag(whole)).sum() - np.linalg.slogdet(whole)[1])
    return Terms((latent,), torch.zeros(1, examples, dtype=F64), one), float(truth)


@pytest.mark.parametrize("weights", COUNTS)
def test_total_correlation_is_its_formula_by_loops_over_draws_examples_and_units(weights):
    q, z = TERMS.latents[0].q, TERMS.latents[0].z.detach().numpy()
    loc, scale = q.loc.detach().numpy(), q.scale.detach().numpy()
    expected = np.zeros(4)
    for k in range(3):
        for i in range(4):
            density = scipy.stats.norm.pdf(z[k, i], loc, scale)  # of each example m (rows) and unit
            weight = np.array([COUNTS[weights][(m - i) % 4] for m in range(4)])
            expected[i] += (math.log(weight @ density.prod(1)) - np.log(weight @ density).sum()) / 3
    found = TotalCorrelation(weights=weights, examples=100).total_correlation(TERMS)
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-9)


def test_total_correlation_of_a_linear_encoder_is_that_of_its_gaussian():
    """Of all N = B = 1500 examples, where `even` weights make q̄ itself; 4 standard errors, and the bias of its logs."""
    terms, truth = linear(1500, seed=0)
    found = TotalCorrelation(weights="even", examples=1500).total_correlation(terms)
    error = float(found.std()) / 1500**0.5
    assert truth > 0.1
    assert error < 0.02
    assert abs(float(found.mean()) - truth) < 4 * error + 0.005


def test_a_small_batch_sees_too_little_of_it_and_a_large_one_nearly_all():
    """4096 examples of 100 000 in batches of 8, 64 and 512; 4 standard errors."""
    means, error = [], 0.0
    for batch in (8, 64, 512):
        found = [linear(batch, seed) for seed in range(4096 // batch)]
        objective = TotalCorrelation(examples=100_000)
        seen = torch.cat([objective.total_correlation(terms) for terms, _ in found])
        means.append(float(seen.mean()))
        error = float(seen.std()) / 64
    truth = linear(2, 0)[1]
    assert error < 0.02
    assert means[0] < truth - 0.1
    assert means[0] < means[1] - 4 * error
    assert abs(means[2] - truth) < 4 * error


def test_minibatch_weighted_sampling_is_too_high_by_log_n_for_each_unit_but_one():
    (terms, truth), objective = linear(512, 0), TotalCorrelation(weights="weighted", examples=1000)
    assert float(objective.total_correlation(terms).mean()) == pytest.approx(truth + math.log(1000), abs=0.2)


@pytest.mark.parametrize("beta", [0.0, 1.0, 6.0])
def test_beta_weighs_the_total_correlation_and_at_one_it_is_the_elbo(beta):
    objective = TotalCorrelation(beta=beta, examples=100)
    expected = ELBO()(TERMS) - (beta - 1) * objective.total_correlation(TERMS)
    assert_close(objective(TERMS), expected, atol=1e-12, rtol=0)
    if beta == 1:
        assert torch.equal(objective(TERMS), ELBO()(TERMS))
    else:
        assert float((objective(TERMS) - ELBO()(TERMS)).detach().abs().min()) > 1e-3


def test_a_batch_of_one_example_has_no_total_correlation():
    x = X[:1]
    terms = WORLD.model().terms(x, WORLD.model().noise(3, 1, seed=0))
    for examples in (1, 100):
        assert_close(TotalCorrelation(beta=9.0, examples=examples)(terms), ELBO()(terms))


def test_training_says_how_many_examples_there_are_and_a_number_said_stays():
    def seen(objective: Objective, warm_up: int = 0) -> Objective:
        training = Training(steps=10, batch=4, warm_up=warm_up)
        engine = Engine(WORLD.model(), objective, split_of(WORLD.sample(33)), training, seed=0)
        engine.advance()
        return engine.bound.objective

    assert seen(TotalCorrelation()).examples == 33
    assert seen(TotalCorrelation(), warm_up=5).of.examples == 33
    assert seen(TotalCorrelation(examples=70)).examples == 70


def test_a_warm_up_weighs_rate_and_total_correlation():
    objective = TotalCorrelation(beta=3.0, examples=100, draws=3)
    assert_close(objective.warmed(0.25)(TERMS), -TERMS.distortion - 0.25 * objective.cost(TERMS))


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: TotalCorrelation(beta=-1.0), "TotalCorrelation: beta must be at least 0, got -1"),
        (lambda: TotalCorrelation(weights="odd"), "weights must be one of stratified, even, weighted, got 'odd'"),
        (lambda: TotalCorrelation(examples=0), "examples must be at least 1, got 0"),
        (lambda: TotalCorrelation(draws=0), "TotalCorrelation: draws must be at least 1, got 0"),
        (lambda: TotalCorrelation()(TERMS), "has to know how many training examples there are"),
        (
            lambda: TotalCorrelation(examples=3)(TERMS),
            "needs a batch of at least 2 of the data's examples, got batch 4",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, complaint):
    with pytest.raises(RecipeError, match=complaint):
        make()


def test_units_that_depend_on_each_other_are_refused():
    (latent,) = TERMS.latents
    q = FullGaussian(latent.q.loc, latent.q.log_scale, torch.zeros(4, 2, 2, dtype=F64))
    terms = Terms((Latent(q, latent.p, latent.z, latent.log_measure),), TERMS.log_px_z, TERMS.log_measure)
    with pytest.raises(RecipeError, match=r"independent units, got 1 of FullGaussian"):
        TotalCorrelation(examples=100)(terms)
