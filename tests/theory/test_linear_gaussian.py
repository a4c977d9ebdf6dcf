"""The linear-Gaussian VAE is probabilistic PCA: every quantity has a closed form, met through the public classes.

Expectations of quadratics are taken exactly, by cubature nodes in place of noise, so the tolerance is rounding: 1e-9.
Golden numbers were computed independently in double precision.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from worlds import Linear, cubature, cubature_for, split_of

from vael import ELBO, IWAE, VAE, Batch, Beta, Capacity, FreeBits
from vael.diagnostics import unit_rates
from vael.distributions import DiagonalGaussian, find_kl
from vael.evidence import Importance, LinearGaussian, closed_form, linear_gaussian

ROUNDING = {"atol": 1e-9, "rtol": 0}
WEIGHT = torch.tensor([[1, 0.5], [0, 1], [1, -1], [0.5, 0]], dtype=torch.float64)


def exact(model: VAE) -> Callable[..., Tensor]:
    """log p(x) of x, and of what is observed of it."""
    return lambda x, observed=None: closed_form(model)(Batch(x, observed=observed))


WORLD = Linear(WEIGHT, torch.zeros(4, dtype=torch.float64), 0.25)
X = torch.tensor([[1, -1, 0.5, 2]], dtype=torch.float64)
LOC, SPREAD = torch.tensor([0.1, -0.2], dtype=torch.float64), torch.tensor([0.3, 0.4], dtype=torch.float64)
EIGENVALUES = torch.tensor([4, 2, 1, 0.3, 0.2, 0.1], dtype=torch.float64)


def number(value: torch.Tensor) -> float:
    return float(value.detach().squeeze())


def test_log_px_is_the_golden_number():
    assert number(exact(WORLD.model())(X)) == pytest.approx(-10.477006172979, abs=1e-9)


def test_the_posterior_is_the_golden_one():
    posterior = linear_gaussian(WORLD.model()).posterior(X)
    assert_close(posterior.loc, torch.tensor([[0.958333333333, -0.208333333333]], dtype=torch.float64), **ROUNDING)
    covariance = torch.tensor([[[0.104166666667, 0.020833333333], [0.020833333333, 0.104166666667]]]).double()
    assert_close(posterior.covariance_matrix, covariance, atol=1e-8, rtol=0)  # the golden digits end there


def test_the_elbo_at_a_given_q_is_the_golden_number():
    terms = WORLD.model(LOC, SPREAD).terms(X, cubature(2))
    assert number(ELBO(draws=4)(terms)) == pytest.approx(-15.453297178679, abs=1e-9)


def test_the_best_diagonal_q_has_the_golden_bound():
    terms = WORLD.model().terms(X, cubature(2))
    assert number(ELBO()(terms)) == pytest.approx(-10.497417170240, abs=1e-9)


def test_no_other_diagonal_q_does_better_than_the_best():
    best = number(ELBO()(WORLD.model().terms(X, cubature(2))))
    precision = torch.linalg.inv(linear_gaussian(WORLD.model()).posterior(X).covariance_matrix[0]).diagonal()
    loc = linear_gaussian(WORLD.model()).posterior(X).loc[0]
    for shift, stretch in [(0.1, 1.0), (-0.1, 1.0), (0.0, 1.2), (0.0, 0.8)]:
        other = WORLD.model(loc + shift, stretch / precision).terms(X, cubature(2))
        assert number(ELBO()(other)) < best - 1e-3


@pytest.mark.parametrize("model", [WORLD.model_with_full_posterior(), WORLD.model_with_low_rank_posterior()])
def test_with_its_own_correlated_posterior_the_bound_is_the_evidence(model):
    assert number(ELBO()(model.terms(X, cubature(2)))) == pytest.approx(-10.477006172979, abs=1e-9)
    log_w = model.terms(X, model.noise(50, 1, seed=0)).log_w
    assert_close(
        log_w, torch.full((50, 1), -10.477006172979, dtype=torch.float64), **ROUNDING
    )  # every single weight is p(x)


@pytest.mark.parametrize("kind", ["full", "low_rank"])
def test_at_its_own_posterior_the_bound_has_no_slope_left(kind):
    """ELBO = log p(x) − KL(q‖posterior): the encoder's gradient is zero there, and away from it points back."""
    model = getattr(WORLD, f"model_with_{kind}_posterior")()
    ELBO()(model.terms(X, cubature(2))).sum().backward()
    assert max(float(p.grad.abs().max()) for p in model.posterior.parameters()) < 1e-9
    for place in range(len(model.posterior.network.head.bias)):
        with torch.no_grad():
            model.posterior.network.head.bias[place] += 0.05
        assert number(ELBO()(model.terms(X, cubature(2)))) < -10.477006172979 - 1e-5
        with torch.no_grad():
            model.posterior.network.head.bias[place] -= 0.05


