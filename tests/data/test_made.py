"""Data sets that are computed: their factors move what they say, and the ring has its known density."""

import numpy as np
import pytest

from vael.data import Reading
from vael.data.sources import read


def columns(name: str) -> dict[str, np.ndarray]:
    return read(name, Reading()).columns


def test_every_combination_of_factors_is_drawn_once():
    made = columns("sprites")
    factors = np.stack(
        [np.unique(made[n], return_inverse=True)[1] for n in ("shape", "scale", "turn", "across", "down")], 1
    )
    assert len(np.unique(factors, axis=0)) == len(factors) == 3 * 6 * 8 * 8 * 8
    assert set(np.unique(made["x"])) == {0, 1}
    assert (made["x"].sum((1, 2, 3)) > 10).all()


def test_places_move_the_centre_and_scales_the_area():
    made = columns("sprites")
    y, x = np.mgrid[:32, :32]
    area = made["x"][:, 0].sum((1, 2))
    across, down = ((made["x"][:, 0] * at).sum((1, 2)) / area for at in (x, y))
    for kind in ("square", "ellipse"):  # whose middle is their centre
        chosen = made["shape"] == kind
        for value, moved in ((across, "across"), (down, "down")):
            means = [value[chosen & (made[moved] == step)].mean() for step in range(8)]
            assert np.allclose(means, 7.5 + np.arange(8) * 16 / 7, atol=0.3)
        sizes = [area[chosen & (made["scale"] == step)].mean() for step in range(6)]
        assert np.allclose(np.diff(np.sqrt(sizes)), np.diff(np.sqrt(sizes)).mean(), rtol=0.3)


def test_a_turn_changes_a_shape_that_it_should():
    made = columns("sprites")
    for kind in ("square", "ellipse", "heart"):
        chosen = (made["shape"] == kind) & (made["scale"] == 5) & (made["across"] == 3) & (made["down"] == 3)
        pictures = made["x"][chosen].reshape(8, -1).astype(int)
        apart = np.abs(pictures[:, None] - pictures[None]).sum(-1)
        assert (apart[~np.eye(8, dtype=bool)] > 3).all(), kind


def test_the_ring_has_the_mean_deviation_and_share_of_its_density():
    """Mean 1.1253314137, standard deviation .0655136378, P(r < 1.1) = .3934693403; four standard errors of 20,000."""
    made = columns("ring")
    r = np.hypot(made["across"], made["up"])
    assert abs(r.mean() - 1.1253314137) < 4 * 0.0655136378 / np.sqrt(len(r))
    assert abs(r.std() / 0.0655136378 - 1) < 4 / np.sqrt(2 * len(r))
    assert abs((r < 1.1).mean() - 0.3934693403) < 4 * np.sqrt(0.24 / len(r))
    angle = np.arctan2(made["up"], made["across"])
    assert abs(np.exp(1j * angle).mean()) < 4 / np.sqrt(len(r))
    assert r.mean() != pytest.approx(1.0, abs=0.05)
