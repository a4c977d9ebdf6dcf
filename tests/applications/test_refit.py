"""A prior fitted afterwards: the codes' own law, and numbers about log p(x) that are the new model's."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.testing import assert_close
from worlds import split_of

from vael import VAE, DataError, RecipeError
from vael.applications import log_prob_of_codes, refit_prior
from vael.distributions import GaussianMixture
from vael.evaluation import bounds
from vael.evidence import Importance
from vael.likelihoods import Gaussian
from vael.networks import MLP
from vael.posteriors import DeterministicPosterior, GaussianPosterior, VonMisesFisherPosterior
from vael.priors import (
    CategoricalPrior,
    ExemplarPrior,
    FlowPrior,
    GaussianPrior,
    HypersphericalPrior,
    MixturePrior,
    MovedPrior,
)

F64 = torch.float64


def clusters(rows: int, seed: int) -> torch.Tensor:
    """z from ½ N(−3, 0.5²) + ½ N(2, 0.5²), x = z + 0.4 ε: what N(0, 1) does not expect."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.where(torch.rand(rows, 1, generator=generator, dtype=F64) < 0.5, -3.0, 2.0)
    return centre + math.hypot(0.5, 0.4) * torch.randn(rows, 1, generator=generator, dtype=F64)


def line(*, noisy: bool = True) -> VAE:
    """x = z + 0.4 ε with q(z|x) = N(x, 0.35²), or with z = x itself."""
    encoder = GaussianPosterior(MLP(1, [], 2)) if noisy else DeterministicPosterior(MLP(1, [], 1))
    model = VAE(GaussianPrior(1), Gaussian(MLP(1, [], 1), scale=0.4), encoder).double()
    with torch.no_grad():
        for head in (model.likelihood.network.head, encoder.network.head):
            head.weight.zero_(), head.bias.zero_()
            head.weight[0] = 1
        if noisy:
            encoder.network.head.bias[1] = math.log(0.35)
    return model


def codes(rows: int, seed: int = 0) -> torch.Tensor:
    """Points near a circle of radius 5 about (10, −4)."""
    generator = torch.Generator().manual_seed(seed)
    angle = 2 * math.pi * torch.rand(rows, generator=generator, dtype=F64)
    radius = 5 + 0.3 * torch.randn(rows, generator=generator, dtype=F64)
    return torch.stack([10 + radius * angle.cos(), -4 + radius * angle.sin()], -1)


def identity() -> VAE:
    """z = x, two numbers."""
    model = VAE(GaussianPrior(2), Gaussian(MLP(2, [], 2), scale=1.0), DeterministicPosterior(MLP(2, [], 2))).double()
    with torch.no_grad():
        for head in (model.likelihood.network.head, model.posterior.network.head):
            head.weight.copy_(torch.eye(2)), head.bias.zero_()
    return model


def test_the_evidence_after_a_refit_is_that_of_the_new_model_in_closed_form():
    """p(x) = Σ_c w_c N(x; m_c, s_c² + 0.4²); 2000 draws from q for each row, 4 of their standard errors."""
    model, x = line(), clusters(400, 0)
    fitted = refit_prior(model, split_of(x), MixturePrior(1, 2), steps=200)
    test = split_of(clusters(40, 1))
    weights, loc = fitted.prior.logits.softmax(0), fitted.prior.loc[:, 0]
    spread = ((2 * fitted.prior.log_scale[:, 0]).exp() + 0.16).sqrt()
    pairs = zip(weights.tolist(), loc.tolist(), spread.tolist(), strict=True)
    truth = np.log(sum(w * stats.norm.pdf(test.x[:, 0], m, s) for w, m, s in pairs))
    found = Importance(draws=2000)(fitted, test, seed=0)
    assert (found.monte_carlo_error < 0.2).all()
    assert (np.abs(found.value.numpy() - truth) < 4 * found.monte_carlo_error.numpy() + 1e-3).all()
    old = Importance(draws=2000)(model, test, seed=0).value
    assert truth.mean() > float(old.mean()) + 1


def test_the_bound_on_the_rows_it_was_fitted_to_is_better_by_what_the_codes_gained():
    """Only the prior moved: the distortion is the same to the bit."""
    model, split = line(), split_of(clusters(400, 0))
    fitted = refit_prior(model, split, MixturePrior(1, 2), steps=200)
    before, after = bounds(model, split, draws=20), bounds(fitted, split, draws=20)
    assert torch.equal(before.distortion, after.distortion)
    assert after.elbo.mean() > before.elbo.mean() + 1
    gained = bounds(fitted, split).elbo.mean() - bounds(model, split).elbo.mean()
    told = log_prob_of_codes(fitted, split).mean() - log_prob_of_codes(model, split).mean()
    assert abs(float(gained - told)) < 0.2  # the old rate is in closed form, that of the draws is not


