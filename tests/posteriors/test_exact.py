"""Posteriors by Bayes' rule: log-weights are log p(x), neighbours stay the model's, recipes rebuild them.

Truth is the covariance of x by numpy, a sum over states written out, or quadrature; tolerances are rounding.
"""

import copy

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from worlds import Linear, cubature_for

from vael import ELBO, IWAE, VAE, Batch, RecipeError
from vael.likelihoods import Bernoulli, Gaussian
from vael.models.classical import (
    binary_sparse_coding,
    factor_analysis,
    gaussian_mixture,
    probabilistic_pca,
    spike_slab_sparse_coding,
)
from vael.networks import MLP
from vael.posteriors import (
    EnumeratedPosterior,
    FullGaussianPosterior,
    LinearGaussianPosterior,
    SpikeSlabPosterior,
)
from vael.priors import BernoulliPrior, CategoricalPrior, GaussianPrior, SpikeSlabPrior
from vael.runs.recipe import build_model, describe_model

F64 = torch.float64
ROUNDING = {"atol": 1e-9, "rtol": 0}
GOLDEN = Linear(torch.tensor([[1, 0.5], [0, 1], [1, -1], [0.5, 0]], dtype=F64), torch.zeros(4, dtype=F64), 0.25)


def as_exact(world: Linear) -> VAE:
    plain = world.model()
    return VAE(plain.prior, plain.likelihood, LinearGaussianPosterior(world.latent))


def mixture() -> VAE:
    """π = (.5, .3, .2), μ = (−2, 0, 3), σ = (.5, 1, .7) in one dimension."""
    model = gaussian_mixture(1, 3).double()
    scale = torch.tensor([0.5, 1.0, 0.7], dtype=F64) - model.likelihood.floor
    with torch.no_grad():
        model.prior.logits.copy_(torch.tensor([[0.5, 0.3, 0.2]], dtype=F64).log())
        model.likelihood.network.head.weight.copy_(torch.stack([torch.tensor([-2.0, 0, 3], dtype=F64), scale.log()]))
        model.likelihood.network.head.bias.zero_()
    return model


def random(model: VAE, seed: int = 0) -> VAE:
    model, generator = model.double(), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            size = 0.03 if name.endswith("slow_scale") else 0.3  # a tenth of the log scale
            parameter.copy_(size * torch.randn(parameter.shape, dtype=F64, generator=generator))
    return model


CLASSICAL = {
    "ppca": lambda: random(probabilistic_pca(5, 3)),
    "pictures": lambda: random(factor_analysis((1, 5, 1), 2)),
    "factor_analysis": lambda: random(factor_analysis(5, 2)),
    "mixture": lambda: random(gaussian_mixture(5, 3)),
    "mixture_shared": lambda: random(gaussian_mixture(5, 4, scale="shared")),
    "sparse": lambda: random(binary_sparse_coding(5, 4)),
    "spike_slab": lambda: random(spike_slab_sparse_coding(5, 3)),
    "bernoulli_mixture": lambda: random(
        VAE(CategoricalPrior(3, learned=True), Bernoulli(MLP(3, [], 5)), EnumeratedPosterior(3))
    ),
    "non_linear_bits": lambda: random(VAE(BernoulliPrior(3), Bernoulli(MLP(3, [4], 5)), EnumeratedPosterior(3))),
}
every = pytest.mark.parametrize("name", CLASSICAL)


def data(model: VAE, count: int = 6) -> torch.Tensor:
    x = torch.randn(count, *model.likelihood.event_shape, dtype=F64, generator=torch.Generator().manual_seed(1))
    return (x > 0).double() if isinstance(model.likelihood, Bernoulli) else x


@every
def test_every_log_weight_is_log_px_whatever_the_draw_and_whatever_is_observed(name):
    model = CLASSICAL[name]()
    x = data(model)
    observed = torch.rand(6, 5, generator=torch.Generator().manual_seed(2)) > 0.4
    for batch in (Batch(x), Batch(x, observed=observed)):
        terms = model.terms(batch, model.noise(4, 6, seed=0))
        assert_close(terms.log_w, IWAE(draws=4)(terms).expand(terms.log_w.shape), **ROUNDING)


@every
def test_the_bound_is_log_px_and_its_gradient_that_of_log_px(name):
    model = CLASSICAL[name]()
    x = data(model)
    noise = cubature_for(model.latent, 6)  # the mean of a quadratic is exact
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    bounds = [objective(model.terms(x, noise)) for objective in (ELBO(), IWAE())]
    assert_close(*bounds, **ROUNDING)
    slopes = [torch.autograd.grad(bound.sum(), parameters) for bound in bounds]
    for one, other in zip(*slopes, strict=True):
        assert_close(one, other, **ROUNDING)
        assert one.abs().max() > 1e-4


