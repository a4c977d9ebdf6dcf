"""What each column of a frame is, read off its values: kind, grid, missing values, role. docs/data.md has the table.

A rule looks at the distinct observed values of one column, says a kind and why; the same completion then serves an
inferred kind and one the user asked for, so that an override is checked like everything else.
"""

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import cast

import numpy as np
from numpy.typing import NDArray

from vael.data.frame import Frame
from vael.data.schema import KINDS, ON_A_LINE, Field, Kind, Role, Schema, Value
from vael.data.sources.split import split_words
from vael.data.transforms import on_grid
from vael.errors import DataError, RecipeError

Column = NDArray[np.generic]
Floats = NDArray[np.float64]

MOST_LEVELS = 1000  # a category with more is a name, not a kind of thing
FEWEST_ROWS = 20  # below this, "all distinct" says nothing
SPIKE, STANDS_OUT = 0.1, 3  # a share of one value, so many times the next one's, that no law on a line explains
FEWEST_LEVELS = 20  # distinct values: with fewer, ordered whole numbers are answers on a scale, and no law on a line
SMALL_COUNT = 10
EXACT = 2.0**53  # beyond it every float64 is whole
FINEST = 1e-7  # a grid finer than this share of the range is none
PICTURE_GRIDS = (1 / 15, 1 / 16, 1 / 17, 1 / 255)


def infer(
    frame: Frame,
    *,
    kinds: Mapping[str, str] = MappingProxyType({}),
    ignore: Sequence[str] = (),
    label: Sequence[str] = (),
) -> Schema:
    """The schema of `frame`: kind, shape, role, dtype, values, levels, resolution, missing, marks and why.

    kinds: The user's word on a column's kind, by name; checked against the values.
    ignore, label: Names of columns to leave out of the model, and to keep beside it.

    View, loc, scale and binarisation are left at their defaults.
    Raises RecipeError on a column or kind that does not exist; DataError on 0 rows, on an infinity, on a hole in an
    array, and on values that the kind asked for cannot take.
    """
    if len(frame) == 0:
        raise DataError(f"{frame.name}: 0 rows, so there is nothing to learn from.\n  Give at least two rows.")
    for name in (*kinds, *ignore, *label):
        _known_name(frame, name)
    wanted = {name: _known_kind(name, kind) for name, kind in kinds.items()}
    labels = (*frame.labels, *label)
    return Schema(
        tuple(
            _field(frame, name, wanted.get(name), ignored=name in ignore, label=name in labels)
            for name in frame.columns
        )
    )


def _known_name(frame: Frame, name: str) -> None:
    if name not in frame.columns:
        raise RecipeError(f"{frame.name}: no column {name!r}.{_did_you_mean(name, list(frame.columns))}")


def _known_kind(name: str, kind: str) -> Kind:
    if kind not in KINDS:
        raise RecipeError(f"column {name!r}: no kind {kind!r}.{_did_you_mean(kind, list(KINDS))}")
    return kind


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, 1)
    listed = ", ".join(known[:24]) + (f", … ({len(known)} in all)" if len(known) > 24 else "")
    return f" There are: {listed}." + (f" Did you mean {near[0]!r}?" if near else "")


def _field(frame: Frame, name: str, wanted: Kind | None, *, ignored: bool, label: bool) -> Field:
    facts = Facts(frame, name)
    role: Role = "ignored" if ignored else "label" if label else "data"
    if not ignored and wanted is None and _is_split(frame, facts):
        field = _complete(facts, "category", "says which rows train", "split")
    elif facts.nothing:
        field = _complete(facts, "constant", "all values are missing", "ignored")
    elif wanted is not None:
        field = _complete(facts, wanted, "as you said", role)
    elif label:
        field = _complete(facts, *_label_kind(facts), role)
    else:
        field = _complete(facts, *(_array_kind(facts) if facts.shape else _column_kind(facts)), role)
    return field


def _is_split(frame: Frame, facts: "Facts") -> bool:
    if frame.split is None or not facts.text or facts.shape or facts.missing:
        return False
    return bool((split_words(facts.column) == frame.split).all())


# ── what the rules look at ───────────────────────────────────────────────────────────────────────────────────


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


# ── the rules ────────────────────────────────────────────────────────────────────────────────────────────────


def _column_kind(facts: Facts) -> tuple[Kind, str]:
    """Kind of a table's column and the rule that chose it."""
    if len(facts.distinct) == 1:
        return "constant", "one value"
    return _text_kind(facts) if facts.text else _number_kind(facts)


