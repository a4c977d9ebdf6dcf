"""Posteriors pushed through maps: what they can be, and what they are refused."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from worlds import Linear, assert_recorded, split_of

from vael import ELBO, VAE, RecipeError, fit, load
from vael.likelihoods import Bernoulli
from vael.networks import MLP
from vael.objectives import STL, DReG
from vael.posteriors import FlowPosterior
from vael.priors import BernoulliPrior, GaussianPrior

FLOWS = ["planar", "radial", "householder", "sylvester", "iaf", "maf"]
every = pytest.mark.parametrize("flow", FLOWS)
FEATURES = 5


def made(flow: str, latent: int = 2, *, spread: float = 0.4) -> FlowPosterior:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        arguments = {"flow": flow, "transforms": 2, "context": 3, "hidden": [8]}
        width = FlowPosterior(None, latent=latent, **arguments).width(latent)
        posterior = FlowPosterior(MLP(FEATURES, [7], width, activation="tanh"), latent=latent, **arguments).double()
        for parameter in posterior.maps.parameters():
            torch.nn.init.normal_(parameter, std=spread)
        return posterior


def rows(count: int = 4) -> Tensor:
    return torch.randn(count, FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@every
def test_the_gradient_of_draws_and_of_densities_reaches_every_parameter(flow):
    for what in ("draw", "density"):
        posterior = made(flow)
        q, eps = (
            posterior(rows()),
            torch.randn(6, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)),
        )
        drawn = q.from_noise(eps) @ torch.tensor([1.0, -2.0]).double()
        value = drawn.square().sum() if what == "draw" else q.log_prob(eps).sum()
        value.backward()
        for name, parameter in posterior.named_parameters():
            assert (parameter.grad.abs() > 1e-9).any(), name
        assert (posterior.network.head.bias.grad.abs() > 1e-9).all()


@every
def test_the_bounds_gradient_is_the_same_with_q_held_still_in_the_mean(flow):
    """ELBO and STL differ by the score of q at its draws, whose mean is zero; four standard errors."""
    world = Linear.random(2, FEATURES)
    plain = world.model()
    model = VAE(plain.prior, plain.likelihood, made(flow)).double()
    head = model.posterior.network.head.bias
    x = world.sample(1)
    draws = []
    for step in range(100):
        terms = model.terms(x, model.noise(64, 1, seed=0, step=step))
        both = [torch.autograd.grad(aim(terms).sum(), head, retain_graph=True)[0] for aim in (ELBO(), STL())]
        draws.append(torch.stack(both))
    difference = torch.stack(draws)[:, 0] - torch.stack(draws)[:, 1]
    error = difference.std(0) / len(draws) ** 0.5
    assert (difference.mean(0).abs() < 4 * error + 1e-12).all()
    scale = torch.stack(draws)[:, 0].mean(0).abs().max()
    assert error.max() < 0.1 * scale


@pytest.mark.parametrize(("flow", "objective"), [("planar", STL()), ("iaf", STL()), ("radial", DReG(draws=3))])
def test_a_recorded_step_with_q_held_still_is_the_step_bit_for_bit(flow, objective):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = VAE(GaussianPrior(2), Bernoulli(MLP(2, [4], FEATURES)), made(flow)).float()
    assert_recorded(model, objective, split_of((rows(12) > 0).float()), steps=3, warm_up=0)


def test_householder_maps_turn_a_gaussian_into_a_correlated_one():
    """z is a reflected Gaussian: its density is that of the mean and covariance of the same map of unit vectors."""
    q = made("householder", 3)(rows(1))
    base = q.base
    turned = torch.stack([q.steps.forward(row.expand(1, 3))[0][0] for row in torch.eye(3, dtype=torch.float64)], -1)
    truth = torch.distributions.MultivariateNormal(turned @ base.loc[0], turned @ base.variance[0].diag() @ turned.T)
    z = torch.randn(5, 1, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    assert_close(q.log_prob(z), truth.log_prob(z), atol=1e-9, rtol=1e-9)
    assert truth.covariance_matrix.tril(-1).abs().max() > 1e-2


def test_sampling_an_iaf_takes_one_pass_of_each_map_and_a_density_takes_one_for_each_latent():
    posterior, calls = made("iaf", 3), []
    for each in posterior.maps:
        each.transform.hyper.register_forward_hook(lambda *_: calls.append(1))
    q = posterior(rows())
    z = q.from_noise(torch.randn(2, 4, 3).double())
    q.log_prob(z)
    assert len(calls) == 2
    q.log_prob(z.clone())
    assert len(calls) == 2 + 2 * (3 + 1)  # D to find u, one for the determinant there


@pytest.mark.parametrize("flow", ["planar", "iaf"])
def test_a_run_with_it_is_read_back(tmp_path, flow):
    settings = {"posterior.flow": flow, "posterior.transforms": 2}
    x = (rows(60) > 0).float().numpy()
    run = fit(x, output=tmp_path / "run", latent=2, posterior="flow", settings=settings, steps=3)
    assert run.recipe["posterior"]["kind"] == "flow"
    again, seen = load(tmp_path / "run").model.posterior, torch.from_numpy(x[:4])
    z = torch.zeros(4, 2)
    assert torch.equal(again(seen).log_prob(z), run.model.posterior(seen).log_prob(z))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"flow": "planer"}, "unknown flow 'planer'. There are: planar, .*Did you mean 'planar'"),
        ({"transforms": 0}, "transforms must be a whole number of at least 1, got 0"),
        ({"context": 0, "flow": "iaf"}, "context must be a whole number of at least 1, got 0"),
    ],
)
def test_flows_that_are_none_are_refused(asked, told):
    with pytest.raises(RecipeError, match=told):
        FlowPosterior(None, latent=2, **asked)


def test_a_prior_over_zeros_and_ones_is_refused():
    with pytest.raises(RecipeError, match="the prior is a law of Bits, the posterior one of Flow"):
        VAE(BernoulliPrior(2), Bernoulli(MLP(2, [], FEATURES)), made("planar"))
