"""The law λ > βσ²: its golden numbers, a numerical optimum it must equal, and what the doctor reads off a model."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.testing import assert_close
from worlds import Linear, split_of

from vael import VAE, RecipeError
from vael.diagnostics import active_by_theory, active_units, decoder_noise, eigenvalues, tradeoff
from vael.diagnostics.draws import at_rest
from vael.likelihoods import Bernoulli
from vael.networks import MLP

VALUES = torch.tensor([4, 2, 1, 0.3, 0.2, 0.1], dtype=torch.float64)
GOLDEN = {1: (4, 3.210323, 1.3), 2: (3, 2.079442, 2.1), 4: (2, 1.039721, 3.6), 8: (1, 0.346574, 5.6)}


@pytest.mark.parametrize("beta", GOLDEN)
def test_reverse_water_filling_has_its_golden_numbers(beta):
    active, rate, squared = GOLDEN[beta]
    found = tradeoff(VALUES, 0.25, beta=beta)
    assert (found.active, active_by_theory(VALUES, 0.25, beta=beta)) == (active, active)
    assert found.rate == pytest.approx(rate, abs=5e-7)
    assert found.squared_error == pytest.approx(squared, abs=1e-12)
    assert found.distortion == pytest.approx(3 * math.log(2 * math.pi * 0.25) + squared / 0.5, abs=1e-12)


@pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
def test_no_posterior_and_decoder_do_better_direction_by_direction(beta):
    """Each direction alone: x ~ N(0, λ), q = N(a x, s²), decoder w z; the best of all (a, s, w) by numerical search."""
    noise, best = 0.25, 0.0
    for value in VALUES.tolist():

        def loss(p: np.ndarray, value: float = value) -> float:
            a, log_s, w = p
            s2 = math.exp(2 * log_s)
            squared = value * (1 - w * a) ** 2 + w * w * s2
            return squared / (2 * noise) + beta * 0.5 * (a * a * value + s2 - 1 - 2 * log_s)

        best += min(
            minimize(loss, start, method="BFGS", options={"gtol": 1e-9}).fun
            for start in ([0.0, 0.0, 0.0], [0.5, -1.0, 1.0], [1.0, -0.3, 2.0])
        )
    found = tradeoff(VALUES, noise, beta=beta)
    constant = 3 * math.log(2 * math.pi * noise)
    assert found.distortion + beta * found.rate - constant == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("beta", [0.5, 1.0, 1.5, 3.0])
@pytest.mark.parametrize("latent", [1, 2, 3])
def test_a_learned_noise_is_the_best_one(beta, latent):
    """A grid of σ² holds nothing better than the closed form."""

    def loss(noise: float) -> float:
        point = tradeoff(VALUES, noise, beta=beta, latent=latent)
        return point.distortion + beta * point.rate

    found = tradeoff(VALUES, None, beta=beta, latent=latent)
    grid = np.exp(np.linspace(math.log(1e-3), math.log(20), 4001))
    assert loss(found.noise) <= min(map(loss, grid)) + 1e-9
    assert found.noise == pytest.approx(float(grid[np.argmin([loss(noise) for noise in grid])]), rel=0.005)


def test_at_beta_one_the_learned_noise_is_the_mean_of_the_discarded_eigenvalues():
    found = tradeoff(VALUES, None, beta=1.0, latent=3)
    assert found.noise == pytest.approx(0.2, abs=1e-12)
    assert found.active == 3
    assert -found.rate - found.distortion == pytest.approx(-7.139195101417, abs=1e-9)  # the likelihood's maximum


def test_as_many_latents_as_features_leave_no_noise_to_learn():
    with pytest.raises(RecipeError, match="the best σ² is 0"):
        tradeoff(VALUES[:2], None, beta=0.5, latent=2)


@pytest.mark.parametrize(("noise", "beta"), [(0.0, 1.0), (0.25, 0.0), (-1.0, 1.0)])
def test_noise_and_beta_are_above_zero(noise, beta):
    with pytest.raises(RecipeError, match="above 0"):
        active_by_theory(VALUES, noise, beta=beta)


def test_eigenvalues_are_those_of_numpy_for_many_rows_and_for_few():
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)).double()
    truth = np.linalg.eigvalsh(np.cov(x.numpy().T, bias=True))[::-1]
    assert_close(eigenvalues(x), torch.from_numpy(truth.copy()))
    few = x[:4]
    truth = np.linalg.eigvalsh(np.cov(few.numpy().T, bias=True))[::-1]
    assert_close(eigenvalues(few), torch.from_numpy(truth.copy()), atol=1e-12, rtol=0)


# ── what the doctor reads off a model ────────────────────────────────────────────────────────────────────────


ABOVE = 1 + 1e-9  # at β = 4 and 8 an eigenvalue is the threshold itself, and rounding decides on which side it falls


def world(beta: float = 1.0) -> Linear:
    """Principal axes along the features, λ = VALUES in the data's covariance, σ² = ¼."""
    weight = torch.zeros(6, 4, dtype=torch.float64)
    weight[range(4), range(4)] = (VALUES[:4] - 0.25).sqrt()
    return Linear(weight, torch.zeros(6).double(), 0.25, beta)