def _text_kind(facts: Facts) -> tuple[Kind, str]:
    levels, rows = len(facts.distinct), len(facts.observed)
    if rows >= FEWEST_ROWS and levels > rows / 2:
        return "id", "text, most values differ"
    if levels > MOST_LEVELS:
        return "id", f"text with more than {MOST_LEVELS} values"
    return "category", "text"


def _number_kind(facts: Facts) -> tuple[Kind, str]:
    low, high = facts.ends
    if len(facts.distinct) == 2 and (facts.whole or len(facts.observed) >= FEWEST_ROWS):
        return "binary", "two values"
    if not facts.whole:
        return _fraction_kind(facts)
    if re.fullmatch(r"(.*[_ .-])?(id|index)", facts.name.lower()) and 2 * len(facts.distinct) > len(facts.observed):
        return "id", "an id by its name, most values differ"
    if len(facts.column) >= FEWEST_ROWS and facts.a_run:
        return "id", "a running number"
    # Marks and scores end at 10 and are no counts, however skewed.
    if 0 <= low <= 1 and 10 < high < 2**24 and facts.resolution == 1 and facts.long_tailed and facts.counts_up:
        return "count", "whole numbers from 0 or 1 with a long tail"
    places = (high - low) / facts.resolution + 1
    if len(facts.observed) >= FEWEST_ROWS and places < FEWEST_LEVELS:
        return "ordinal", f"whole numbers with {places:.0f} places from {low:g} to {high:g}"
    return _line_kind(facts, "whole numbers")


def _fraction_kind(facts: Facts) -> tuple[Kind, str]:
    low, high = facts.ends
    # Small quantities in some unit lie between 0 and 1 as well; a proportion comes near both ends.
    if 0 <= low <= 0.1 and 0.9 <= high <= 1 and facts.spike is None:
        return "unit", "numbers from 0 to 1"
    return _line_kind(facts, "numbers")


def _line_kind(facts: Facts, what: str) -> tuple[Kind, str]:
    """Kind of numbers on a line, with a note on a value that stands out."""
    note = "" if facts.spike is None else f"; {100 * facts.spike[1]:.3g} % are {facts.spike[0]:g}"
    return ("positive", f"{what} above zero with a long tail{note}") if facts.multiplicative else ("real", what + note)


def _array_kind(facts: Facts) -> tuple[Kind, str]:
    """Kind of an array field and the rule that chose it."""
    low, high = facts.ends
    if low == high:
        return "constant", "one value"
    if facts.whole and low == 0 and high == 1:
        return "binary", "zeros and ones"
    if facts.whole and low >= 0 and high <= 255:
        return "image", f"whole numbers from {low:g} to {high:g}"
    if low >= 0 and high <= 1:
        return "unit", "numbers from 0 to 1"
    return "real", "whole numbers" if facts.whole else "numbers"


def _label_kind(facts: Facts) -> tuple[Kind, str]:
    """Kind of a label: a category wherever its values name classes."""
    levels, rows = len(facts.distinct), len(facts.observed)
    kind, why = _column_kind(facts) if not facts.shape else _array_kind(facts)
    few = levels <= MOST_LEVELS and (levels <= FEWEST_ROWS or levels <= rows / 4)
    return ("category", "classes") if few and (facts.text or facts.whole or levels == 2) else (kind, why)


# ── the rest of a field, once its kind is known ──────────────────────────────────────────────────────────────


def _complete(facts: Facts, kind: Kind, why: str, role: Role) -> Field:
    """The field of that kind; DataError when the values cannot be of it."""
    if not facts.nothing:
        _check(facts, kind)
    if kind == "id" and role == "data":
        role = "ignored"
    values = _values_of(facts, kind)
    levels = len(values) if kind != "constant" else 0
    on_a_line = kind in ON_A_LINE and not facts.nothing
    resolution = facts.resolution if on_a_line else 1.0 if kind in ("count", "image") else 0.0
    if kind == "image":
        levels = int(facts.ends[1]) + 1 if facts.ends[1] < 64 else 256
    return Field(
        facts.name,
        kind,
        shape=facts.shape,
        role=role,
        dtype="str" if facts.text else str(facts.column.dtype),
        values=values,
        levels=levels,
        resolution=resolution,
        offset=facts.offset if on_a_line and resolution else 0.0,
        ends=facts.ends if on_a_line else (),
        spike=facts.spike[0] if on_a_line and role == "data" and not facts.shape and facts.spike else None,
        missing=facts.missing,
        marks=facts.marks,
        why=why,
    )


