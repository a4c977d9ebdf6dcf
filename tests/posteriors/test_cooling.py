"""A temperature that falls while a model trains: τ = start · (end / start)^progress."""

import math

import pytest
import torch
from torch.testing import assert_close
from worlds import assert_recorded, split_of

from vael import ELBO, VAE, RecipeError
from vael.likelihoods import Bernoulli
from vael.networks import MLP
from vael.posteriors import BernoulliPosterior, CategoricalPosterior
from vael.priors import BernoulliPrior, CategoricalPrior
from vael.runs.recipe import build, describe
from vael.training import Engine, Training

KINDS = {
    "bernoulli": (BernoulliPosterior, {}, lambda: BernoulliPrior(4)),
    "categorical": (CategoricalPosterior, {"classes": 2, "groups": 2}, lambda: CategoricalPrior(2, groups=2)),
}
every = pytest.mark.parametrize("name", KINDS)


def made(name: str, **drawing: object) -> VAE:
    member, arguments, prior = KINDS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        posterior = member(MLP(5, [6], 4), **arguments, **drawing)
        return VAE(prior(), Bernoulli(MLP(4, [6], 5)), posterior)


def rows() -> torch.Tensor:
    return (torch.randn(12, 5, generator=torch.Generator().manual_seed(0)) > 0).float()


def advanced(model: VAE, steps: int) -> Engine:
    engine = Engine(model.train(), ELBO(), split_of(rows()), Training.of({"steps": 20, "batch": 5}), seed=0)
    for _ in range(steps):
        engine.advance()
    return engine


@every
@pytest.mark.parametrize(("share", "warmth"), [(0.0, 1.0), (0.5, math.sqrt(0.25)), (0.75, 0.25**0.75), (1.0, 0.25)])
def test_the_temperature_falls_by_the_same_factor_in_every_step(name, share, warmth):
    posterior = made(name, temperature=1.0, cooled=0.25).posterior.double()
    posterior.progress.fill_(share)
    eps = torch.randn(7, 12, 4, generator=torch.Generator().manual_seed(1)).double()
    still = made(name, temperature=warmth).posterior.double()
    assert_close(posterior(rows().double()).from_noise(eps), still(rows().double()).from_noise(eps))
    assert float(posterior.warmth) == pytest.approx(warmth, abs=1e-9)


@every
def test_training_takes_it_from_its_start_to_a_step_before_its_end(name):
    engine = advanced(made(name, temperature=2.0, cooled=0.1), 20)
    assert float(engine.model.posterior.warmth) == pytest.approx(2.0 * 0.05 ** (19 / 20), rel=1e-6)
    engine.schedule(20)
    assert float(engine.model.posterior.warmth) == pytest.approx(0.1, rel=1e-6)


@every
def test_cooling_has_an_effect_on_the_weights_but_none_before_the_second_step(name):
    ends = [
        [advanced(made(name, temperature=2.0, cooled=cooled), steps) for cooled in (None, 0.1)] for steps in (1, 20)
    ]
    for (one, other), alike in zip(ends, (True, False), strict=True):
        pairs = zip(one.model.parameters(), other.model.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs) == alike


@every
@pytest.mark.parametrize("straight_through", [False, True])
def test_a_recorded_step_sees_the_temperature_fall(name, straight_through):
    model = made(name, temperature=2.0, cooled=0.1, straight_through=straight_through)
    assert_recorded(model, ELBO(), split_of(rows()))


@every
def test_evaluation_draws_exactly_and_progress_is_no_weight(name):
    posterior = made(name, temperature=1.0, cooled=0.5).posterior
    assert posterior.eval().warmth is None
    assert "progress" not in posterior.state_dict()
    assert build(describe(posterior, "posterior"), "posterior").cooled == 0.5


@every
@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"temperature": 1.0, "cooled": 0.0}, "cooled must be a number above 0, got 0.0"),
        ({"cooled": 0.5}, "cooled is where a temperature ends; give the temperature that it starts at"),
    ],
)
def test_an_end_without_a_beginning_or_of_no_warmth_is_refused(name, asked, told):
    with pytest.raises(RecipeError, match=told):
        made(name, **asked)
