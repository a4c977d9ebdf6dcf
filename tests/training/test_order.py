"""Which examples a step sees is a function of (seed, step), and fair."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vael.data.blocks import Blocks
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


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12), batch=st.integers(1, 70), seed=st.integers(0, 2**31),
    wanted=st.integers(1, 30),
)  # fmt: skip
def test_in_blocks_too_every_epoch_shows_every_example_once(sizes, batch, seed, wanted):
    examples, epochs = sum(sizes), 3
    order = Order(examples, batch, seed, Blocks(sizes, wanted))
    shown = torch.cat([order(step) for step in range(-(-examples * epochs // batch))])
    for epoch in shown[: epochs * examples].reshape(epochs, examples):
        assert sorted(epoch.tolist()) == list(range(examples))


@given(batch=st.integers(1, 40), seed=st.integers(0, 2**31), steps=st.lists(st.integers(0, 60), max_size=5))
def test_in_blocks_too_a_step_can_be_asked_for_at_any_time(batch, seed, steps):
    forward, any_time = (Order(37, batch, seed, Blocks([5, 9, 1, 8, 4, 10], 10)) for _ in range(2))
    known = [forward(step) for step in range(max(steps, default=0) + 1)]
    assert all(torch.equal(any_time(step), known[step]) for step in steps)


def test_an_epoch_goes_through_one_window_of_blocks_after_the_other():
    windows = []
    blocks = Blocks([10] * 12, 40, lambda now, following: windows.append((now, following)))
    order = Order(120, 20, seed=3, blocks=blocks)
    for step in range(18):
        now = {int(position) // 10 for position in order(step)}
        assert now <= set(windows[-1][0])
    seen = [now for now, _ in windows]
    assert sorted(sum(seen[:3], ())) == list(range(12))  # an epoch reads each block once
    assert len(seen) == 9
    assert len(set(seen[:3] + seen[3:6])) == 6  # and another epoch joins other blocks
    assert [following for _, following in windows[:-1]] == seen[1:]  # what comes next was told


def test_a_window_permutes_its_rows_as_a_whole():
    order = Order(4000, 1000, seed=0, blocks=Blocks([1000] * 4, 4000))
    first = order(0) // 1000
    # 250 ± 14 of each block, if rows are dealt evenly
    assert all(abs(int(n) - 250) < 60 for n in first.bincount(minlength=4))


def test_small_blocks_are_joined_until_they_hold_the_rows_wanted():
    blocks = Blocks([3] * 10, 18)
    assert blocks.windows(range(10)) == [(0, 1, 2, 3, 4, 5), (6, 7, 8, 9)]
    assert Blocks([30] * 10, 18).windows(range(10)) == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)]