def test_linear_gaussian_evidence_and_posterior_are_the_golden_numbers():
    x = torch.tensor([[1, -1, 0.5, 2]], dtype=F64)
    model = as_exact(GOLDEN)
    q = model.posterior(x)
    assert float(model.terms(x, model.noise(1, 1, seed=0)).log_w.detach()) == pytest.approx(-10.477006172979, abs=1e-9)
    assert_close(q.mean[0], torch.tensor([0.958333333333, -0.208333333333], dtype=F64), **ROUNDING)
    truth = torch.tensor([[0.1041667, 0.0208333], [0.0208333, 0.1041667]], dtype=F64)
    assert_close(q.covariance[0], truth, atol=1e-7, rtol=0)  # the golden digits end there


def test_linear_gaussian_evidence_is_that_of_the_covariance_by_numpy():
    world = Linear.random(latent=3, observed=7, seed=4)
    model, x = as_exact(world), world.sample(20, seed=5)
    assert_close(model.terms(x, model.noise(2, 20, seed=0)).log_w, world.log_px(x).expand(2, 20), **ROUNDING)


def test_with_holes_the_evidence_is_the_marginals_and_the_imputed_mean_the_conditional():
    """p(x_o) = N(b_o, C_oo) and E[x_m | x_o] = b_m + C_mo C_oo⁻¹ (x_o − b_o), by numpy."""
    world = Linear.random(latent=2, observed=5, seed=1)
    model, x = as_exact(world), world.sample(1, seed=2)
    covariance = (world.weight @ world.weight.T).numpy() + world.variance * np.eye(5)
    seen = np.array([True, False, True, True, False])
    x_o, b = x[0].numpy()[seen] - world.bias.numpy()[seen], world.bias.numpy()
    inner = covariance[np.ix_(seen, seen)]
    log_px = -0.5 * (3 * np.log(2 * np.pi) + np.linalg.slogdet(inner)[1] + x_o @ np.linalg.solve(inner, x_o))
    imputed = b[~seen] + covariance[np.ix_(~seen, seen)] @ np.linalg.solve(inner, x_o)
    batch = Batch(torch.where(torch.from_numpy(seen), x, torch.nan), observed=torch.from_numpy(seen)[None])
    terms = model.terms(batch, model.noise(1, 1, seed=0))
    assert float(terms.log_w.detach()) == pytest.approx(log_px, abs=1e-9)
    mean = model.likelihood(model.posterior(batch.x, observed=batch.observed).mean).mean
    assert_close(mean[0, torch.from_numpy(~seen)], torch.from_numpy(imputed), **ROUNDING)


@pytest.mark.parametrize(
    ("x", "log_px", "responsibilities"),
    [
        (-1.0, -2.066863433804, [0.426529, 0.573471, 7.3e-8]),
        (0.5, -2.246065123059, None),
        (2.0, -2.859761969555, [8.8e-14, 0.282762, 0.717238]),
    ],
)
def test_the_mixtures_evidence_and_responsibilities_are_the_golden_numbers(x, log_px, responsibilities):
    model = mixture()
    x = torch.tensor([[x]], dtype=F64)
    terms = model.terms(x, model.noise(1, 1, seed=0))
    assert float(IWAE()(terms).detach()) == pytest.approx(log_px, abs=1e-9)
    assert float(ELBO()(terms).detach()) == pytest.approx(log_px, abs=1e-9)
    if responsibilities is not None:
        found = model.posterior(x).mean[0].detach()
        assert_close(found, torch.tensor(responsibilities, dtype=F64), atol=5e-7, rtol=0)


def test_all_states_of_binary_sparse_coding_add_up_to_log_px():
    model = random(binary_sparse_coding(5, 4))
    x, (weight, bias) = data(model), model.likelihood.network.head.parameters()
    scale, on = model.likelihood.noise_scale(bias), torch.sigmoid(model.prior.logits)
    total = torch.zeros(6, dtype=F64)
    for state in range(16):
        z = torch.tensor([state >> j & 1 for j in range(4)], dtype=F64)
        p_z = torch.where(z > 0, on, 1 - on).prod()
        total += p_z * torch.distributions.Normal(weight @ z + bias, scale).log_prob(x).sum(-1).exp()
    terms = model.terms(x, model.noise(1, 6, seed=0))
    assert_close(IWAE()(terms), total.log(), **ROUNDING)


