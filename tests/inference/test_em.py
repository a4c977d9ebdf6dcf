"""EM: log p never falls, its optimum is the closed form's and every other fit's, and scikit-learn agrees.

Data in float64; log p is compared to 1e-9 relative, rounding of sums over the data, or to the 1e-6 at which the
iterations stop.
"""

import math

import numpy as np
import pytest
import torch
from sklearn import decomposition, mixture
from sklearn.datasets import load_digits, load_iris
from torch import Tensor
from torch.testing import assert_close
from worlds import Linear, cubature_for, split_of

from vael import ELBO, VAE, Batch, RecipeError
from vael.data import Split
from vael.evaluation import evaluate
from vael.evidence import closed_form
from vael.inference import begin_at, em, principal_components
from vael.likelihoods import Bernoulli, Gaussian
from vael.models.classical import (
    binary_sparse_coding,
    factor_analysis,
    gaussian_mixture,
    probabilistic_pca,
    spike_slab_sparse_coding,
)
from vael.networks import MLP
from vael.posteriors import EnumeratedPosterior, GaussianPosterior, TruncatedPosterior
from vael.priors import BernoulliPrior, GaussianPrior

F64 = torch.float64
EIGENVALUES = torch.tensor([4, 2, 1, 0.3, 0.2, 0.1], dtype=F64)


def digits() -> Split:
    """300 digits about their mean, their noise of order one: L-BFGS finds an optimum by its scales."""
    x = torch.from_numpy(load_digits().data[:300]) / 8
    return split_of(x - x.mean(0))


def random_rows(rows: int = 200, features: int = 6, seed: int = 0) -> Split:
    return split_of(Linear.random(latent=3, observed=features, seed=seed).sample(rows, seed=seed + 1))


def holes(split: Split, share: float = 0.3) -> Split:
    observed = torch.rand(split.x.shape, generator=torch.Generator().manual_seed(7)) > share
    observed[0] = False  # an example of which nothing is known
    return split_of(torch.where(observed, split.x, 0.0), observed)


def of_spectrum(values: Tensor, rows: int = 64) -> Split:
    """Data whose covariance has exactly these eigenvalues, around (1, 2, …)."""
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randn(rows, len(values), dtype=F64, generator=generator)
    white, _ = torch.linalg.qr(drawn - drawn.mean(0))
    turn, _ = torch.linalg.qr(torch.randn(len(values), len(values), dtype=F64, generator=generator))
    return split_of(math.sqrt(rows) * white * values.sqrt() @ turn + torch.arange(1.0, len(values) + 1).double())


MODELS = {
    "ppca": lambda: probabilistic_pca(6, 2),
    "factor_analysis": lambda: factor_analysis(6, 2),
    "mixture": lambda: gaussian_mixture(6, 3),
    "mixture_per_feature": lambda: gaussian_mixture(6, 3, scale="per_feature"),
    "mixture_shared": lambda: gaussian_mixture(6, 3, scale="shared"),
    "sparse": lambda: binary_sparse_coding(6, 4),
    "spike_slab": lambda: spike_slab_sparse_coding(6, 3),
}
TRUNCATED = {"truncated": lambda: binary_sparse_coding(6, 5, posterior=TruncatedPosterior(5, states=6))}
every = pytest.mark.parametrize("name", MODELS)


def never_falls(history: list[float]) -> bool:
    gains, size = np.diff(history), np.abs(history).max()
    return len(history) > 3 and bool((gains >= -1e-9 * size).all()) and history[-1] > history[0] + 0.01


@pytest.mark.parametrize("name", MODELS | TRUNCATED)
@pytest.mark.parametrize("make", [random_rows, lambda: holes(random_rows())])
def test_log_p_never_falls(name, make):
    model, split = (MODELS | TRUNCATED)[name]().double(), make()
    begin_at(model, split, seed=1)
    history = em(model, split, steps=60)
    assert never_falls(history)


@every
def test_the_history_is_the_mean_log_p_that_evaluation_finds(name):
    model, split = MODELS[name]().double(), random_rows(40)
    split = Split(split.x, split.index, torch.full((40,), 0.75, dtype=F64))  # of a rescaling
    begin_at(model, split)
    before = evaluate(model, split).elbo.value  # the bound is tight: the posterior is exact
    history = em(model, split, steps=5, tolerance=0)
    assert len(history) == 6
    if name not in ("ppca", "factor_analysis"):  # of those the rate is exact and the distortion takes draws
        assert history[0] == pytest.approx(before, abs=1e-9)
        assert history[-1] == pytest.approx(evaluate(model, split).elbo.value, abs=1e-9)
    else:
        assert history[-1] == pytest.approx(float(closed_form(model)(Batch(split.x)).mean()) + 0.75, abs=1e-9)