@pytest.mark.parametrize("kind", ["full", "low_rank"])
def test_gradients_through_a_correlated_posterior_are_finite_differences(kind):
    model = getattr(WORLD, f"model_with_{kind}_posterior")()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)).double()
    noise = model.noise(3, 1, seed=0)
    for objective in (ELBO(draws=3), IWAE(draws=3)):
        model.zero_grad()
        objective(model.terms(X, noise)).sum().backward()
        for name, parameter in model.named_parameters():
            for place in range(parameter.numel()):
                values = []
                for step in (1e-6, -1e-6):
                    with torch.no_grad():
                        parameter.view(-1)[place] += step
                        values.append(number(objective(model.terms(X, noise)).sum()))
                        parameter.view(-1)[place] -= step
                slope = (values[0] - values[1]) / 2e-6
                assert float(parameter.grad.view(-1)[place]) == pytest.approx(slope, rel=1e-5, abs=1e-6), name


@pytest.mark.parametrize(("loc", "spread"), [(LOC, SPREAD), (LOC * 5, SPREAD / 10), (-LOC, SPREAD * 3)])
def test_evidence_is_elbo_plus_divergence_to_the_posterior_for_any_q(loc, spread):
    model = WORLD.model(loc, spread)
    posterior = linear_gaussian(model).posterior(X)
    q = DiagonalGaussian(loc[None], 0.5 * spread.log()[None])
    gap = find_kl(DiagonalGaussian, type(posterior))(q, posterior)
    assert number(ELBO()(model.terms(X, cubature(2))) + gap) == pytest.approx(-10.477006172979, abs=1e-9)


def test_the_gap_of_the_best_diagonal_q_is_the_golden_number():
    gap = exact(WORLD.model())(X) - ELBO()(WORLD.model().terms(X, cubature(2)))
    assert number(gap) == pytest.approx(0.020410997260, abs=1e-9)


def test_with_orthogonal_columns_every_single_weight_is_the_evidence():
    world = Linear(torch.diag(torch.tensor([2, 1, 0.5], dtype=torch.float64))[:, :2], torch.ones(3).double(), 0.3)
    x = world.sample(5)
    noise = world.model().noise(7, 5, seed=3)
    log_w = world.model().terms(x, noise).log_w
    assert_close(log_w, world.log_px(x).expand(7, 5), **ROUNDING)  # the posterior is q: no variance at all


def test_exact_evidence_agrees_with_numpy_on_random_worlds():
    for seed in range(5):
        world = Linear.random(latent=3, observed=6, seed=seed)
        x = world.sample(20, seed)
        assert_close(exact(world.model())(x), world.log_px(x), **ROUNDING)


def test_factor_analysis_noise_per_feature_is_in_the_closed_form():
    variance = torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64)
    weight, bias = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)).double(), torch.zeros(3).double()
    law = LinearGaussian(weight, bias, variance)
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(1)).double()
    joint = torch.distributions.MultivariateNormal(bias, weight @ weight.T + torch.diag(variance))
    assert_close(law.evidence().log_prob(x), joint.log_prob(x), **ROUNDING)
    # Bayes' rule at any z: log p(x) = log p(z) + log p(x|z) − log p(z|x)
    z = torch.tensor([0.3, -0.7], dtype=torch.float64)
    likelihood = torch.distributions.Normal(weight @ z + bias, variance.sqrt()).log_prob(x).sum(-1)
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum()
    assert_close(likelihood + prior - law.posterior(x).log_prob(z), joint.log_prob(x), **ROUNDING)


