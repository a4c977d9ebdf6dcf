"""How far the columns of two tables are apart: each by itself, and in pairs. Data beside samples, for the report.

A column is float64 `(N,)` with NaN where a value is missing: numbers as they are, levels as codes 0 … levels − 1.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Column:
    """A column of one table. levels: How many values it can take, 0 for numbers. ordered: Whether more means more."""

    values: Floats
    levels: int = 0
    ordered: bool = True

    @property
    def seen(self) -> Floats:
        """The values that are there."""
        return self.values[~np.isnan(self.values)]


@dataclass(frozen=True)
class Distance:
    """How far two columns are apart, 0 … 1, and how far two samples of one law are on average at these sizes."""

    value: float
    chance: float


def distance(a: Column, b: Column) -> Distance:
    """The largest difference between the two columns' probabilities: of any set of levels, or of any half-line.

        levels:   total variation ½ Σ_l |p_l − q_l|;   for one law E = ½ Σ_l √(2/π · p_l (1 − p_l) (1/n + 1/m))
        numbers:  Kolmogorov–Smirnov sup_x |F(x) − G(x)|;  for one law E ≈ 0.8687 √(1/n + 1/m), less where values repeat

    Both are 1 where one column has no value at all.
    """
    n, m = len(a.seen), len(b.seen)
    if not n or not m:
        return Distance(1.0, 1.0)
    return _of_levels(a, b) if a.levels else _of_numbers(a.seen, b.seen)


def shares(column: Column) -> Floats:
    """Share of each level among the values that are there, `(levels,)`."""
    counts = np.bincount(column.seen.astype(np.int64), minlength=column.levels)
    found: Floats = counts / max(counts.sum(), 1)
    return found


def _of_levels(a: Column, b: Column) -> Distance:
    p, q, pooled = shares(a), shares(b), shares(Column(np.concatenate([a.seen, b.seen]), a.levels))
    spread = 2 / math.pi * pooled * (1 - pooled) * (1 / len(a.seen) + 1 / len(b.seen))
    return Distance(float(np.abs(p - q).sum() / 2), min(1.0, float(np.sqrt(spread).sum() / 2)))


def _of_numbers(a: Floats, b: Floats) -> Distance:
    a, b = np.sort(a), np.sort(b)
    places = np.concatenate([a, b])
    below = [np.searchsorted(column, places, side="right") / len(column) for column in (a, b)]
    # The mean of Kolmogorov's law is √(π/2) log 2 = 0.8687.
    chance = math.sqrt(math.pi / 2) * math.log(2) * math.sqrt(1 / len(a) + 1 / len(b))
    return Distance(float(np.abs(below[0] - below[1]).max()), min(1.0, chance))


# ── pairs ────────────────────────────────────────────────────────────────────────────────────────────────────


def associations(columns: list[Column]) -> Floats:
    """How much each column tells of each other one, `(F, F)`, ones on the diagonal; NaN where one does not vary.

    Two ordered columns have Spearman's rank correlation, −1 … 1. An ordered one and one of levels without order have
    the correlation ratio of its ranks, and two of levels Cramér's V, both 0 … 1 and corrected for the bias that small
    tables and many levels have. Each over the rows where both are there.
    Source: Kelley 1935, PNAS 21(9), for the ratio; Bergsma 2013, J. Korean Stat. Soc. 42, for V.
    """
    found = np.eye(len(columns))
    for i, a in enumerate(columns):
        for j in range(i):
            found[i, j] = found[j, i] = association(a, columns[j])
    return found


def association(a: Column, b: Column) -> float:
    """How much one column tells of another; see `associations`."""
    both = ~(np.isnan(a.values) | np.isnan(b.values))
    x, y = a.values[both], b.values[both]
    if len(x) < 2 or x.min() == x.max() or y.min() == y.max():
        return math.nan
    if a.ordered and b.ordered:
        return float(np.corrcoef(ranks(x), ranks(y))[0, 1])
    if a.ordered or b.ordered:
        return _ratio(*((ranks(x), y) if a.ordered else (ranks(y), x)))
    return _cramer(x, y)


def ranks(values: Floats) -> Floats:
    """Ranks from 1, equal values sharing the middle of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle: Floats = np.cumsum(counts) - (counts - 1) / 2
    return middle[place]


def _ratio(numbers: Floats, groups: Floats) -> float:
    """√ε², ε² = 1 − (within / (n − k)) / (total / (n − 1)), sums of squares over k groups; 0 where that is below 0."""
    _, place, counts = np.unique(groups, return_inverse=True, return_counts=True)
    means = np.bincount(place, numbers) / counts
    n, k = len(numbers), len(counts)
    total = float(np.square(numbers - numbers.mean()).sum())
    within = float(np.square(numbers - means[place]).sum())
    if n <= k:
        return math.nan
    return math.sqrt(max(0.0, 1 - within / (n - k) * (n - 1) / total))


def _cramer(a: Floats, b: Floats) -> float:
    """√(φ² / min(r − 1, c − 1)), each corrected: φ² − (r−1)(c−1)/(n−1), r − (r−1)²/(n−1), c − (c−1)²/(n−1)."""
    (rows, a_place), (columns, b_place) = (np.unique(values, return_inverse=True) for values in (a, b))
    r, c, n = len(rows), len(columns), len(a)
    table = np.bincount(a_place * c + b_place, minlength=r * c).reshape(r, c)
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / n
    phi = float((np.square(table - expected) / expected).sum()) / n - (r - 1) * (c - 1) / (n - 1)
    least = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
    return math.sqrt(max(0.0, phi) / least) if least > 0 else math.nan
