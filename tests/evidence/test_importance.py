"""Importance sampling gives exactly the draws asked for, whatever the pieces it is computed in."""

import math

import pytest
import torch
from torch.testing import assert_close
from worlds import Linear, split_of

from vael import IWAE, RecipeError
from vael.evidence import Defensive, Importance, Renyi
from vael.models.vae import DRAWS_PER_STREAM

WORLD = Linear.random(latent=2, observed=4, seed=1)
X = WORLD.sample(7)
WIDE = WORLD.model(torch.zeros(2).double(), torch.ones(2).double())


@pytest.mark.parametrize("draws", [1, 10, 150, 300, 1000])
def test_the_estimate_is_the_log_mean_of_exactly_that_many_weights(draws):
    found = Importance(draws=draws)(WIDE, split_of(X), seed=3)
    with torch.no_grad():
        terms = WIDE.terms(X, WIDE.noise_for(range(7), range(draws), seed=3))
    assert terms.log_w.shape == (draws, 7)
    assert_close(found.value, terms.log_w.logsumexp(0) - math.log(draws), atol=1e-9, rtol=0)
    assert_close(found.value, IWAE(draws)(terms), atol=1e-9, rtol=0)
    assert found.draws == draws


@pytest.mark.parametrize("chunk", [1, 4 * DRAWS_PER_STREAM, 10_000_000])
def test_pieces_do_not_move_the_number(chunk):
    whole = Importance(draws=700)(WIDE, split_of(X), seed=1)
    found = Importance(draws=700, chunk=chunk)(WIDE, split_of(X), seed=1)
    assert_close(found.value, whole.value, atol=1e-9, rtol=0)
    assert_close(found.effective_sample_size, whole.effective_sample_size, atol=1e-6, rtol=0)


@pytest.mark.parametrize("how", [Importance, Defensive, Renyi])
def test_each_example_is_encoded_once_whatever_the_draws(how, monkeypatch):
    seen, forward = [], WIDE.posterior.forward
    monkeypatch.setattr(WIDE.posterior, "forward", lambda x, *rest: seen.append(len(x)) or forward(x, *rest))
    how(draws=3 * DRAWS_PER_STREAM + 1)(WIDE, split_of(X))
    assert sum(seen) == len(X)


@pytest.mark.parametrize("draws", [1, 7, 5 * DRAWS_PER_STREAM])
def test_no_more_noise_is_held_than_the_chunk(draws, monkeypatch):
    sizes, noise_for = [], WIDE.noise_for

    def counted(*arguments, **options):
        noise = noise_for(*arguments, **options)
        sizes.append(noise.latents[0].numel())
        return noise

    monkeypatch.setattr(WIDE, "noise_for", counted)
    chunk = 4 * DRAWS_PER_STREAM
    Importance(draws=draws, chunk=chunk)(WIDE, split_of(X))
    assert sum(sizes) == draws * len(X) * WIDE.latent
    assert max(sizes) <= chunk


def test_an_example_keeps_its_number_in_any_company_and_order():
    split = split_of(X)
    whole = Importance(draws=50)(WIDE, split)
    order = torch.tensor([5, 0, 3])
    assert_close(Importance(draws=50)(WIDE, split.rows(order)).value, whole.value[order], atol=1e-9, rtol=0)


def test_noise_is_drawn_for_every_example_draw_and_unit():
    (eps,) = WIDE.noise_for(range(50), range(600), seed=0).latents
    flat = eps.reshape(600 * 50 * 2)
    assert len(flat.unique()) == len(flat)
    assert abs(flat.mean()) < 4 / math.sqrt(len(flat))
    assert abs(flat.var() - 1) < 4 * math.sqrt(2 / len(flat))


def test_a_perfect_proposal_has_a_full_effective_sample_size_and_no_error():
    world = Linear(torch.diag(torch.tensor([2.0, 1.0])).double(), torch.zeros(2).double(), 0.3)
    found = Importance(draws=40)(world.model(), split_of(world.sample(5)))
    assert_close(found.effective_sample_size, torch.full((5,), 40.0).double(), atol=1e-6, rtol=0)
    assert_close(found.value, world.log_px(world.sample(5)), atol=1e-9, rtol=0)
    assert found.monte_carlo_error.max() < 1e-6


def test_the_model_is_measured_in_eval_mode_and_handed_back_as_it_was():
    model = WORLD.model()
    model.posterior.network = torch.nn.Sequential(model.posterior.network, torch.nn.Dropout(0.5))
    as_it_should_be = Importance(draws=2)(model.eval(), split_of(X)).value
    model.train()
    assert torch.equal(Importance(draws=2)(model, split_of(X)).value, as_it_should_be)  # nothing was dropped out
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_no_draws_are_refused():
    with pytest.raises(RecipeError, match="draws must be a whole number of at least 1, got 0"):
        Importance(draws=0)(WIDE, split_of(X))