def test_all_but_the_prior_stays_and_the_model_handed_over_is_not_touched():
    model, split = line(), split_of(clusters(60, 0))
    before, prior = copy.deepcopy(model.state_dict()), MixturePrior(1, 2).double()
    kept = copy.deepcopy(prior.state_dict())
    fitted = refit_prior(model, split, prior, steps=20)
    shared = {id(value) for value in model.parameters()} & {id(value) for value in fitted.parameters()}
    assert not shared
    assert model.training
    for room in ("likelihood", "posterior"):
        states = (getattr(fitted, room).state_dict(), getattr(model, room).state_dict())
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(value, kept[name]) for name, value in prior.state_dict().items())


def test_a_mixture_finds_the_clusters():
    fitted = refit_prior(line(noisy=False), split_of(clusters(2000, 0)), MixturePrior(1, 2), steps=0)
    loc, order = fitted.prior.loc[:, 0].sort()
    assert_close(loc, torch.tensor([-3.0, 2.0], dtype=F64), atol=0.1, rtol=0)  # 4 of 0.64/√1000, and a bit
    assert_close(fitted.prior.log_scale[order, 0].exp(), torch.full((2,), 0.64, dtype=F64), atol=0.06, rtol=0)


def test_a_gaussian_becomes_the_one_of_greatest_likelihood():
    x = codes(300)
    fitted = refit_prior(identity(), split_of(x), GaussianPrior(2), validation=split_of(codes(50, 1)), steps=0)
    truth = stats.norm.logpdf(x, x.mean(0), x.std(0, correction=0)).sum(1)
    assert_close(log_prob_of_codes(fitted, split_of(x)), torch.from_numpy(truth))


@pytest.mark.parametrize("prior", [FlowPrior(2, transforms=2, hidden=[16]), MixturePrior(2, 12)])
def test_a_ring_of_codes_far_from_the_origin_is_found(prior):
    """Entropy of the ring: log 2π5 + ½ log 2πe 0.3² = 3.66 nats; one Gaussian has 5.4."""
    x, other = codes(1000), split_of(codes(1000, 1))
    torch.manual_seed(0)
    fitted = refit_prior(identity(), split_of(x), prior, validation=other, steps=300, learning_rate=0.01)
    plain = refit_prior(identity(), split_of(x), GaussianPrior(2), validation=other, steps=0)
    found, gaussian = (float(log_prob_of_codes(one, other).mean()) for one in (fitted, plain))
    assert gaussian < -5.2
    assert -3.66 - 0.5 < found < -3.66 + 0.1
    drawn = fitted.prior().from_noise(torch.randn(2000, 2, dtype=F64))
    radius = (drawn - torch.tensor([10.0, -4.0], dtype=F64)).norm(dim=-1)
    assert (radius - 5).abs().median() < 0.5


def test_an_exemplar_prior_has_the_width_under_which_other_codes_are_likeliest():
    x, other = codes(200), codes(150, 1)
    fitted = refit_prior(identity(), split_of(x), ExemplarPrior(2, 200), validation=split_of(other))
    assert torch.equal(fitted.prior.codes, x)
    squares = ((other[:, None] - x) ** 2).sum(-1).numpy()

    def mean(width: float) -> float:
        return float(np.log(np.exp(-0.5 * squares / width**2).mean(1) / (2 * math.pi * width**2)).mean())

    width = float(fitted.prior.log_scale.exp().detach())
    assert_close(float(log_prob_of_codes(fitted, split_of(other)).mean()), mean(width))
    assert mean(width) > max(mean(0.8 * width), mean(1.25 * width))
    assert isinstance(fitted.prior(), GaussianMixture)


def test_what_cannot_be_refitted_is_refused():
    model, split = line(), split_of(clusters(30, 0))
    with pytest.raises(RecipeError, match="the model has 1 latents, the prior 2"):
        refit_prior(model, split, MixturePrior(2, 2))
    with pytest.raises(RecipeError, match="at least 0 steps and 1 row a step, got -1 steps"):
        refit_prior(model, split, MixturePrior(1, 2), steps=-1)
    with pytest.raises(DataError, match="9 rows are too few to choose by a tenth"):
        refit_prior(model, split_of(clusters(9, 0)), MixturePrior(1, 2))
    with pytest.raises(DataError, match="270 codes are too few for 400 components"):
        refit_prior(model, split, MixturePrior(1, 400))
    with pytest.raises(DataError, match="27 rows, and an exemplar prior of 40 examples"):
        refit_prior(model, split, ExemplarPrior(1, 40))
    given = VAE(GaussianPrior(1), Gaussian(MLP(3, [], 1)), GaussianPosterior(MLP(1, [], 2, given=2)))
    with pytest.raises(RecipeError, match="here x is conditioned on what is given"):
        refit_prior(given, split, MixturePrior(1, 2))
    curved = VAE(HypersphericalPrior(2), Gaussian(MLP(2, [], 1)), VonMisesFisherPosterior(MLP(1, [], 3)))
    with pytest.raises(RecipeError, match="here z lies in a sphere"):
        refit_prior(curved, split, MixturePrior(2, 2))
    for prior in (CategoricalPrior(3), HypersphericalPrior(3)):
        with pytest.raises(RecipeError, match="MovedPrior: moves numbers on the whole line"):
            MovedPrior(prior)
