"""The way from one example to another."""

import math

import pytest
import torch
from torch.testing import assert_close
from worlds import Linear, split_of

from vael import RecipeError
from vael.applications import interpolate, reconstruct
from vael.applications.interpolate import arc, line

WORLD = Linear.random(latent=3, observed=5, seed=4)
SHARES = torch.linspace(0, 1, 9, dtype=torch.float64)


def vector(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


@pytest.mark.parametrize("spherical", [False, True])
def test_the_ends_of_a_way_are_the_reconstructions_of_its_examples(spherical):
    split, model = split_of(WORLD.sample(4)), WORLD.model()
    ways, ends = interpolate(model, split, steps=6, spherical=spherical), reconstruct(model, split)
    assert ways.shape == (3, 6, 5)
    assert_close(ways[:, 0], ends[:-1], atol=1e-9, rtol=0)  # rounding: products of another batch size
    assert_close(ways[:, -1], ends[1:], atol=1e-9, rtol=0)


def test_an_affine_decoder_makes_a_straight_line_straight_in_x():
    split, model = split_of(WORLD.sample(2)), WORLD.model()
    (way,) = interpolate(model, split, steps=5)
    start, end = reconstruct(model, split)
    assert_close(way, torch.stack([start + t / 4 * (end - start) for t in range(5)]), atol=1e-9, rtol=0)


def test_a_great_circle_keeps_its_distance_and_turns_evenly():
    """Against the rotation in the plane of a and b, which is the circle's definition."""
    a, b = vector(2, 0, 0), vector(0, 1.2, 1.6)
    rotated = torch.stack([math.cos(t * math.pi / 2) * a + math.sin(t * math.pi / 2) * b for t in SHARES.tolist()])
    assert_close(arc(a, b, SHARES), rotated, atol=1e-12, rtol=0)
    assert_close(arc(a, b, SHARES).norm(dim=1), torch.full((9,), 2.0).double(), atol=1e-12, rtol=0)
    assert line(a, b, SHARES)[4].norm() < 1.5  # the chord comes nearer to the middle


def test_latents_of_one_direction_are_joined_by_a_straight_line_and_opposite_ones_by_none():
    a = vector(0.3, -0.2, 0.9)
    assert_close(arc(a, 3 * a, SHARES), line(a, 3 * a, SHARES), atol=1e-12, rtol=0)
    with pytest.raises(RecipeError, match="opposite to each other"):
        arc(a, -2 * a, SHARES)


def test_a_nearly_straight_arc_is_not_lost_to_rounding():
    a = vector(1, 0)
    b = vector(math.cos(1e-5), math.sin(1e-5))
    way = arc(a, b, SHARES)
    assert_close(torch.atan2(way[:, 1], way[:, 0]), 1e-5 * SHARES, atol=1e-14, rtol=0)


def test_one_example_or_one_step_is_no_way():
    for rows, steps in ((1, 5), (3, 1)):
        with pytest.raises(RecipeError, match=f"got {rows} rows and {steps} steps"):
            interpolate(WORLD.model(), split_of(WORLD.sample(rows)), steps=steps)