@every
def test_at_the_end_the_gradient_of_log_p_is_nothing(name):
    model, split = MODELS[name]().double(), random_rows()
    begin_at(model, split, seed=2)
    em(model, split, steps=1500, tolerance=1e-13)
    terms = model.terms(split.x, cubature_for(model.latent, len(split)))
    value = ELBO()(terms).mean()
    for slope in torch.autograd.grad(value, [p for p in model.parameters() if p.requires_grad]):
        assert slope.abs().max() < 1e-2  # EM creeps at its end; a wrong M-step leaves tenths


def test_a_single_precision_model_is_fitted_in_double_and_keeps_its_type():
    split = random_rows()
    single, double = probabilistic_pca(6, 2), probabilistic_pca(6, 2).double()
    histories = []
    for model in (single, double):
        begin_at(model, split)
        histories.append(em(model, split, steps=30))
    assert single.likelihood.network.head.weight.dtype == torch.float32
    assert_close(torch.tensor(histories[0]), torch.tensor(histories[1]), atol=1e-5, rtol=0)
    assert never_falls(histories[0])


def test_principal_components_reach_the_golden_maximum():
    model, split = probabilistic_pca(6, 3).double(), of_spectrum(EIGENVALUES)
    assert principal_components(model, split) == pytest.approx(-7.139195101417, abs=1e-9)
    assert float(closed_form(model)(Batch(split.x)).mean()) == pytest.approx(-7.139195101417, abs=1e-9)
    assert float(model.likelihood.noise_scale(split.x).detach()) ** 2 == pytest.approx(0.2, abs=1e-12)
    rates = ELBO()(model.terms(split.x, cubature_for(3, 64))), model.posterior(split.x)
    assert float(rates[0].mean().detach()) == pytest.approx(-7.139195101417, abs=1e-9)
    # orthogonal columns: components of the posterior are independent, each with the golden rate ½ log(λ_j / σ²)
    law = rates[1]
    each = 0.5 * (law.variance + law.mean.square() - 1 - law.variance.log()).mean(0)
    assert_close(each.detach(), torch.tensor([1.497866, 1.151293, 0.804719], dtype=F64), atol=1e-6, rtol=0)


def test_em_reaches_the_golden_maximum_from_the_data():
    model, split = probabilistic_pca(6, 3).double(), of_spectrum(EIGENVALUES)
    begin_at(model, split)
    history = em(model, split, steps=3000, tolerance=1e-14)
    assert never_falls(history)
    assert history[-1] == pytest.approx(-7.139195101417, abs=1e-8)
    assert float(model.likelihood.noise_scale(split.x).detach()) ** 2 == pytest.approx(0.2, abs=1e-6)


def linear_vae(features: int, latent: int) -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = MLP(features, [], 2 * latent)
        likelihood = Gaussian(MLP(latent, [], features), scale="shared")
        return VAE(GaussianPrior(latent), likelihood, GaussianPosterior(encoder)).double()


def by_gradient(model: VAE, x: Tensor, iterations: int) -> float:
    """The maximum of the analytic ELBO, its quadratics averaged exactly over cubature nodes, by L-BFGS."""
    noise = cubature_for(model.latent, len(x))
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=iterations, tolerance_grad=1e-10, tolerance_change=1e-15, history_size=200,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = -ELBO()(model.terms(x, noise)).mean()
        value.backward()
        return value

    optimizer.step(loss)
    return -float(loss().detach())


@pytest.mark.parametrize(("make", "latent"), [(lambda: of_spectrum(EIGENVALUES), 3), (digits, 3)])
def test_em_eigenvalues_and_a_linear_vae_agree_on_log_p_and_noise(make, latent):
    split = make()
    features = split.x.shape[1]
    closed, steps, slope = (
        probabilistic_pca(features, latent).double(), probabilistic_pca(features, latent).double(),
        linear_vae(features, latent),
    )  # fmt: skip
    best = principal_components(closed, split)
    begin_at(steps, split)
    iterated = em(steps, split, steps=3000, tolerance=1e-14)[-1]
    learned = by_gradient(slope, split.x, 1200)
    assert iterated == pytest.approx(best, abs=1e-6)
    assert learned == pytest.approx(best, abs=1e-6)
    noise = [float(m.likelihood.noise_scale(split.x).detach()) ** 2 for m in (closed, steps, slope)]
    assert noise[1] == pytest.approx(noise[0], abs=1e-6)
    assert noise[2] == pytest.approx(noise[0], abs=1e-6)


def test_with_holes_em_finds_the_maximum_of_the_observed_likelihood():
    """No small move of any parameter raises the mean log p of what is observed, by the evidence room's own marginal."""
    model, split = probabilistic_pca(6, 2).double(), holes(random_rows())
    begin_at(model, split)
    history = em(model, split, steps=3000, tolerance=1e-13)

    def log_px() -> float:
        return float(closed_form(model)(Batch(split.x, observed=split.observed)).mean())

    assert log_px() == pytest.approx(history[-1], abs=1e-9)
    best = log_px()
    for parameter in model.parameters():
        for place in range(min(parameter.numel(), 4)):
            for move in (1e-3, -1e-3):
                with torch.no_grad():
                    parameter.view(-1)[place] += move
                    assert log_px() < best
                    parameter.view(-1)[place] -= move


