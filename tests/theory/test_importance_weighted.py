"""Importance-weighted bounds of one Gaussian by another, where the weight's law is known.

World: z ~ N(0, 1), x = 0.75 z + ε, ε ~ N(0, 1), x = 0.625, so p(z|x) = N(0.3, 0.64); q = N(0, 1).
Then r = p(z|x)/q(z) has mean 1 under q, and L_K − log p(x) = E ln (mean of K r's). Golden L_K are Monte Carlo
estimates themselves, with their own standard errors; Var r is exact.
"""

import math

import pytest
import torch
from worlds import Linear, split_of

from vael import ELBO, IWAE
from vael.evidence import Importance

WORLD = Linear(torch.tensor([[0.75]], dtype=torch.float64), torch.zeros(1).double(), 1.0)
X = torch.tensor([[0.625]], dtype=torch.float64)
MODEL = WORLD.model(torch.zeros(1).double(), torch.ones(1).double())
LOG_PX = float(WORLD.log_px(X))
VARIANCE = 0.145198142
GOLDEN = {1: -0.128418949, 2: -0.04674, 5: -0.01586, 10: -0.007562, 50: -0.001466, 100: -0.000728}
GOLDEN_ERROR = {1: 0.0, 2: 5e-5, 5: 1e-5, 10: 6e-6, 50: 6e-6, 100: 3e-6}


def weights(draws: int, examples: int, seed: int) -> torch.Tensor:
    """log r `(K, N)` for N repetitions of the one example, through the model's own terms."""
    with torch.no_grad():
        terms = MODEL.terms(X.expand(examples, 1), MODEL.noise(draws, examples, seed=seed))
    return terms.log_w - LOG_PX


def test_the_elbo_gap_is_the_golden_divergence():
    """KL(N(0, 1) ‖ N(.3, .64)) through the exact KL and cubature of the quadratic: 1e-8, the golden digits."""
    from worlds import cubature

    gap = float(ELBO()(MODEL.terms(X, cubature(1))).detach()) - LOG_PX
    assert gap == pytest.approx(GOLDEN[1], abs=1e-8)


def test_the_weight_has_mean_one_and_the_golden_variance():
    r = weights(1, 1_000_000, seed=0).exp()
    assert abs(r.mean() - 1) < 4 * r.std() / 1000
    spread = (r - 1).square()
    assert abs(spread.mean() - VARIANCE) < 4 * spread.std() / 1000
    assert spread.std() / 1000 < 1e-3


@pytest.mark.parametrize("draws", [2, 5, 10, 50, 100])
def test_the_bound_with_k_draws_is_the_golden_number(draws):
    """E[ln r̄ − (r̄ − 1)] has the mean of ln r̄ and far less variance, since E r̄ = 1."""
    repeats = 2_000_000 // draws
    with torch.no_grad():
        terms = MODEL.terms(X.expand(repeats, 1), MODEL.noise(draws, repeats, seed=draws))
        log_mean = IWAE(draws)(terms) - LOG_PX
    controlled = log_mean - torch.expm1(log_mean)
    error = float(controlled.std() / math.sqrt(repeats))
    assert abs(float(controlled.mean()) - GOLDEN[draws]) < 3 * math.hypot(error, GOLDEN_ERROR[draws])
    assert error < 2e-4


def test_the_gap_closes_like_the_variance_over_twice_the_draws():
    assert GOLDEN[100] == pytest.approx(-VARIANCE / 200, rel=0.01)
    draws, repeats = 400, 20_000
    log_mean = weights(draws, repeats, seed=9).logsumexp(0) - math.log(draws)
    controlled = log_mean - torch.expm1(log_mean)
    assert abs(float(controlled.mean()) + VARIANCE / (2 * draws)) < 4 * float(controlled.std()) / repeats**0.5 + 1e-6


def test_bounds_rise_with_draws_on_the_same_draws():
    log_r = weights(64, 20_000, seed=4)
    previous = log_r.mean()
    for k in (2, 4, 8, 16, 32, 64):
        grouped = log_r.reshape(64 // k, k, -1).logsumexp(1) - math.log(k)
        assert grouped.mean() > previous
        previous = grouped.mean()
    assert previous < 0


def test_the_reported_monte_carlo_error_is_the_spread_of_repeated_estimates():
    x = X.expand(400, 1)
    found = Importance(draws=200)(MODEL, split_of(x))  # 400 independent estimates of one number
    assert float(found.value.std()) == pytest.approx(float(found.monte_carlo_error.mean()), rel=0.12)
    assert float(found.monte_carlo_error.mean()) == pytest.approx(math.sqrt(VARIANCE / 200), rel=0.1)
    # ESS = K / (1 + Var r), by the law of large numbers
    assert float(found.effective_sample_size.mean()) == pytest.approx(200 / (1 + VARIANCE), rel=0.03)