# ── the optimum: probabilistic PCA ───────────────────────────────────────────────────────────────────────────


def principal(eigenvalues: torch.Tensor, latent: int, variance: float, beta: float = 1.0) -> Linear:
    """The optimum for data whose covariance is diag(eigenvalues): w_j² = λ_j − βσ², or 0 where that is negative."""
    kept = torch.clamp(eigenvalues[:latent] - beta * variance, min=0).sqrt()
    weight = torch.zeros(len(eigenvalues), latent, dtype=torch.float64)
    weight[range(latent), range(latent)] = kept
    return Linear(weight, torch.zeros(len(eigenvalues), dtype=torch.float64), variance, beta)


def examples_with(eigenvalues: torch.Tensor) -> torch.Tensor:
    """2d points ±√(d λ_j) e_j whose covariance is exactly diag(eigenvalues)."""
    points = torch.diag((len(eigenvalues) * eigenvalues).sqrt())
    return torch.cat([points, -points])


def test_maximum_likelihood_of_ppca_is_the_golden_number_and_the_elbo_attains_it():
    world, x = principal(EIGENVALUES, 3, 0.2), examples_with(EIGENVALUES)
    terms = world.model().terms(x, cubature_for(3, len(x)))
    assert number(exact(world.model())(x).mean()) == pytest.approx(-7.139195101417, abs=1e-9)
    assert number(ELBO()(terms).mean()) == pytest.approx(-7.139195101417, abs=1e-9)


def test_rates_at_the_optimum_are_half_the_log_of_eigenvalue_over_noise():
    world, x = principal(EIGENVALUES, 3, 0.2), examples_with(EIGENVALUES)
    model = world.model()
    rates = unit_rates(model.posterior(x), model.prior()).mean(0)
    assert_close(rates, torch.tensor([1.497866, 1.151293, 0.804719], dtype=torch.float64), atol=1e-6, rtol=0)
    assert_close(rates, 0.5 * torch.log(EIGENVALUES[:3] / 0.2), **ROUNDING)


def test_posterior_means_at_the_optimum_vary_by_one_minus_noise_over_eigenvalue():
    world, x = principal(EIGENVALUES, 3, 0.2), examples_with(EIGENVALUES)
    loc = world.model().posterior(x).loc
    assert_close(loc.square().mean(0), 1 - 0.2 / EIGENVALUES[:3], **ROUNDING)


@pytest.mark.parametrize(
    ("beta", "active", "rate", "distortion"),
    [(1, 4, 3.210323, 1.3), (2, 3, 2.079442, 2.1), (4, 2, 1.039721, 3.6), (8, 1, 0.346574, 5.6)],
)
def test_beta_law_of_active_units_rates_and_distortions(beta, active, rate, distortion):
    world, x = principal(EIGENVALUES, 6, 0.25, beta), examples_with(EIGENVALUES)
    model = world.model()
    terms = model.terms(x, cubature_for(6, len(x)))
    assert int((unit_rates(model.posterior(x), model.prior()).mean(0) > 1e-9).sum()) == active
    assert number(terms.rate.mean()) == pytest.approx(rate, abs=1e-6)
    # D(σ²): −E log p(x|z) = (d/2) ln 2πσ² + E‖x − Wz‖² / 2σ², of which the decoding of the mean is `distortion`.
    decoded = model.likelihood(model.posterior(x).loc).mean
    assert number((x - decoded).square().sum(-1).mean()) == pytest.approx(expected_error(beta), abs=1e-9)
    assert distortion == pytest.approx(float(torch.clamp(EIGENVALUES, max=beta * 0.25).sum()), abs=1e-9)
    total = 2 * 0.25 * (terms.distortion.mean() - 3 * math.log(2 * math.pi * 0.25))
    assert number(total) == pytest.approx(distortion, abs=1e-9)


def expected_error(beta: float) -> float:
    """E‖x − W E[z|x]‖²: an active direction keeps (βσ²)²/λ of its variance, an inactive one all of it."""
    limit = beta * 0.25
    kept = torch.where(limit < EIGENVALUES, limit**2 / EIGENVALUES, EIGENVALUES)
    return float(kept.sum())


