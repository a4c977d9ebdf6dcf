"""What the rules of `infer` ask of a column: its values, its grid, its spike, its tail."""

from collections.abc import Sequence
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from vael.data.frame import Frame
from vael.data.schema import Value
from vael.errors import DataError

Column = NDArray[np.generic]
Floats = NDArray[np.float64]

FEWEST_ROWS = 20  # below this, "all distinct" says nothing
SPIKE, STANDS_OUT = 0.1, 3  # a share of one value, so many times the next one's, that no law on a line explains
FEWEST_LEVELS = 20  # distinct values: with fewer, ordered whole numbers are answers on a scale, and no law on a line
SMALL_COUNT = 10
EXACT = 2.0**53  # beyond it every float64 is whole
FINEST = 1e-7  # a grid finer than this share of the range is none
PICTURE_GRIDS = (1 / 15, 1 / 16, 1 / 17, 1 / 255)


class Facts:
    """One column and what the rules ask of it; whatever costs a sort is found once, and only when asked for."""

    def __init__(self, frame: Frame, name: str) -> None:
        self.source, self.name, self.column = frame.name, name, frame.columns[name]
        self.marks = frame.marks.get(name, ())
        self.shape = self.column.shape[1:]
        self.text = self.column.dtype.kind in "OU"
        if self.column.dtype.kind == "f":
            self._refuse_infinity()
        if self.shape and self.missing:
            raise DataError(
                f"{self.at(self.absent)}: the value is missing (NaN), and pictures cannot have holes.\n"
                f"  Fill the value in, leave the row out, or give the data as a table of columns."
            )

    def _refuse_infinity(self) -> None:
        # The extremes are infinite if anything is, unless a NaN hides them: then look at each value.
        ends = (self.column.min(), self.column.max())
        if np.isfinite(ends).all():
            return
        infinite = np.isinf(self.column)
        if infinite.any():
            raise DataError(
                f"{self.at(infinite)}: {self.value(infinite)} is not a number a model can take.\n"
                f"  Correct the value, or leave it empty (NaN) if it is missing."
            )

    def at(self, bad: NDArray[np.bool_]) -> str:
        """Where the first True of `bad` (shape of the column) stands: source, column, row, position."""
        row, *position = (int(i) for i in np.argwhere(bad)[0])
        place = f", position ({', '.join(map(str, position))})" if position else ""
        return f"{self.source}, column {self.name!r}, row {row + 1}{place}"

    def value(self, bad: NDArray[np.bool_]) -> Value:
        """The value under the first True of `bad`."""
        return cast(Value, self.column[tuple(np.argwhere(bad)[0])])

    @cached_property
    def absent(self) -> NDArray[np.bool_]:
        """Which values are missing."""
        if self.text:
            return np.asarray([value is None for value in self.column.ravel()]).reshape(self.column.shape)
        return np.isnan(self.column) if self.column.dtype.kind == "f" else np.zeros(self.column.shape, bool)

    @cached_property
    def missing(self) -> int:
        """How many values are missing."""
        if self.column.dtype.kind == "f" and not np.isnan(self.column.min()):
            return 0
        return int(self.absent.sum()) if self.text or self.column.dtype.kind == "f" else 0

    @cached_property
    def observed(self) -> Column:
        """The values that are there, flat."""
        return self.column[~self.absent] if self.missing else self.column.ravel()

    @property
    def nothing(self) -> bool:
        """Whether every value is missing."""
        return self.missing == self.column.size

    @cached_property
    def ends(self) -> tuple[float, float]:
        """Smallest and largest observed number."""
        return float(self.observed.min()), float(self.observed.max())

    @cached_property
    def distinct(self) -> Column:
        """The observed values, each once, sorted."""
        if self.text or self.nothing:
            return np.asarray(sorted(set(self.observed)), dtype=object)
        low, high = self.observed.min(), self.observed.max()
        # Constants and binaries, the common case of wide tables, are found without a sort.
        if ((self.observed == low) | (self.observed == high)).all():
            return np.asarray([low] if low == high else [low, high])
        if self.column.dtype == np.uint8:
            return np.flatnonzero(np.bincount(self.observed.astype(np.uint8, copy=False))).astype(np.uint8)
        return np.unique(self.observed)

    @cached_property
    def whole(self) -> bool:
        """Whether all observed values are whole numbers, and known to be."""
        if self.column.dtype.kind in "biu":
            return True
        if self.text or max(abs(end) for end in self.ends) >= EXACT:
            return False
        return bool((self.distinct == np.rint(self.distinct.astype(np.float64))).all())

    @cached_property
    def resolution(self) -> float:
        """Step of the grid the values lie on, counted from `offset`; 0 if continuous."""
        return self._grid_from_zero or self._grid_from_least

    @property
    def offset(self) -> float:
        """A point of the grid: 0, or the least value where the grid does not pass through 0."""
        return 0.0 if self._grid_from_zero or not self._grid_from_least else float(self.distinct[0])

    @cached_property
    def _grid_from_least(self) -> float:
        # Standardised whole numbers: equal gaps, but no multiples. Few distinct values, or equal gaps prove nothing.
        if len(self.distinct) < 5 or 2 * len(self.distinct) > len(self.observed) or self._floating_error > 1e-9:
            return 0.0
        gaps = self.distinct.astype(np.float64) - float(self.distinct[0])
        steps = _smallest_gap(gaps)
        return steps[0] if steps and _multiples(gaps / steps[0], 1e-9) else 0.0

    @property
    def _floating_error(self) -> float:
        return 1e-9 if self.column.dtype.itemsize >= 8 else 1e-6 if self.column.dtype.itemsize == 4 else 1e-3

    @cached_property
    def _grid_from_zero(self) -> float:
        if self.whole:
            steps = np.gcd.reduce(self.distinct.astype(np.int64)) if self.column.dtype.kind != "b" else 1
            return float(abs(int(steps))) or 1.0
        return grid(self.distinct.astype(np.float64), self._floating_error, PICTURE_GRIDS if self.shape else ())

    @cached_property
    def spike(self) -> tuple[float, float] | None:
        """The one value that a large share of the rows have, and its share; None where the others are few or alike."""
        values, counts = np.unique(self.observed, return_counts=True)
        # The rest must be enough, and varied enough, to have a law of its own.
        if len(self.observed) < FEWEST_ROWS or len(values) < FEWEST_LEVELS:
            return None
        next_one, most = np.sort(counts)[-2:]
        # Off a grid a density grows without limit at a value that repeats; on one only a towering value needs an atom.
        if most < SPIKE * len(self.observed) or (self.resolution and most < STANDS_OUT * next_one):
            return None
        return float(values[counts.argmax()]), float(most / len(self.observed))

    @cached_property
    def beside_spike(self) -> Floats:
        """The observed numbers without the spike."""
        own = self.observed.astype(np.float64)
        return own if self.spike is None else own[own != self.spike[0]]

    @cached_property
    def long_tailed(self) -> bool:
        """Whether skewness is above 1 and the variance above the mean."""
        values = self.observed.astype(np.float64)
        return bool(values.var() > values.mean() and _skewness(values) > 1.0)

    @cached_property
    def counts_up(self) -> bool:
        """Whether small counts occur beside 0: amounts of money jump from 0 to hundreds, counts do not."""
        own = self.observed.astype(np.float64)
        return bool(np.quantile(own[own > 0], 0.01) <= SMALL_COUNT)

    @cached_property
    def multiplicative(self) -> bool:
        """Whether the numbers beside a spike are above zero, and their logarithm is nearer to normal than they are."""
        values = self.beside_spike
        if len(values) < FEWEST_ROWS or values.min() <= 0 or self.ends[0] < 0:
            return False
        skewness = _skewness(values)
        return skewness > 1.0 and abs(_skewness(np.log(values))) < skewness

    @cached_property
    def a_run(self) -> bool:
        """Whether the values are consecutive integers, each once: a row number."""
        low, high = self.ends
        return self.column.dtype.kind in "iu" and len(self.distinct) == len(self.column) == high - low + 1