def exactly(examples: int = 4000) -> torch.Tensor:
    """Rows whose covariance is diag(VALUES) to rounding."""
    x = torch.randn(examples, 6, generator=torch.Generator().manual_seed(0)).double()
    x = x - x.mean(0)
    root = torch.linalg.cholesky(x.T @ x / examples)
    return torch.linalg.solve_triangular(root, x.T, upper=False).T * VALUES.sqrt()


@pytest.mark.parametrize("beta", GOLDEN)
def test_the_predicted_units_of_a_linear_gaussian_model_are_the_golden_ones(beta):
    split = split_of(exactly())
    noise = decoder_noise(world().model(), split, split)
    assert noise.scale == pytest.approx(0.5)
    assert noise.fixed
    assert noise.predicted(beta * ABOVE) == GOLDEN[beta][0]
    assert_close(noise.eigenvalues, VALUES / 0.25)


@pytest.mark.parametrize("beta", GOLDEN)
def test_the_best_linear_model_has_as_many_active_units_and_the_golden_rate(beta):
    """W = (Λ − βσ²)^½ where λ > βσ², else 0, with its own encoder: six units, of which the law keeps some."""
    weight = torch.diag((VALUES - beta * 0.25).clamp(min=0).sqrt())
    model = Linear(weight, torch.zeros(6).double(), 0.25, beta).model()
    x = exactly()
    with at_rest(model):
        q = model.posterior(x)
        terms = model.terms(x, model.noise(1, len(x), seed=0))
    active, rate, squared = GOLDEN[beta]
    assert active_units(q.mean) == decoder_noise(model, split_of(x), split_of(x)).predicted(beta * ABOVE) == active
    assert float(terms.rate.mean()) == pytest.approx(rate, abs=5e-7)
    spread = float((x - q.mean @ weight.T).square().sum(1).mean() + (weight.square() * q.variance[0]).sum())
    assert spread == pytest.approx(squared, abs=1e-9)


def test_no_more_units_are_predicted_than_there_are():
    narrow = Linear(world().weight[:, :2], torch.zeros(6).double(), 0.25)
    split = split_of(exactly())
    assert decoder_noise(narrow.model(), split, split).predicted() == 2


def test_errors_are_one_noise_where_the_noise_is_right():
    right = Linear.random(latent=2, observed=5, seed=3)
    x = right.sample(4000)
    split = split_of(x)
    assert decoder_noise(right.model(), split, split).errors == pytest.approx(1.0, abs=0.03)
    wide = Linear(right.weight, right.bias, 25 * right.variance)
    assert decoder_noise(wide.model(), split, split).errors < 0.25


def test_a_law_without_one_noise_has_no_linear_theory():
    plain = world().model()
    model = VAE(plain.prior, Bernoulli(MLP(4, [], 6)), plain.posterior)
    split = split_of(exactly(10))
    assert decoder_noise(model, split, split) is None
    holed = split_of(exactly(10), torch.ones(10, 6, dtype=torch.bool))
    assert decoder_noise(plain, holed, holed) is None