@pytest.mark.parametrize("beta", [1.0, 2.0, 4.0, 8.0])
def test_the_beta_optimum_is_where_gradient_ascent_ends(beta):
    """From a random start, with nothing but the public objective: the gradient vanishes at the closed-form value."""
    torch.manual_seed(1)
    x = examples_with(EIGENVALUES)
    model = Linear(0.3 * torch.randn(6, 6).double(), torch.zeros(6).double(), 0.25, beta).model()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4000, tolerance_grad=1e-9, line_search_fn="strong_wolfe")
    objective, noise = Beta(beta=beta), cubature_for(6, len(x))

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = -objective(model.terms(x, noise)).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    best = principal(EIGENVALUES, 6, 0.25, beta).model()
    reached = objective(model.terms(x, noise)).mean()
    assert_close(reached, objective(best.terms(x, noise)).mean(), atol=1e-5, rtol=0)
    assert number(model.terms(x, noise).rate.mean()) == pytest.approx(
        float(0.5 * torch.log(torch.clamp(EIGENVALUES / (beta * 0.25), min=1)).sum()), abs=2e-3
    )


def climbed(objective: object) -> tuple[VAE, torch.Tensor]:
    """A linear model after gradient ascent on `objective` over the six eigenvalues, and its exact noise."""
    torch.manual_seed(1)
    x, noise = examples_with(EIGENVALUES), cubature_for(6, 12)
    model = Linear(0.3 * torch.randn(6, 6).double(), torch.zeros(6).double(), 0.25).model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1200, eta_min=1e-5)
    for _ in range(1200):
        optimizer.zero_grad()
        (-objective(model.terms(x, noise)).mean()).backward()
        optimizer.step()
        schedule.step()
    return model, noise


def test_under_free_bits_no_unit_dies_where_under_the_elbo_two_do():
    """With σ² = 0.25 the eigenvalues 0.2 and 0.1 carry nothing; a floor of 0.3 nats keeps every unit at it or above."""
    x = examples_with(EIGENVALUES)
    rates = {}
    for name, objective in {"elbo": ELBO(), "free": FreeBits(bits=0.3)}.items():
        model, _ = climbed(objective)
        rates[name] = unit_rates(model.posterior(x), model.prior()).mean(0)
    assert int((rates["elbo"] < 0.02).sum()) == 2
    assert rates["free"].min() > 0.3 - 0.02


def test_capacity_ends_on_the_rate_distortion_curve_at_its_capacity():
    """At C nats the least distortion is that of the β whose rate is C: reverse water-filling, here β = 2."""
    model, noise = climbed(Capacity(capacity=2.079442, weight=10.0))
    terms = model.terms(examples_with(EIGENVALUES), noise)
    assert number(terms.rate.mean()) == pytest.approx(2.079442, abs=0.01)
    total = 2 * 0.25 * (terms.distortion.mean() - 3 * math.log(2 * math.pi * 0.25))
    assert number(total) == pytest.approx(2.1, abs=0.01)


def test_optimal_shared_noise_is_the_mean_squared_error_under_q():
    world, x = Linear.random(2, 5), Linear.random(2, 5).sample(50)
    model, noise = world.model(), cubature_for(2, 50)
    terms = model.terms(x, noise)
    error = (x - model.likelihood(terms.latents[0].z).mean).detach().square().mean()
    bounds = []
    for variance in (0.98 * error, error, 1.02 * error):
        changed = Linear(world.weight, world.bias, float(variance)).model()
        changed.posterior.load_state_dict(model.posterior.state_dict())
        bounds.append(number(ELBO()(changed.terms(x, noise)).mean()))
    assert bounds[1] > bounds[0]
    assert bounds[1] > bounds[2]
    distortion = -bounds[1] - number(terms.rate.mean())
    assert distortion == pytest.approx(2.5 * (math.log(2 * math.pi * float(error)) + 1), abs=1e-9)


# ── masks ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_mask_scores_the_marginal_of_what_is_observed():
    world, x = Linear.random(2, 5), Linear.random(2, 5).sample(3)
    observed = torch.tensor([[True, True, False, True, False]]).expand(3, 5)
    model = world.model(LOC, SPREAD)
    masked = model.terms(Batch(x, observed=observed), cubature_for(2, 3))
    kept = [0, 1, 3]
    smaller = Linear(world.weight[kept], world.bias[kept], world.variance).model(LOC, SPREAD)
    whole = smaller.terms(x[:, kept], cubature_for(2, 3))
    assert_close(masked.elbo, whole.elbo, **ROUNDING)
    assert_close(masked.log_w, whole.log_w, **ROUNDING)


