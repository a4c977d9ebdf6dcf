"""Nats to bits per dimension."""

import math

import pytest

from vael.units import bits_per_dim


def test_a_fair_bit_in_each_dimension_is_one_bit_per_dimension():
    assert bits_per_dim(784 * math.log(2), 784) == pytest.approx(1.0)


def test_uniform_bytes_cost_eight_bits():
    assert bits_per_dim(3 * math.log(256), 3) == pytest.approx(8.0)


def test_no_dimensions_are_refused():
    with pytest.raises(ValueError, match="dims must be above 0, got 0"):
        bits_per_dim(1.0, 0)
