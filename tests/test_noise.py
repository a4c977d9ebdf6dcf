"""Randomness by address."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vael.noise import normals, stream

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


def test_the_normals_of_a_step_are_a_function_of_its_place_and_of_nothing_else():
    asked = {"seed": 3, "dtype": torch.float64, "device": "cpu", "purpose": "test"}
    forward = [normals((2, 50, 4), step=step, **asked).clone() for step in range(200)]
    backward = [normals((2, 50, 4), step=step, **asked).clone() for step in reversed(range(200))]
    assert all(torch.equal(one, other) for one, other in zip(forward, reversed(backward), strict=True))
    drawn = torch.stack(forward).flatten()
    assert len(drawn.unique()) == len(drawn)  # no step has another's
    # 80 000 numbers: their mean has a standard error of 0.0035, their variance of 0.005
    assert abs(float(drawn.mean())) < 0.015
    assert abs(float(drawn.var()) - 1) < 0.02
    assert not torch.equal(forward[0], normals((2, 50, 4), step=0, **{**asked, "purpose": "another"}))


def test_a_step_that_needs_much_noise_is_a_block_of_its_own():
    one = normals((1, 1000, 100), seed=0, step=5, dtype=torch.float32, device="cpu", purpose="test")
    assert one.shape == (1, 1000, 100)
    assert one.untyped_storage().nbytes() == one.numel() * 4