def test_masked_importance_sampling_finds_the_evidence_of_what_is_observed():
    world = Linear.random(2, 5)
    x, observed = world.sample(20), torch.rand(20, 5, generator=torch.Generator().manual_seed(2)) > 0.4
    model = world.model(torch.zeros(2).double(), torch.ones(2).double())  # q = prior: wide enough for any mask
    found = Importance(draws=4000)(model, split_of(x, observed))
    truth = torch.stack(
        [
            Linear(world.weight[seen], world.bias[seen], world.variance).log_px(row[None, seen])[0]
            for row, seen in zip(x, observed, strict=True)
        ]
    )
    wrong = found.value - truth
    assert (wrong.abs() < 4 * found.monte_carlo_error + 1e-9).all()
    assert found.monte_carlo_error.max() < 0.2


# ── bounds in expectation ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("draws", [1, 4, 32])
def test_elbo_below_iwae_below_evidence(draws):
    world = Linear.random(latent=2, observed=5)
    x = world.sample(2_000)
    model = world.model()
    with torch.no_grad():
        model.posterior.network.head.bias[2:] += math.log(2.0)  # a posterior that is too wide
    terms = model.terms(x, model.noise(draws, len(x), seed=0))
    gap = world.log_px(x) - IWAE(draws)(terms)
    assert (terms.log_w.mean(0) <= IWAE(draws)(terms) + 1e-9).all()  # Jensen, example by example, on the same draws
    assert gap.mean() > -3 * gap.std() / len(x) ** 0.5


def test_the_three_forms_of_the_elbo_agree():
    world = Linear.random(latent=2, observed=4)
    x = world.sample(4_000)
    terms = world.model(LOC, SPREAD).terms(x, world.model().noise(8, len(x), seed=1))
    by_kl, by_joint = terms.elbo, terms.log_w.mean(0)
    difference = (by_kl - by_joint).detach()  # both unbiased; the KL is exact in the first
    assert difference.mean().abs() < 4 * difference.std() / len(x) ** 0.5
    assert difference.std() / len(x) ** 0.5 < 0.05


def test_the_exact_evidence_of_a_masked_row_is_that_of_what_is_observed():
    world = Linear.random(2, 5)
    x, observed = world.sample(30), torch.rand(30, 5, generator=torch.Generator().manual_seed(2)) > 0.4
    observed[0] = False
    found = exact(world.model())(torch.where(observed, x, torch.zeros_like(x)), observed)
    assert float(found[0]) == 0.0  # nothing seen, nothing said
    for row, seen, value in list(zip(x, observed, found, strict=True))[1:]:
        if seen.any():
            part = Linear(world.weight[seen], world.bias[seen], world.variance).log_px(row[None, seen])
            assert_close(value, part[0], **ROUNDING)


def test_the_exact_evidence_is_no_less_than_the_bound_under_a_mask():
    from vael import evaluate

    world = Linear.random(2, 5)
    split = split_of(world.sample(200), torch.rand(200, 5, generator=torch.Generator().manual_seed(3)) > 0.3)
    model = world.model(torch.zeros(2).double(), torch.ones(2).double())
    by_form, by_draws = evaluate(model, split), evaluate(model, split, method="importance", draws=4000)
    assert by_form.evidence.method == "exact"
    assert by_form.evidence.value >= by_form.elbo.value
    assert abs(by_form.evidence.value - by_draws.evidence.value) < 4 * by_draws.evidence.monte_carlo_error + 1e-3


def test_a_small_scale_loses_no_digits_in_the_closed_form():
    world = Linear.random(3, 64, variance=1e-4)
    x = world.sample(20)
    assert_close(exact(world.model().float())(x), world.log_px(x), atol=0.2, rtol=1e-4)  # the weights are float32
    assert_close(exact(world.model())(x), world.log_px(x), atol=1e-7, rtol=1e-9)