def _skewness(values: Floats) -> float:
    spread = float(values.std())
    return float((((values - values.mean()) / spread) ** 3).mean()) if spread > 0 else 0.0


def grid(values: Floats, error: float, also: Sequence[float] = ()) -> float:
    """The largest step of which all `values` are whole multiples, within floating error; 0 if there is none.

    Tried in turn: powers of ten from 1 to 1e-9 times the common divisor of the multiples, the smallest gap between
    values, and the steps `also`. A step finer than 1e-7 of the range counts as none.

    values: Distinct and sorted, `(N,)`.
    error: Relative error of the source's type; 1e-9 for float64, 1e-6 for float32.
    """
    found = 0.0
    largest = float(np.abs(values[[0, -1]]).max())
    for power in (10.0**k for k in range(10) if largest < EXACT / 10.0**k):
        if _multiples(values * power, error):
            common = int(np.gcd.reduce(np.rint(values * power).astype(np.int64)))
            found = common / power
            break
    else:
        for step in (*_smallest_gap(values), *also):
            if _multiples(values / step, error):
                found = step
                break
    # Halved, because the range of the largest doubles is no double.
    return found if found / 2 > FINEST * (values[-1] / 2 - values[0] / 2) else 0.0


def _multiples(counts: Floats, error: float) -> bool:
    # The cap keeps large counts honest: half a step of slack would let every number pass.
    return bool((np.abs(counts - np.rint(counts)) <= np.minimum(error * np.abs(counts), 0.05)).all())


def _smallest_gap(values: Floats) -> tuple[float, ...]:
    """The smallest difference of two values, made exact with the largest value; () when that is no multiple."""
    largest = float(np.abs(values[[0, -1]]).max())
    gap = float(np.diff(values / 2).min()) * 2 if len(values) > 2 else 0.0
    return (largest / round(largest / gap),) if gap > FINEST * largest else ()
