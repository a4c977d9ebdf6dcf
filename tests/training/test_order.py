"""Which examples a step sees is a function of (seed, step), and fair."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vael.training.order import Order

sizes = st.integers(1, 60)


@given(examples=sizes, batch=st.integers(1, 130), seed=st.integers(0, 2**31))
def test_every_epoch_shows_every_example_once_whatever_the_batch(examples, batch, seed):
    order, epochs = Order(examples, batch, seed), 3
    steps = -(-examples * epochs // batch)
    shown = torch.cat([order(step) for step in range(steps)])
    for epoch in shown[: epochs * examples].reshape(epochs, examples):
        assert sorted(epoch.tolist()) == list(range(examples))


@given(examples=sizes, batch=sizes, seed=st.integers(0, 2**31), steps=st.lists(st.integers(0, 60), max_size=5))
def test_a_step_can_be_asked_for_at_any_time_and_is_always_the_same(examples, batch, seed, steps):
    forward, any_time = Order(examples, batch, seed), Order(examples, batch, seed)
    known = [forward(step) for step in range(max(steps, default=0) + 1)]
    assert all(torch.equal(any_time(step), known[step]) for step in steps)
    assert all(len(shown) == batch for shown in known)


def test_epochs_and_seeds_are_shuffled_differently():
    order = Order(1000, 1000, seed=0)
    assert not torch.equal(order(0), order(1))
    assert not torch.equal(order(0), Order(1000, 1000, seed=1)(0))


def test_the_global_generator_is_neither_read_nor_moved():
    torch.manual_seed(1)
    first, state = Order(50, 10, seed=3)(0), torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(first, Order(50, 10, seed=3)(0))
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("step", [0, 7, 10**9])
def test_a_far_step_costs_one_permutation(step):
    assert sorted(Order(30, 30, seed=0)(step).tolist()) == list(range(30))
