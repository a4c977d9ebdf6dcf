"""What stands behind the page's figures: bins, codes, planes, maps, labels."""

import io
from base64 import b64decode

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from worlds import split_of

import vael
from vael.data import Field
from vael.report.columns import Marginal, bins, coded, grouped, histogram, linear_part, numbered, plain
from vael.report.drawing import drawable, is_drawable
from vael.report.latents import manifold, plane, radius_of
from vael.report.pictures import chain

REAL = Field("x", "real")
RNG = np.random.default_rng(0)


# ── histograms ───────────────────────────────────────────────────────────────────────────────────────────────


@given(
    values=st.lists(st.integers(-300, 4000), min_size=1, max_size=60),
    step=st.sampled_from([0.0, 0.01, 1.0, 5.0]),
    offset=st.sampled_from([0.0, 0.5]),
)
def test_every_value_is_in_one_bin_and_the_edges_rise(values, step, offset):
    field = Field("x", "real", resolution=step, offset=offset)
    x = offset + (step or 0.37) * np.asarray(values, dtype=float)
    edges = bins(x, field, linear_part(x, step))
    assert (np.diff(edges) > 0).all()
    assert len(edges) <= 42
    assert histogram(x, edges).sum() == pytest.approx(100)


@given(values=st.lists(st.integers(0, 100_000), min_size=2, max_size=60), step=st.sampled_from([0.5, 1.0, 3.0]))
def test_no_edge_lies_on_a_point_of_the_grid(values, step):
    """An edge on a grid point would deal one value now to the left, now to the right, as rounding has it."""
    x = step * np.asarray(values, dtype=float)
    edges = bins(x, Field("x", "count", resolution=step), linear_part(x, step))
    places = edges / step
    np.testing.assert_allclose(places - np.floor(places), 0.5, atol=1e-6)


def test_equal_bins_on_a_grid_hold_equally_many_of_its_points():
    x = np.arange(0, 100).astype(float)
    edges = bins(x, Field("x", "real", resolution=1.0), 0.0)
    inside = np.histogram(x, edges)[0][:-1]  # the last may be cut short by the end of the data
    assert len(set(inside.tolist())) == 1


def test_what_lies_beyond_the_edges_is_in_the_bins_at_the_ends():
    found = histogram(np.asarray([-9.0, 0.5, 1.5, 2.5, 3.0, 99.0]), np.asarray([0.0, 1.0, 2.0, 3.0]))
    np.testing.assert_allclose(found, 100 / 6 * np.asarray([2, 1, 3]))


def test_a_long_tail_is_told_from_a_short_one():
    assert linear_part(RNG.normal(size=1000), 0.0) == 0
    assert linear_part(RNG.uniform(0, 1, 1000), 0.0) == 0
    assert linear_part(np.where(RNG.random(1000) < 0.9, 0, RNG.integers(1, 1e5, 1000)).astype(float), 1.0) == 1.0
    skewed = RNG.lognormal(0, 3, 1000)
    assert linear_part(skewed, 0.0) == pytest.approx(np.quantile(skewed, 0.01))


@pytest.mark.parametrize(
    ("number", "shown"), [(0.09157, "0.0916"), (12.0, "12"), (1689.2, "1,689"), (177_400, "177,400"), (3e30, "3e+30")]
)
def test_numbers_are_written_as_people_write_them(number, shown):
    assert plain(number) == shown


# ── levels ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_levels_become_codes_and_missing_ones_none():
    field = Field("c", "category", values=("a", "b", "c"), levels=3)
    found = coded(field, np.asarray(["b", None, "a", "c"], dtype=object))
    np.testing.assert_array_equal(found.values, [1, np.nan, 0, 2])
    assert (found.levels, found.ordered) == (3, False)
    assert coded(Field("b", "binary", values=("no", "yes"), levels=2), np.asarray(["yes"], dtype=object)).ordered


def test_numbers_that_are_not_finite_are_no_values():
    np.testing.assert_array_equal(coded(REAL, np.asarray([1.0, np.inf, np.nan])).values, [1, np.nan, np.nan])


def test_rare_levels_stand_together_and_every_level_is_somewhere():
    values = tuple(f"v{i}" for i in range(30))
    order = RNG.permutation(30).astype(float)
    names, groups = grouped(Field("c", "category", values=values, levels=30), order)
    assert sorted(code for group in groups for code in group) == list(range(30))
    assert [group[0] for group in groups[:9]] == np.argsort(-order)[:9].tolist()
    assert names[-1] == "21 others"