def test_spike_and_slab_is_the_sum_over_patterns_of_gaussians():
    """log Σ_s p(s) N(x; b, W S Wᵀ + σ² I), E[z|x] = Σ_s p(s|x) S Wᵀ C_s⁻¹ (x − b), by numpy; also with holes."""
    model = random(spike_slab_sparse_coding(5, 3))
    x, (weight, bias) = data(model), (p.detach().numpy() for p in model.likelihood.network.head.parameters())
    noise = float(model.likelihood.noise_scale(x).detach()) ** 2
    on = torch.sigmoid(model.prior.logits).detach().numpy()
    for seen in (np.ones(5, dtype=bool), np.array([True, False, True, True, False])):
        log_joint, means = np.zeros((8, 6)), np.zeros((8, 6, 3))
        away = x.numpy()[:, seen] - bias[seen]
        for state in range(8):
            z = np.array([state >> j & 1 for j in range(3)])
            part = weight[seen] * z
            covariance = part @ part.T + noise * np.eye(seen.sum())
            solved = np.linalg.solve(covariance, away.T).T
            quadratic, log_det = (away * solved).sum(1), np.linalg.slogdet(2 * np.pi * covariance)[1]
            log_joint[state] = np.log(np.where(z, on, 1 - on)).sum() - 0.5 * (log_det + quadratic)
            means[state] = solved @ part
        log_px = np.logaddexp.reduce(log_joint, axis=0)
        mean = (np.exp(log_joint - log_px)[..., None] * means).sum(0)
        batch = Batch(x, observed=torch.from_numpy(seen).expand(6, 5))
        terms = model.terms(batch, model.noise(3, 6, seed=0))
        assert_close(terms.log_w.detach(), torch.from_numpy(log_px).expand(3, 6), **ROUNDING)
        assert_close(terms.latents[0].q.mean.detach(), torch.from_numpy(mean), **ROUNDING)


@every
def test_neighbours_are_no_submodules_and_follow_type_copy_and_training(name):
    model = CLASSICAL[name]()
    assert not list(model.posterior.parameters())
    assert not any(key.startswith("posterior") for key in model.state_dict())
    twin, x = copy.deepcopy(model), data(model)
    assert twin.posterior.prior is twin.prior
    assert twin.posterior.likelihood is twin.likelihood
    assert model.posterior.likelihood is model.likelihood
    before = model.posterior(x).mean
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(0.1)
    assert torch.equal(model.posterior(x).mean, before)
    assert not torch.equal(twin.posterior(x).mean, before)
    single = copy.deepcopy(model).float()
    assert single.posterior(x.float()).mean.dtype == torch.float32
    assert_close(single.posterior(x.float()).mean.double(), before, atol=1e-4, rtol=0)


@every
def test_a_recipe_builds_the_model_again(name):
    model = CLASSICAL[name]()
    again = build_model(describe_model(model)).double()
    again.load_state_dict(model.state_dict())
    x = data(model)
    noise = model.noise(2, 6, seed=0)
    assert torch.equal(again.terms(x, noise).log_w, model.terms(x, noise).log_w)


@pytest.mark.parametrize(
    ("prior", "likelihood", "posterior", "complaint"),
    [
        (GaussianPrior(2), Gaussian(MLP(2, [3], 4)), LinearGaussianPosterior(2), "needs an affine decoder"),
        (GaussianPrior(2), Bernoulli(MLP(2, [], 4)), LinearGaussianPosterior(2), "Gaussian likelihood, got Bernoulli"),
        (GaussianPrior(2), Gaussian(MLP(2, [], 4), step=0.5), LinearGaussianPosterior(2), "Set its step to 0"),
        (
            GaussianPrior(2), Gaussian(MLP(2, [], 8), scale="per_example"), LinearGaussianPosterior(2),
            "a number, shared or per_feature, got 'per_example'",
        ),
        (SpikeSlabPrior(2), Gaussian(MLP(2, [], 4)), LinearGaussianPosterior(2), "normal prior, got SpikeSlabPrior"),
        (GaussianPrior(2), Gaussian(MLP(2, [], 4)), SpikeSlabPosterior(2), "needs SpikeSlabPrior, got GaussianPrior"),
        (SpikeSlabPrior(2), Gaussian(MLP(2, [5], 4)), SpikeSlabPosterior(2), "needs an affine decoder"),
        (SpikeSlabPrior(13), Gaussian(MLP(13, [], 4)), SpikeSlabPosterior(13), "at most 12 latents, got 13"),
        (GaussianPrior(2), Gaussian(MLP(2, [], 4)), EnumeratedPosterior(2), "can be listed, .*got GaussianPrior"),
    ],
)  # fmt: skip
def test_a_model_without_such_a_posterior_is_refused(prior, likelihood, posterior, complaint):
    with pytest.raises(RecipeError, match=complaint):
        VAE(prior, likelihood, posterior)


def test_alone_it_says_that_it_belongs_to_no_model():
    with pytest.raises(RecipeError, match="belongs to none yet"):
        LinearGaussianPosterior(2)(torch.zeros(1, 4))
    with pytest.raises(RecipeError, match="latent must be at least 1, got 0"):
        EnumeratedPosterior(0)


def test_its_law_is_the_learned_ones_best():
    """The family of FullGaussianPosterior holds it: same log q at the same z."""
    world = Linear.random(latent=3, observed=6, seed=2)
    x, z = world.sample(4), torch.randn(5, 4, 3, dtype=F64, generator=torch.Generator().manual_seed(3))
    learned = world.model_with_full_posterior()
    assert isinstance(learned.posterior, FullGaussianPosterior)
    assert_close(as_exact(world).posterior(x).log_prob(z), learned.posterior(x).log_prob(z), **ROUNDING)