def _values_of(facts: Facts, kind: Kind) -> tuple[Value, ...]:
    """The values of a coded field; of an ordinal one every place from the least to the greatest, seen or not."""
    if kind == "ordinal" and not facts.nothing:
        low, high = facts.ends
        seen = facts.distinct.astype(np.float64)
        steps = np.rint((seen - low) / facts.resolution).astype(np.int64)
        places = on_grid(np.linspace(low, high, steps[-1] + 1), facts.resolution, facts.offset)
        places[steps] = seen  # as the column has them: 0.1 + 2 · 0.1 is not 0.3
        return tuple(_plain(value) for value in places)
    coded = kind in ("binary", "category", "constant")
    return tuple(_plain(value) for value in facts.distinct) if coded else ()


def _plain(value: object) -> Value:
    """A Python value that JSON can hold; whole floats become integers."""
    plain = value.item() if isinstance(value, np.generic) else value
    return int(plain) if isinstance(plain, float) and plain.is_integer() else cast(Value, plain)


def _check(facts: Facts, kind: Kind) -> None:
    """Raise DataError unless the observed values can be of that kind."""
    if kind in ("binary", "category", "constant"):
        _check_levels(facts, kind)
    elif kind != "id":
        if facts.text:
            raise _unfit(facts, ~facts.absent, "is text, not a number", "category")
        if kind == "ordinal":
            _check_places(facts)
        spike_of_zeros = facts.spike is not None and facts.spike[0] == 0
        if kind == "positive" and not facts.resolution and not spike_of_zeros and facts.ends[0] == 0:
            raise _unfit(facts, facts.column == 0, "is not above zero", "real")
        if _passes(facts, kind):
            return
        test, complaint = REQUIRED[kind]
        bad = ~test(facts.column.astype(np.float64)) & ~facts.absent
        if bad.any():
            raise _unfit(facts, bad, complaint, "real")


def _passes(facts: Facts, kind: Kind) -> bool:
    """Whether the extremes alone show that every value can be of that kind, so that none need be looked at."""
    low, high = facts.ends
    return (
        kind in ("real", "ordinal")
        or (kind == "positive" and low > 0)
        or (kind == "unit" and low >= 0 and high <= 1)
        or (facts.whole and low >= 0 and (kind == "count" or high <= 255))
    )


REQUIRED: dict[str, tuple[Callable[[Floats], NDArray[np.bool_]], str]] = {
    "real": (lambda x: np.isfinite(x), "is not a finite number"),
    "unit": (lambda x: (x >= 0) & (x <= 1), "is not between 0 and 1"),
    "positive": (lambda x: x >= 0, "is below zero"),
    "count": (lambda x: (x >= 0) & (x == np.rint(x)), "is not a count, a whole number from 0 on"),
    "image": (
        lambda x: (x >= 0) & (x <= 255) & (x == np.rint(x)),
        "is not a grey level, a whole number from 0 to 255",
    ),
}


def _unfit(facts: Facts, bad: NDArray[np.bool_], complaint: str, instead: str) -> DataError:
    value = _plain(facts.value(bad))
    return DataError(
        f"{facts.at(bad)}: {value!r} {complaint}.\n"
        f"  Correct the value, leave it empty if it is missing, or say --column {facts.name}={instead}."
    )


def _check_places(facts: Facts) -> None:
    """Raise DataError unless the values lie on a few equal steps."""
    low, high = facts.ends
    places = (high - low) / facts.resolution + 1 if facts.resolution else math.inf
    if places > MOST_LEVELS or len(facts.distinct) < 2:
        raise DataError(
            f"{facts.source}, column {facts.name!r}: an ordinal column takes 2 to {MOST_LEVELS} equal steps, it has "
            f"{places:g} from {low:g} to {high:g}.\n  Say --column {facts.name}=real, or leave the choice to the data."
        )


def _check_levels(facts: Facts, kind: Kind) -> None:
    levels = len(facts.distinct)
    shown = ", ".join(repr(_plain(value)) for value in facts.distinct[:6]) + (", …" if levels > 6 else "")
    fits = {"binary": levels == 2, "constant": levels == 1, "category": levels <= MOST_LEVELS}[kind]
    needs = {"binary": "exactly two", "constant": "one", "category": f"at most {MOST_LEVELS}"}[kind]
    if not fits:
        other = "id" if facts.text else "real"
        instead = other if kind == "category" else "category" if levels <= MOST_LEVELS else other
        raise DataError(
            f"{facts.source}, column {facts.name!r}: a {kind} column takes {needs} different values, it has "
            f"{levels} ({shown}).\n  Say --column {facts.name}={instead}, or leave the choice to the data."
        )
