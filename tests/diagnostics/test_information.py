"""The rate taken apart, against Gaussian determinants, quadrature, and mixtures that torch evaluates."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal, kl_divergence
from torch.testing import assert_close
from worlds import Linear, split_of

from vael import VAE, RecipeError
from vael.diagnostics import Information, information
from vael.diagnostics.draws import at_rest
from vael.diagnostics.information import aggregated
from vael.distributions import Bits, OneHot
from vael.distributions.marginals import unit_log_prob
from vael.likelihoods import Bernoulli
from vael.networks import MLP
from vael.posteriors import BernoulliPosterior, GaussianPosterior
from vael.priors import BernoulliPrior, GaussianPrior

WORLD = Linear.random(latent=2, observed=4, seed=5, variance=1.0)


def encoder(loc: Tensor, bias: Tensor, scale: Tensor) -> VAE:
    """q(z|x) = N(loc x + bias, diag scale²), with a decoder that does not matter here."""
    latent, observed = loc.shape
    posterior = GaussianPosterior(MLP(observed, [], 2 * latent))
    with torch.no_grad():
        posterior.network.head.weight.copy_(torch.cat([loc, torch.zeros_like(loc)]))
        posterior.network.head.bias.copy_(torch.cat([bias, scale.log()]))
    return VAE(GaussianPrior(latent), Bernoulli(MLP(latent, [], observed)), posterior).double()


def closed_form(loc: Tensor, bias: Tensor, scale: Tensor, covariance: Tensor) -> dict[str, float]:
    """Every term for x ~ N(0, covariance): q̄ = N(bias, loc C locᵀ + diag scale²), by torch's own divergences."""
    within = torch.diag(scale.square())
    whole = loc @ covariance @ loc.T + within
    standard = MultivariateNormal(torch.zeros_like(bias), torch.eye(len(bias)).double())
    spread = Normal(bias, whole.diagonal().sqrt())
    return {
        "mutual_information": float(0.5 * (torch.logdet(whole) - torch.logdet(within))),
        "marginal_kl": float(kl_divergence(MultivariateNormal(bias, whole), standard)),
        "total_correlation": float(0.5 * (whole.diagonal().log().sum() - torch.logdet(whole))),
        "unit_kl": float(kl_divergence(spread, Normal(torch.zeros(2).double(), torch.ones(2).double())).sum()),
    }


def test_a_linear_encoder_has_the_terms_of_its_gaussians():
    """The mixture of 3000 posteriors is that of all x but for a bias of order e^I / 2N, here below 0.002 nats."""
    loc = torch.tensor([[0.4, 0.2, -0.1, 0.0], [0.3, 0.3, 0.1, 0.2]]).double()
    bias, scale = torch.tensor([0.3, -0.5]).double(), torch.tensor([0.5, 0.7]).double()
    covariance = WORLD.weight @ WORLD.weight.T + torch.eye(4).double()
    x = Linear(WORLD.weight, torch.zeros(4).double(), 1.0).sample(3000, seed=1)
    found = information(encoder(loc, bias, scale), split_of(x), anchors=None, draws=2)
    truth = closed_form(loc, bias, scale, covariance)
    assert truth["total_correlation"] > 0.05
    for name, value in truth.items():
        part = getattr(found, name)
        assert part.standard_error < 0.03, name
        assert abs(part.value - value) < 4 * part.standard_error + 0.002, name


def test_the_parts_add_up_draw_by_draw():
    found = information(WORLD.model(), split_of(WORLD.sample(200)), anchors=50, draws=3)
    assert found.rate.value == pytest.approx(found.mutual_information.value + found.marginal_kl.value, abs=1e-12)
    assert found.marginal_kl.value == pytest.approx(found.total_correlation.value + found.unit_kl.value, abs=1e-12)
    assert sum(found.units) == pytest.approx(found.unit_kl.value, abs=1e-12)
    assert (found.examples, found.anchors) == (200, 50)


def test_the_rate_is_that_of_the_closed_form_within_its_error():
    split = split_of(WORLD.sample(500))
    model = WORLD.model()
    with at_rest(model):
        terms = model.terms(split.batch(torch.arange(500)), model.noise(1, 500, seed=0))
    found = information(model, split, anchors=None, draws=60)
    # 30 000 draws of a log-ratio with a spread near 1 leave 0.006 nats.
    assert found.rate.value == pytest.approx(float(terms.rate.mean()), abs=0.025)


