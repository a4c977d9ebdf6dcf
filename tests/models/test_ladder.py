"""A ladder: each level of q moves the prior's. Truth is scipy and the conditionals of one joint Gaussian."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor
from torch.testing import assert_close
from worlds import assert_recorded, split_of

from vael import ELBO, VAE, RecipeError
from vael.likelihoods import Gaussian
from vael.networks import MLP
from vael.objectives import STL
from vael.posteriors import BernoulliPosterior, GaussianPosterior, LadderPosterior
from vael.priors import BernoulliPrior, ChainPrior, ConditionalPrior, GaussianPrior
from vael.runs.recipe import build_model, describe_model

F64 = torch.float64
ROUNDING = {"atol": 1e-9, "rtol": 0}


def seeded(make) -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().double()


def ladder() -> VAE:
    """Three levels of 2, 2 and 1 numbers over a trunk of six features."""

    def make() -> VAE:
        prior = ChainPrior([
            GaussianPrior(2),
            ConditionalPrior(MLP(2, [5], 4, activation="tanh")),
            ConditionalPrior(MLP(4, [5], 2, activation="tanh")),
        ])  # fmt: skip
        posterior = LadderPosterior(
            MLP(3, [7], 6, activation="tanh"),
            [
                GaussianPosterior(MLP(6, [], 4)),
                GaussianPosterior(MLP(6, [4], 4, activation="tanh", given=2)),
                GaussianPosterior(MLP(6, [4], 2, activation="tanh", given=4)),
            ],
        )
        return VAE(prior, Gaussian(MLP(5, [6], 3), scale=0.5), posterior)

    return seeded(make)


def linear() -> tuple[VAE, np.ndarray]:
    """z₁ ~ N(0, 1), z₂|z₁ ~ N(.8 z₁, .36), x|z ~ N(W z, .49 I); and the covariance of (z₁, z₂, x)."""

    def make() -> VAE:
        prior = ChainPrior([GaussianPrior(1), ConditionalPrior(MLP(1, [], 2))])
        levels = [GaussianPosterior(MLP(3, [], 2)), GaussianPosterior(MLP(3, [], 2, given=1))]
        return VAE(prior, Gaussian(MLP(2, [], 3), scale=0.7), LadderPosterior(MLP(3, [], 3), levels))

    model = seeded(make)
    weight = torch.tensor([[1.0, 0.5], [-0.3, 1.2], [0.4, 0.4]], dtype=F64)
    with torch.no_grad():
        head = model.prior.levels[1].network.head
        (
            head.weight.copy_(torch.tensor([[0.8], [0.0]], dtype=F64)),
            head.bias.copy_(torch.tensor([0.0, math.log(0.6)], dtype=F64)),
        )
        model.likelihood.network.head.weight.copy_(weight), model.likelihood.network.head.bias.zero_()
        model.posterior.network.head.weight.copy_(torch.eye(3)), model.posterior.network.head.bias.zero_()
    prior = np.array([[1.0, 0.8], [0.8, 1.0]])
    cross = prior @ weight.numpy().T
    whole = np.block([[prior, cross], [cross.T, weight.numpy() @ cross + 0.49 * np.eye(3)]])
    return model, whole


def rows(count: int = 4) -> Tensor:
    return torch.randn(count, 3, dtype=F64, generator=torch.Generator().manual_seed(5))


def conditional(whole: np.ndarray, place: int, seen: list[int]) -> tuple[np.ndarray, float]:
    """Gain and variance of number `place` of a centred Gaussian given the numbers `seen`."""
    gain = np.linalg.solve(whole[np.ix_(seen, seen)], whole[seen, place])
    return gain, float(whole[place, place] - gain @ whole[seen, place])


def exactly(model: VAE, whole: np.ndarray) -> None:
    """Give the ladder the true posterior: what its levels say is the difference to the prior's level."""
    one, two = model.posterior.levels
    top, top_variance = conditional(whole, 0, [2, 3, 4])
    low, low_variance = conditional(whole, 1, [0, 2, 3, 4])
    with torch.no_grad():
        one.network.head.weight.copy_(torch.tensor(np.stack([top, np.zeros(3)])))
        one.network.head.bias.copy_(torch.tensor([0.0, 0.5 * math.log(top_variance)], dtype=F64))
        two.network.head.weight.copy_(torch.tensor(np.stack([low[1:], np.zeros(3)])))
        two.network.head.bias.copy_(torch.tensor([0.0, 0.5 * math.log(low_variance / 0.36)], dtype=F64))
        two.network.beside.linear.weight.copy_(torch.tensor([[low[0] - 0.8], [0.0]], dtype=F64))


def test_with_the_true_conditionals_every_weight_is_the_evidence():
    model, whole = linear()
    exactly(model, whole)
    truth = torch.from_numpy(multivariate_normal(np.zeros(3), whole[2:, 2:]).logpdf(rows().numpy()))
    terms = model.terms(rows(), model.noise(3, 4, seed=0))
    assert_close(terms.log_w.detach(), truth.expand(3, -1), **ROUNDING)
    assert_close(ELBO(rate="drawn")(terms).detach(), truth, **ROUNDING)


def test_other_encoders_lie_below_the_evidence_and_draws_bring_them_to_it():
    """Four standard errors, of 50,000 draws."""
    model, whole = linear()
    truth = torch.from_numpy(multivariate_normal(np.zeros(3), whole[2:, 2:]).logpdf(rows().numpy()))
    with torch.no_grad():
        exactly(model, whole)
        for level in model.posterior.levels:
            level.network.head.weight.mul_(0.6), level.network.head.bias.add_(torch.tensor([0.2, 0.3]))
        terms = model.terms(rows(), model.noise(50_000, 4, seed=0))
    ratio = (terms.log_w - truth).exp()
    error = 4 * ratio.std(0) / math.sqrt(50_000)
    assert ((ratio.mean(0) - 1).abs() < error).all()
    assert error.max() < 0.1
    assert (ELBO()(terms) < truth - 0.02).all()


