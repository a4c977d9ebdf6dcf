"""A prior made of the posterior."""

import copy

import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm
from torch import Tensor
from torch.testing import assert_close
from worlds import split_of

from vael import ELBO, VAE, RecipeError, ShapeError, defaults, fit, load
from vael.distributions import even_weights, log_aggregated
from vael.likelihoods import Bernoulli
from vael.networks import MLP
from vael.posteriors import BernoulliPosterior, FlowPosterior, GaussianPosterior
from vael.priors import VampPrior
from vael.training import Engine, Training

FEATURES, LATENT = 5, 2


def rows(count: int) -> Tensor:
    return 3 * torch.randn(count, FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def model(components: int, **arguments: object) -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        posterior = GaussianPosterior(MLP(FEATURES, [6], 2 * LATENT, activation="tanh"))
        likelihood = Bernoulli(MLP(LATENT, [4], FEATURES))
        return VAE(VampPrior(LATENT, components=components, **arguments), likelihood, posterior).double()


def test_with_all_the_data_as_pseudo_inputs_it_is_the_aggregated_posterior():
    vae, x = model(30), rows(30)
    vae.prior.begin(x)
    z = torch.randn(30, LATENT, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    q = vae.posterior(x)
    loc, scale = q.loc.detach().numpy(), q.scale.detach().numpy()
    each = norm(loc, scale).logpdf(z.numpy()[:, None]).sum(-1)  # (z, n)
    found = vae.prior().log_prob(z)
    assert_close(found, torch.from_numpy(logsumexp(each, axis=1)) - torch.tensor(30.0).double().log())
    assert_close(found, log_aggregated(q.log_prob(z.unsqueeze(1)), even_weights(30, 30)))


def test_pseudo_inputs_begin_at_examples_without_bounds_and_over_again_where_there_are_few():
    vae, x = model(7), rows(4)
    x[1, 2] = torch.nan
    vae.prior.begin(x)
    assert vae.prior.pseudo.abs().max() > 3
    assert vae.prior.pseudo[1, 2] == 0
    assert torch.equal(vae.prior.pseudo[4:], vae.prior.pseudo[:3])
    assert torch.equal(vae.prior.pseudo[0], x[0])


def test_training_begins_at_examples_and_learns_pseudo_inputs_and_the_encoder_through_them():
    vae, split = model(3), split_of((rows(12) > 0).double())
    defaults.start(vae, split)
    before = copy.deepcopy(vae.prior.pseudo)
    assert all((row == split.x).all(-1).any() for row in before)
    engine = Engine(vae, ELBO(), split, Training.of({"steps": 5, "batch": 6}), seed=0)
    engine.advance()
    assert (vae.prior.pseudo != before).all()
    encoder = vae.posterior.network.head.weight
    encoder.grad = None
    vae.prior().log_prob(torch.ones(1, LATENT).double()).sum().backward()
    assert (encoder.grad.abs() > 1e-9).any()


def test_the_posterior_stays_the_models_and_a_copy_has_its_own():
    vae = model(3)
    assert [name for name, _ in vae.prior.named_parameters()] == ["pseudo"]
    other = copy.deepcopy(vae)
    assert other.prior.neighbours[0] is other.posterior
    again = model(3)
    again.load_state_dict(vae.state_dict())
    z = rows(4)[:, :LATENT]
    assert torch.equal(again.prior().log_prob(z), vae.prior().log_prob(z))


def test_a_flow_can_be_the_posterior_it_is_made_of():
    posterior = FlowPosterior(MLP(FEATURES, [], 2 * LATENT + 2 * LATENT), flow="householder", transforms=2)
    vae = VAE(VampPrior(LATENT, components=3), Bernoulli(MLP(LATENT, [], FEATURES)), posterior)
    z = vae.prior().from_noise(torch.randn(4, LATENT))
    assert torch.isfinite(vae.prior().log_prob(z)).all()


def test_a_run_with_it_is_read_back(tmp_path):
    x = (rows(60) > 0).float().numpy()
    run = fit(x, output=tmp_path / "run", latent=2, prior="vamp", settings={"prior.components": 5}, steps=3)
    assert run.recipe["prior"] == {"kind": "vamp", "latent": 2, "components": 5}
    again = load(tmp_path / "run").model
    assert again.prior.pseudo.shape == (5, FEATURES)
    z = rows(4)[:, :LATENT].float()
    assert torch.equal(again.prior().log_prob(z), run.model.prior().log_prob(z))


def test_what_it_cannot_be_made_of_is_refused():
    likelihood = Bernoulli(MLP(LATENT, [], FEATURES))
    with pytest.raises(RecipeError, match=r"mixture of an encoder's q.*smooth draws, got BernoulliPosterior"):
        VAE(VampPrior(LATENT), likelihood, BernoulliPosterior(MLP(FEATURES, [], LATENT)))
    told = MLP(FEATURES, [], 2 * LATENT)
    told.given = 2
    with pytest.raises(RecipeError, match="examples without what is given, and this encoder is told of it"):
        VAE(VampPrior(LATENT), likelihood, GaussianPosterior(told))
    with pytest.raises(ShapeError, match=r"event_shape is \(4,\), the likelihood's is \(5,\)"):
        model(3, event_shape=4)
    with pytest.raises(RecipeError, match="is made of a model's posterior, and belongs to none yet"):
        VampPrior(LATENT)()