def test_the_aggregated_posterior_is_the_mixture_of_all_posteriors():
    model, split = WORLD.model(), split_of(WORLD.sample(700))  # more than go through at once
    z = torch.randn(3, 11, 2, generator=torch.Generator().manual_seed(0)).double()
    with at_rest(model):
        q = model.posterior(split.x)
        whole, units = aggregated(model, split, z)
    mixture = MixtureSameFamily(Categorical(torch.ones(700).double()), Independent(Normal(q.loc, q.scale), 1))
    assert_close(whole, mixture.log_prob(z), atol=1e-10, rtol=0)
    for unit in range(2):
        alone = MixtureSameFamily(
            Categorical(torch.ones(700).double()), Normal(q.loc[:, unit].contiguous(), q.scale[:, unit].contiguous())
        )
        assert_close(units[..., unit], alone.log_prob(z[..., unit]), atol=1e-10, rtol=0)


def test_five_examples_know_what_quadrature_says():
    """I_q of five posteriors on a line, the entropy of their mixture less theirs, by the rectangle rule."""
    loc, bias, scale = torch.ones(1, 1).double(), torch.zeros(1).double(), torch.tensor([0.6]).double()
    x = torch.tensor([[-2.0], [-0.3], [0.1], [0.5], [1.7]]).double()
    z = torch.linspace(-9, 9, 200_001).double()
    density = Normal(x, 0.6).log_prob(z).exp().mean(0)
    entropy = float(-(density * density.log()).sum() * (z[1] - z[0]))
    truth = entropy - 0.5 * math.log(2 * math.pi * math.e * 0.36)
    found = information(encoder(loc, bias, scale), split_of(x), anchors=None, draws=40_000)
    # 200 000 draws with a spread below 0.8 leave 0.002 nats.
    assert found.mutual_information.value == pytest.approx(truth, abs=0.007)
    assert 0.5 < truth < math.log(5) - 0.5  # far from nothing and from its cap


def test_examples_told_apart_perfectly_are_worth_log_n_and_the_cap_is_said():
    loc, bias, scale = torch.eye(1).double(), torch.zeros(1).double(), torch.full((1,), 1e-3).double()
    found = information(encoder(loc, bias, scale), split_of(torch.arange(16.0)[:, None].double()), anchors=None)
    assert found.mutual_information.value == pytest.approx(math.log(16), abs=1e-9)
    assert found.cap == pytest.approx(math.log(16))
    assert found.capped


def test_a_collapsed_encoder_knows_nothing():
    model = WORLD.model(torch.zeros(2).double(), torch.ones(2).double())
    found = information(model, split_of(WORLD.sample(300)))
    for part in (found.rate, found.mutual_information, found.marginal_kl, found.total_correlation, found.unit_kl):
        assert part.value == pytest.approx(0, abs=1e-12)
    assert not found.capped


def test_a_correlated_posterior_has_the_marginals_of_its_units():
    q = WORLD.model_with_full_posterior().posterior(WORLD.sample(3))
    z = torch.randn(5, 3, 2).double()
    assert_close(unit_log_prob(q, z), Normal(q.loc, q.variance.sqrt()).log_prob(z))
    found = information(WORLD.model_with_full_posterior(), split_of(WORLD.sample(400)))
    assert found.total_correlation is not None


def test_bits_and_choices_add_up_unit_by_unit():
    bits, z = Bits(torch.tensor([[0.3, -1.2]])), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    assert_close(unit_log_prob(bits, z).sum(-1), bits.log_prob(z))
    choices = OneHot(torch.tensor([[[0.1, 0.2, 0.9], [1.0, -1.0, 0.0]]]))
    every = choices.every()
    assert unit_log_prob(choices, every).shape == (9, 1, 2)
    assert_close(unit_log_prob(choices, every).sum(-1), choices.log_prob(every))


def test_bits_have_information_too():
    """Two examples, each sure of a bit of its own: log 2 nats, and a total correlation between the two bits."""
    posterior = BernoulliPosterior(MLP(1, [], 2))
    with torch.no_grad():
        posterior.network.head.weight.fill_(40.0), posterior.network.head.bias.zero_()
    model = VAE(BernoulliPrior(2), Bernoulli(MLP(2, [], 1)), posterior)
    found: Information = information(model, split_of(torch.tensor([[-1.0], [1.0]])), draws=10)
    assert found.mutual_information.value == pytest.approx(math.log(2), abs=1e-6)
    assert found.total_correlation.value == pytest.approx(math.log(2), abs=1e-6)
    assert found.unit_kl.value == pytest.approx(0, abs=1e-6)


def test_one_example_has_no_aggregated_posterior():
    with pytest.raises(RecipeError, match="needs at least 2 examples to make q̄ of, got 1"):
        information(WORLD.model(), split_of(WORLD.sample(1)))