def test_levels_with_nothing_to_say_are_the_prior_and_cost_nothing():
    model = ladder()
    with torch.no_grad():
        for level in model.posterior.levels[1:]:
            level.network.head.weight.zero_(), level.network.head.bias.zero_()
    terms = model.terms(rows(), model.noise(7, 4, seed=0))
    assert terms.unit_rate.shape == (4, 5)
    assert (terms.unit_rate[:, :2] > 1e-3).all()  # the top level still says something
    assert_close(terms.unit_rate[:, 2:].detach(), torch.zeros(4, 3, dtype=F64), **ROUNDING)


def test_a_levels_rate_is_that_of_what_it_adds_to_its_prior():
    """½ Σ [Δloc² / scale² + Δscale² − 1 − 2 log Δscale] at the draws above, written out; mean over three draws."""
    model = ladder()
    terms = model.terms(rows(), model.noise(3, 4, seed=0))
    z = terms.latents[0].z
    with torch.no_grad():
        features = model.posterior.network(rows())
        top, log_top = model.posterior.levels[0].network(features).chunk(2, -1)
        wanted = [0.5 * (top.square() + (2 * log_top).exp() - 1 - 2 * log_top).expand(3, -1, -1)]
        for level, end in ((1, 2), (2, 4)):
            _, log_scale = model.prior.levels[level].network(z[..., :end]).chunk(2, -1)
            change, log_change = model.posterior.levels[level].network(features, z[..., :end]).chunk(2, -1)
            spread = change.square() * torch.exp(-2 * log_scale) + (2 * log_change).exp()
            wanted.append(0.5 * (spread - 1 - 2 * log_change))
    assert_close(terms.unit_rate.detach(), torch.cat(wanted, -1).mean(0), **ROUNDING)
    assert_close(terms.unit_rate.sum(-1), terms.rate, **ROUNDING)


def test_the_closed_rate_has_the_mean_of_the_drawn_one():
    """Four standard errors of 20,000 draws."""
    model = ladder()
    with torch.no_grad():
        terms = model.terms(rows(), model.noise(20_000, 4, seed=1))
        ratio = terms.latents[0].log_q - terms.latents[0].log_p
    error = 4 * ratio.std(0) / math.sqrt(20_000)
    assert ((terms.rate - ratio.mean(0)).abs() < error).all()
    assert error.max() < 0.2


@pytest.mark.parametrize("objective", [ELBO(), ELBO(rate="drawn"), STL(2)])
def test_a_recorded_step_is_the_step_bit_for_bit(objective):
    assert_recorded(ladder().float(), objective, split_of(rows(12).float()), warm_up=0)


def test_the_gradient_of_the_path_alone_leaves_the_posteriors_parameters_and_the_priors_in_q_still():
    model = ladder()
    terms = model.terms(rows(), model.noise(2, 4, seed=0))
    z = terms.latents[0].z.detach()
    held, free = model.posterior(rows()).still().log_prob(z), model.posterior(rows()).log_prob(z)
    assert_close(held.detach(), free.detach(), **ROUNDING)
    assert not held.requires_grad
    slopes = torch.autograd.grad(free.sum(), list(model.parameters()), allow_unused=True)
    named = dict(zip([name for name, _ in model.named_parameters()], slopes, strict=True))
    assert named["prior.levels.1.network.layers.0.weight"].abs().max() > 1e-6  # q depends on the prior's levels
    assert named["posterior.network.layers.0.weight"].abs().max() > 1e-6


def test_a_recipe_builds_it_again_with_the_priors_levels_for_a_start():
    model = ladder()
    again = build_model(describe_model(model)).double()
    again.load_state_dict(model.state_dict())
    assert not any("above" in name for name in model.state_dict())
    assert again.posterior.above[1] is again.prior.levels[1]
    noise = model.noise(2, 4, seed=0)
    assert torch.equal(again.terms(rows(), noise).elbo, model.terms(rows(), noise).elbo)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: LadderPosterior(MLP(3, [], 2), []), "levels must be Gaussian posteriors, at least one, got none"),
        (
            lambda: LadderPosterior(MLP(3, [], 2), [BernoulliPosterior(MLP(2, [], 2))]),
            "levels must be Gaussian posteriors, at least one, got BernoulliPosterior",
        ),
        (
            lambda: _bound(GaussianPrior(2)),
            r"the levels of a ChainPrior, of \[2\] numbers; got GaussianPrior",
        ),
        (lambda: _bound(ChainPrior([GaussianPrior(3)])), r"of \[2\] numbers; got levels of \[3\] numbers"),
        (lambda: _bound(ChainPrior([BernoulliPrior(2)])), "moves Gaussian levels of a prior, got BernoulliPrior"),
        (lambda: _bound(None)(rows()), "starts from a model's prior, and belongs to none yet"),
    ],
)
def test_levels_that_do_not_fit_are_refused(make, told):
    with pytest.raises(RecipeError, match=told):
        make()


def _bound(prior) -> LadderPosterior:
    posterior = LadderPosterior(MLP(3, [], 2), [GaussianPosterior(MLP(2, [], 4))])
    if prior is not None:
        posterior.bind(prior, torch.nn.Identity())
    return posterior
