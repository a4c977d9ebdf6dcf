"""Randomness by address."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vael.noise import stream

places = st.tuples(st.integers(0, 2**31), st.integers(0, 2**31), st.sampled_from(["latent", "order", "binarise"]))


def first(seed: int, place: int, purpose: str) -> torch.Tensor:
    return torch.rand(4, generator=stream(seed, place, purpose=purpose))


@given(places, places)
def test_equal_addresses_give_equal_streams_and_other_addresses_other_streams(a, b):
    assert torch.equal(first(*a), first(*a))
    assert torch.equal(first(*a), first(*b)) == (a == b)


def test_neighbouring_addresses_are_uncorrelated():
    draws = torch.stack([torch.randn(1000, generator=stream(0, step, purpose="latent")) for step in range(40)])
    correlations = torch.corrcoef(draws) - torch.eye(40)
    assert correlations.abs().max() < 5 / 1000**0.5


def test_digits_of_an_address_cannot_be_read_two_ways():
    assert not torch.equal(first(1, 23, "x"), first(12, 3, "x"))


@pytest.mark.parametrize("seed", [0, 1, 2**63])
def test_a_stream_moves_no_global_state(seed):
    before = torch.get_rng_state()
    first(seed, 0, "latent")
    assert torch.equal(before, torch.get_rng_state())