def test_levels_that_have_an_order_keep_it():
    names, _ = grouped(Field("b", "binary", values=(0, 1), levels=2), np.asarray([0.1, 0.9]))
    assert names == ["0", "1"]


def test_many_ordered_levels_are_drawn_as_the_numbers_they_are():
    levels = tuple(range(2, 42, 2))
    field = Field("o", "ordinal", values=levels, levels=20)
    own = np.asarray([2, 40, 8])
    found = numbered(Marginal(field, coded(field, own), coded(field, own[::-1])))
    assert found.data.values.tolist() == [2, 40, 8]
    assert found.samples.values.tolist() == [8, 40, 2]
    assert (found.field.resolution, found.field.offset, found.field.values) == (2, 2, ())
    holed = numbered(Marginal(field, None, coded(field, np.asarray([4, None], dtype=object))))
    np.testing.assert_array_equal(holed.samples.values, [4, np.nan])


def test_labels_keep_beginning_and_end_and_letters_that_can_be_drawn():
    assert drawable("short") == "short"
    assert len(drawable("x" * 99, 18)) <= 18
    assert drawable("mean_fractal_dimension", 12).startswith("mean_fr")
    assert drawable("mean_fractal_dimension", 12).endswith("sion")
    assert drawable("東京\n") == "□□□"
    assert is_drawable("Größe, σ²")
    assert not is_drawable("東京")


# ── the latent space ─────────────────────────────────────────────────────────────────────────────────────────


def test_two_latents_are_their_own_plane():
    means = RNG.normal(size=(50, 2))
    np.testing.assert_array_equal(plane(means).places, means)


def test_the_plane_of_many_latents_is_that_of_their_largest_variance():
    means = RNG.normal(size=(400, 5)) * [0.1, 3.0, 0.2, 2.0, 0.1] + [1, 2, 3, 4, 5]
    found = plane(means)
    values, vectors = np.linalg.eigh(np.cov(means.T))
    np.testing.assert_allclose(found.places.var(axis=0, ddof=1), values[::-1][:2])
    share = 100 * values[::-1][:2] / values.sum()
    assert [f"{each:.0f} %" in name for each, name in zip(share, found.names, strict=True)] == [True, True]
    # The prior's middle is where z = 0 falls.
    origin = -means.mean(0) @ vectors[:, ::-1][:, :2]
    np.testing.assert_allclose(np.abs(found.centre), np.abs(origin))


def test_the_circles_hold_the_shares_of_the_prior_that_the_page_says():
    radius = np.linalg.norm(RNG.normal(size=(200_000, 2)), axis=1)
    for share in (0.5, 0.95):
        assert (radius < radius_of(share)).mean() == pytest.approx(share, abs=0.005)  # over 4 standard errors


def test_the_map_has_z1_to_the_right_and_z2_upwards(tmp_path):
    pictures = RNG.integers(0, 17, (60, 1, 8, 8)).astype(np.uint8)
    pictures[0, 0, 0, :2] = 0, 16
    run = vael.fit(pictures, output=tmp_path / "run", latent=2, steps=5)
    (gallery,) = manifold(run.subject())
    sheet = np.asarray(Image.open(io.BytesIO(b64decode(gallery.pictures[0].uri.partition(",")[2]))))
    end = 1.8339  # the normal quantile of 1 − 1/30
    corners = {(0, 0): (-end, end), (0, 14): (end, end), (14, 0): (-end, -end)}
    for (row, column), z in corners.items():
        law = run.model.likelihood(torch.tensor([z]))
        wanted = vael.data.decode(run.model.likelihood.centre(law), run.schema, centres=True)["x"][0, 0]
        tile = sheet[2 + 50 * row : 50 + 50 * row, 2 + 50 * column : 50 + 50 * column, 0][::6, ::6]
        np.testing.assert_allclose(tile, wanted.astype(float) * 255 / 16, atol=0.51)


def test_the_page_goes_from_one_label_to_another_and_without_labels_on():
    import dataclasses

    split = split_of(torch.zeros(7, 1))
    assert chain(split, 3).tolist() == [0, 1, 2]
    labelled = dataclasses.replace(split, label=torch.tensor([4, 4, 4, 1, 1, 4, 2]))
    assert chain(labelled, 3).tolist() == [0, 3, 5]
    assert chain(dataclasses.replace(split, label=torch.full((7,), 3)), 3).tolist() == [0, 1]
