"""A table's model begins at the linear model of its rows."""

import pytest
import torch
from torch.testing import assert_close

from vael import VAE
from vael.data.batch import Batch
from vael.evidence.exact import LinearGaussian
from vael.inference.linear import begin_linear, components
from vael.likelihoods import Gaussian
from vael.networks import MLP, RowFeatures
from vael.posteriors import FullGaussianPosterior, GaussianPosterior, LowRankGaussianPosterior
from vael.priors import GaussianPrior

FEATURES, LATENT = 5, 2


def rows(count=400):
    """Rows with two causes, of other scales and far from 0."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.tensor([[2.0, 0.0], [1.5, 0.5], [0.0, 1.0], [-0.5, 1.0], [1.0, -1.0]])
    z = torch.randn(count, LATENT, generator=generator)
    x = z @ weight.T + 0.3 * torch.randn(count, FEATURES, generator=generator)
    return x * torch.tensor([1.0, 10.0, 0.1, 1.0, 3.0]) + 7.0


def model(x, posterior=GaussianPosterior, latent=LATENT, skip=True):
    torch.manual_seed(1)
    width = posterior(None, latent=latent).width(latent)
    likelihood = Gaussian(MLP(latent, [8], 2 * FEATURES, skip=skip), scale="per_example")
    likelihood.network.begin(likelihood.marginal(x, torch.ones_like(x, dtype=torch.bool)))
    return VAE(GaussianPrior(latent), likelihood, posterior(MLP(FEATURES, [8], width, skip=skip)))


def test_the_encoder_begins_at_the_posterior_of_probabilistic_pca():
    x = rows().double()
    weight, bias = components(x, LATENT, 2 * LATENT)
    found = x @ weight.T + bias
    standard = (x - x.mean(0)) / x.std(0)
    covariance = standard.T @ standard / len(x)
    values, vectors = torch.linalg.eigh(covariance)
    noise = values[:-LATENT].mean()
    loadings = vectors[:, -LATENT:].flip(1) * (values[-LATENT:].flip(0) - noise).sqrt()
    exact = LinearGaussian(loadings, torch.zeros(FEATURES).double(), noise.expand(FEATURES)).posterior(standard)
    assert_close(found[:, :LATENT], exact.loc, atol=1e-9, rtol=0)  # rounding
    scale = exact.covariance_matrix.diagonal(dim1=-2, dim2=-1).sqrt().log()
    assert_close(found[:, LATENT:], scale, atol=1e-9, rtol=0)


def test_latents_beyond_the_features_stay_at_the_prior():
    more, rest = 3, 4  # latents beyond the features; outputs beside loc and log_scale
    latent = FEATURES + more
    weight, bias = components(rows(), latent, 2 * latent + rest)
    assert torch.equal(weight[FEATURES:], torch.zeros(latent + more + rest, FEATURES))
    assert torch.equal(bias[FEATURES:latent], torch.zeros(more))
    assert torch.equal(bias[latent + FEATURES :], torch.zeros(more + rest))


def test_a_column_that_never_varies_is_no_trouble():
    x = rows()
    x[:, 1] = 4.0
    weight, bias = components(x, 4, 8)
    assert torch.isfinite(weight).all()
    assert torch.isfinite(bias).all()


@pytest.mark.parametrize("posterior", [GaussianPosterior, FullGaussianPosterior, LowRankGaussianPosterior])
def test_a_model_begins_near_the_exact_evidence_of_the_linear_one(posterior):
    x = rows()
    x = (x - x.mean(0)) / x.std(0)  # as a schema shows numbers to a model
    begun = model(x, posterior)
    begin_linear(begun, Batch(x))
    with torch.no_grad():
        terms = begun.terms(x, begun.noise(50, len(x), seed=0))
    centred = x.double() - x.double().mean(0)
    exact = torch.distributions.MultivariateNormal(torch.zeros(FEATURES).double(), centred.T @ centred / len(x))
    best = float(exact.log_prob(centred).mean())
    # Principal components are not factor analysis, nor is Adam at its end; without any z it is 2 nats less.
    assert best - 0.5 < float(terms.log_w.mean()) < best
    without = torch.distributions.Normal(0, 1).log_prob(x).sum(1).mean()
    assert float(without) < best - 2


def test_the_hidden_layers_add_nothing_to_begin_with():
    x = rows()
    begun = model(x)
    begin_linear(begun, Batch(x))
    z = torch.randn(6, LATENT)
    network = begun.likelihood.network
    assert_close(network(z), z @ network.past.weight.T + network.head.bias)


def test_the_start_repeats_and_leaves_the_global_state_alone():
    x, states = rows(), []
    for seed in (1, 2):
        begun = model(x)
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        begin_linear(begun, Batch(x))
        assert torch.equal(torch.get_rng_state(), before)
        states.append(begun.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_holes_are_left_out_and_do_not_break_it():
    x = rows()
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(3)) > 0.2
    torch.manual_seed(1)
    width = RowFeatures.width([0] * FEATURES, list(range(FEATURES)))
    encoder = RowFeatures(
        MLP(width, [8], 2 * LATENT, skip=True), levels=[0] * FEATURES, counts=[], holes=list(range(FEATURES))
    )
    begun = VAE(
        GaussianPrior(LATENT),
        Gaussian(MLP(LATENT, [8], 2 * FEATURES, skip=True), scale="per_example"),
        GaussianPosterior(encoder),
    )
    begin_linear(begun, Batch(torch.where(observed, x, 0.0), observed))
    assert all(torch.isfinite(parameter).all() for parameter in begun.parameters())


def test_models_without_a_linear_part_stay_as_they_are():
    x = rows()
    plain = model(x, skip=False)
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    begin_linear(plain, Batch(x))
    assert all(torch.equal(before[name], value) for name, value in plain.state_dict().items())
