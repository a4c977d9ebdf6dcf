"""Disentanglement on codes whose answers are known: the factors themselves, turned, doubled, or noise."""

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score

from vael import RecipeError
from vael.diagnostics import disentanglement
from vael.diagnostics.disentanglement import dci, factor_score, informations, mig, sap, spread

RNG = np.random.default_rng(0)
FACTORS = np.stack(np.meshgrid(np.arange(4), np.arange(5), np.arange(6), indexing="ij"), -1).reshape(-1, 3)
FACTORS = np.tile(FACTORS, (30, 1))  # every combination equally often: 3600 rows
SELF = FACTORS.astype(float)
NOISE = RNG.normal(size=(len(FACTORS), 3))


def test_units_that_are_the_factors_score_one():
    found = disentanglement(SELF, FACTORS)
    assert found.mig == pytest.approx(1)
    assert found.sap == pytest.approx(1)
    assert found.factor == 1
    assert found.disentanglement == pytest.approx(1)
    assert found.completeness == pytest.approx(1)
    assert found.informativeness == 1


def test_units_of_noise_score_what_chance_gives():
    """Of three factors a vote for one is right a third of the time: 800 votes, half of them judging; four errors."""
    found = disentanglement(NOISE, FACTORS)
    assert found.mig < 0.01
    assert found.sap < 0.01
    assert abs(found.factor - 1 / 3) < 4 * np.sqrt(2 / 9 / 400) + 0.03
    assert found.disentanglement < 0.1
    assert found.informativeness < 0.35


def test_a_unit_told_twice_has_no_gap_and_is_not_complete():
    doubled = np.concatenate([SELF, SELF[:, :1]], 1)
    shared = informations(doubled, FACTORS)
    assert mig(shared, FACTORS) == pytest.approx(2 / 3)  # two of three factors keep their gap
    assert sap(doubled, FACTORS) == pytest.approx(2 / 3)
    found = dci(doubled, FACTORS)
    assert found[0] == pytest.approx(1)  # each unit tells one factor
    assert found[1] < 0.95


def test_factors_that_are_mixed_have_small_gaps_though_nothing_is_lost():
    turned = SELF @ np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    found = disentanglement(turned, FACTORS)
    assert found.mig < 0.5
    assert found.disentanglement < 0.8
    assert found.informativeness > 0.5


def test_informations_are_scikit_learns():
    codes = SELF + 0.7 * NOISE
    found = informations(codes, FACTORS, bins=20)
    for unit in range(3):
        edges = np.histogram_bin_edges(codes[:, unit], 20)
        cell = np.digitize(codes[:, unit], edges[1:-1])
        for column in range(3):
            assert found[unit, column] == pytest.approx(mutual_info_score(cell, FACTORS[:, column]), abs=1e-12)


def test_the_spread_of_a_row_is_its_entropy_over_the_largest():
    rows = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    wanted = [entropy(row) / np.log(3) for row in rows[:3]]
    assert np.allclose(spread(rows), [*wanted, 1.0])


def test_a_dead_unit_takes_no_votes():
    """One that never moves has no variance to divide by, and would else win each vote."""
    dead = np.concatenate([SELF, np.zeros((len(SELF), 1))], 1)
    assert factor_score(dead, FACTORS) == 1


@pytest.mark.parametrize(
    ("codes", "factors", "told"),
    [
        (SELF[:, :1], FACTORS, "at least 2 units"),
        (SELF, np.zeros_like(FACTORS), "factor 0 has one value"),
        (SELF[:5], FACTORS, r"codes have shape \(5, 3\) and factors"),
    ],
)
def test_what_cannot_be_measured_is_refused(codes, factors, told):
    with pytest.raises(RecipeError, match=told):
        disentanglement(codes, factors)
