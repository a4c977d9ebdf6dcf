"""Draws of z for a split: by address, of a shuffled part, with the model left as it was."""

import torch
from torch.distributions import Independent, Normal
from torch.testing import assert_close
from worlds import Linear, split_of

from vael.diagnostics import decoder_use
from vael.diagnostics.draws import at_rest, draw, posterior_draws, some

WORLD = Linear.random(latent=2, observed=4, seed=1)


def test_a_part_is_shuffled_so_that_a_file_in_order_of_class_shows_every_class():
    ordered = split_of(torch.arange(1000.0)[:, None])
    part = some(ordered, 100, seed=0)
    assert len(part) == 100
    assert len(part.index.unique()) == 100
    assert (part.index // 100).unique().tolist() == list(range(10))
    assert some(ordered, 100, seed=0).index.tolist() == part.index.tolist()
    assert sorted(some(ordered, None, seed=3).index.tolist()) == list(range(1000))


def test_an_examples_draws_depend_on_its_row_alone():
    model, split = WORLD.model(), split_of(WORLD.sample(1200))
    whole = posterior_draws(model, split, draws=3, seed=5)
    part = posterior_draws(model, split.rows(torch.tensor([700, 3])), draws=3, seed=5)
    assert_close(part, whole[:, [700, 3]], atol=1e-12, rtol=0)
    assert not torch.equal(whole, posterior_draws(model, split, draws=3, seed=6))


def test_a_law_that_takes_no_noise_draws_by_the_same_seed_and_moves_no_global_state():
    law, eps, before = Independent(Normal(torch.zeros(4, 2), 1.0), 1), torch.randn(3, 4, 2), torch.get_rng_state()
    first, second = draw(law, eps), draw(law, eps)
    assert first.shape == (3, 4, 2)
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


def test_looking_at_a_model_leaves_its_mode_and_the_global_generator_as_they_were():
    model, before = WORLD.model().train(), torch.get_rng_state()
    decoder_use(model, split_of(WORLD.sample(20)))
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)
    with at_rest(model):
        assert not model.training
        assert not torch.is_grad_enabled()
    assert model.training