def test_features_that_hide_tell_the_covariance_they_had():
    """Holes at random in many rows leave the fit near the complete one: (W Wᵀ + σ² I) within sampling error."""
    world = Linear.random(latent=2, observed=6, seed=5, variance=0.3)
    whole = split_of(world.sample(4000, seed=6))
    found = []
    for split in (whole, holes(whole, 0.2)):
        model = probabilistic_pca(6, 2).double()
        begin_at(model, split)
        em(model, split, steps=500)
        weight = model.likelihood.network.head.weight.detach()
        found.append(weight @ weight.T + model.likelihood.noise_scale(weight).detach() ** 2 * torch.eye(6))
    truth = world.weight @ world.weight.T + 0.3 * torch.eye(6)
    assert (found[0] - truth).abs().max() < 0.05 * truth.abs().max()
    assert (found[1] - found[0]).abs().max() < 0.03 * truth.abs().max()


def test_a_mixture_reaches_scikit_learns_log_likelihood_from_the_same_start():
    split = split_of(torch.from_numpy(load_iris().data))
    model = gaussian_mixture(4, 3).double()
    begin_at(model, split, seed=3)
    weight, scale = model.likelihood.network.head.weight.detach(), split.x.std(0, unbiased=False)
    theirs = mixture.GaussianMixture(
        3, covariance_type="diag", reg_covar=0.0, tol=1e-12, max_iter=5000,
        means_init=(weight[:4].T + split.x.mean(0)).numpy(), weights_init=np.full(3, 1 / 3),
        precisions_init=(1 / scale.square()).expand(3, 4).numpy(),
    )  # fmt: skip
    theirs.fit(split.x.numpy())
    history = em(model, split, steps=5000, tolerance=1e-12)
    assert never_falls(history)
    assert history[-1] == pytest.approx(theirs.score(split.x.numpy()), abs=1e-6)
    assert_close(
        model.prior().mean.detach().sort().values, torch.from_numpy(np.sort(theirs.weights_)), atol=1e-4, rtol=0
    )


def test_factor_analysis_reaches_scikit_learns_log_likelihood():
    split = random_rows(400, 8)
    model = factor_analysis(8, 2).double()
    begin_at(model, split)
    history = em(model, split, steps=5000, tolerance=1e-12)
    theirs = decomposition.FactorAnalysis(2, tol=1e-12, max_iter=20_000, svd_method="lapack").fit(split.x.numpy())
    assert history[-1] == pytest.approx(theirs.score(split.x.numpy()), abs=1e-6)
    noise = model.likelihood.noise_scale(split.x).detach().square()
    assert_close(noise, torch.from_numpy(theirs.noise_variance_), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        (linear_vae(4, 2), "needs the model's exact posterior, got GaussianPosterior, which is learned"),
        (VAE(BernoulliPrior(2), Bernoulli(MLP(2, [], 4)), EnumeratedPosterior(2)), "Gaussian likelihood, got Bernou"),
        (VAE(BernoulliPrior(2), Gaussian(MLP(2, [3], 4)), EnumeratedPosterior(2)), "needs an affine decoder"),
        (VAE(BernoulliPrior(2), Gaussian(MLP(2, [], 4), step=1.0), EnumeratedPosterior(2)), "Set its step to 0"),
        (VAE(BernoulliPrior(2), Gaussian(MLP(2, [], 4), scale="optimal"), EnumeratedPosterior(2)), "got 'optimal'"),
        (
            VAE(BernoulliPrior(2), Gaussian(MLP(2, [], 8), scale="per_example"), EnumeratedPosterior(2)),
            "only where z is the one choice of a component",
        ),
    ],
)
def test_what_em_cannot_fit_is_refused_in_words(model, complaint):
    with pytest.raises(RecipeError, match=complaint):
        em(model, random_rows(10, 4))


def test_steps_starts_and_too_many_components_are_refused():
    split = random_rows(10)
    with pytest.raises(RecipeError, match="steps must be at least 1, got 0"):
        em(probabilistic_pca(6, 2), split, steps=0)
    with pytest.raises(RecipeError, match="starts must be at least 1, got 0"):
        begin_at(probabilistic_pca(6, 2), split, starts=0)
    with pytest.raises(RecipeError, match="fewer latents than features, got 6 of 6"):
        principal_components(probabilistic_pca(6, 6), split)
    with pytest.raises(RecipeError, match="needs complete examples; with missing values use em"):
        principal_components(probabilistic_pca(6, 2), holes(split))
    with pytest.raises(RecipeError, match="needs probabilistic PCA"):
        principal_components(factor_analysis(6, 2), split)
