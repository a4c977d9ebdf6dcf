"""Distances and associations of columns, against scipy and closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vael.diagnostics import Column, association, associations, distance, shares
from vael.diagnostics.columns import ranks

RNG = np.random.default_rng(0)
numbers = st.lists(st.integers(-5, 5).map(float), min_size=2, max_size=40).map(np.asarray)


def levels(values, count, ordered=False):
    return Column(np.asarray(values, dtype=float), levels=count, ordered=ordered)


@given(numbers, numbers)
def test_the_distance_of_numbers_is_the_kolmogorov_smirnov_statistic(a, b):
    assert distance(Column(a), Column(b)).value == pytest.approx(stats.ks_2samp(a, b, method="asymp").statistic)


def test_the_distance_of_levels_is_the_total_variation_and_ignores_what_is_missing():
    a, b = levels([0, 0, 1, np.nan], 3), levels([0, 1, 1, 2], 3)
    assert shares(a).tolist() == [2 / 3, 1 / 3, 0]
    assert distance(a, b).value == pytest.approx((5 / 12 + 1 / 6 + 1 / 4) / 2)
    assert distance(a, levels([np.nan], 3)).value == 1.0


@pytest.mark.parametrize("kind", ["numbers", "levels"])
def test_the_distance_expected_by_chance_is_the_mean_over_repetitions(kind):
    found = []
    for _ in range(400):
        if kind == "numbers":
            found.append(distance(Column(RNG.normal(size=300)), Column(RNG.normal(size=200))))
        else:
            a, b = (RNG.choice(4, size, p=[0.6, 0.2, 0.15, 0.05]) for size in (300, 200))
            found.append(distance(levels(a, 4), levels(b, 4)))
    mean = np.mean([each.value for each in found])
    assert mean == pytest.approx(np.mean([each.chance for each in found]), rel=0.05)  # 400 repetitions: 1.5 %


@given(numbers)
def test_ranks_share_the_middle_of_equal_values(values):
    np.testing.assert_array_equal(ranks(values), stats.rankdata(values))


def test_two_ordered_columns_have_spearmans_correlation_over_the_rows_where_both_are_there():
    x = RNG.normal(size=500)
    y = np.round(x + RNG.normal(size=500), 1)
    x[::7], y[::11] = np.nan, np.nan
    both = ~np.isnan(x + y)
    assert association(Column(x), Column(y)) == pytest.approx(stats.spearmanr(x[both], y[both]).statistic)


def test_levels_without_a_link_have_no_association_on_average():
    """The plain statistics are biased upwards by (levels − 1)/n; the corrected ones are not, before the cut at 0."""
    for b in (lambda: levels(RNG.integers(0, 20, 200), 20), lambda: Column(RNG.normal(size=200))):
        found = [association(levels(RNG.integers(0, 20, 200), 20), b()) for _ in range(100)]
        assert np.median(found) < 0.1  # uncorrected: √(19/200) ≈ 0.31


def test_strong_links_of_levels_are_found_at_their_size():
    a = RNG.integers(0, 5, 4000)
    assert association(levels(a, 5), levels((a * 2) % 5, 5)) == pytest.approx(1.0, abs=0.01)
    half = np.where(RNG.random(4000) < 0.5, a, RNG.integers(0, 5, 4000))
    plain = stats.contingency.association(np.histogram2d(a, half, 5)[0].astype(int), method="cramer")
    assert association(levels(a, 5), levels(half, 5)) == pytest.approx(plain, abs=0.01)  # n is large: no bias left
    group_means = RNG.normal(size=4000) + a
    h = stats.kruskal(*(group_means[a == k] for k in range(5))).statistic
    assert association(levels(a, 5), Column(group_means)) == pytest.approx(math.sqrt(h / 3999), abs=0.01)


def test_the_matrix_is_symmetric_with_ones_and_knows_nothing_of_a_constant():
    table = [Column(RNG.normal(size=50)), levels(RNG.integers(0, 3, 50), 3), Column(np.ones(50))]
    found = associations(table)
    np.testing.assert_array_equal(found, found.T)
    assert found.diagonal().tolist() == [1, 1, 1]
    assert np.isnan(found[2, :2]).all()
    assert not np.isnan(found[0, 1])


def test_an_order_of_two_levels_is_a_sign():
    flag = RNG.integers(0, 2, 400).astype(float)
    x = Column(flag + 0.1 * RNG.normal(size=400))
    assert association(levels(flag, 2, ordered=True), x) > 0.8
    assert association(levels(1 - flag, 2, ordered=True), x) < -0.8
