"""What each column of a frame is, read off its values: kind, grid, missing values, role. docs/data.md has the table.

A rule looks at the distinct observed values of one column, says a kind and why; the same completion then serves an
inferred kind and one the user asked for, so that an override is checked like everything else.
"""

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import cast

import numpy as np
from numpy.typing import NDArray

from vael.data.facts import FEWEST_LEVELS, FEWEST_ROWS, Facts
from vael.data.frame import Frame
from vael.data.schema import KINDS, ON_A_LINE, Field, Kind, Role, Schema, Value
from vael.data.sources.split import split_words
from vael.data.transforms import on_grid
from vael.errors import DataError, RecipeError

Column = NDArray[np.generic]
Floats = NDArray[np.float64]

MOST_LEVELS = 1000  # a category with more is a name, not a kind of thing


def infer(
    frame: Frame,
    *,
    kinds: Mapping[str, str] = MappingProxyType({}),
    ignore: Sequence[str] = (),
    label: Sequence[str] = (),
    given: Sequence[str] = (),
) -> Schema:
    """The schema of `frame`: kind, shape, role, dtype, values, levels, resolution, missing, marks and why.

    kinds: The user's word on a column's kind, by name; checked against the values.
    ignore, label, given: Names of columns to leave out of the model, to keep beside it, and to condition it on.

    View, loc, scale and binarisation are left at their defaults.
    Raises RecipeError on a column or kind that does not exist; DataError on 0 rows, on an infinity, on a hole in an
    array, and on values that the kind asked for cannot take.
    """
    if len(frame) == 0:
        raise DataError(f"{frame.name}: 0 rows, so there is nothing to learn from.\n  Give at least two rows.")
    for name in (*kinds, *ignore, *label, *given):
        _known_name(frame, name)
    wanted = {name: _known_kind(name, kind) for name, kind in kinds.items()}
    roles: dict[str, Role] = dict.fromkeys((*frame.labels, *label), "label")
    roles |= dict.fromkeys(given, "given")
    roles |= dict.fromkeys(ignore, "ignored")
    return Schema(
        tuple(
            _field(frame, name, wanted.get(name), roles.get(name, "data"), classes=name in (*frame.labels, *label))
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


def _field(frame: Frame, name: str, wanted: Kind | None, role: Role, *, classes: bool) -> Field:
    """classes: Whether its values are wherever possible names of classes, as a label's are."""
    facts = Facts(frame, name)
    if role != "ignored" and wanted is None and _is_split(frame, facts):
        field = _complete(facts, "category", "says which rows train", "split")
    elif facts.nothing:
        field = _complete(facts, "constant", "all values are missing", "ignored")
    elif wanted is not None:
        field = _complete(facts, wanted, "as you said", role)
    elif classes:
        field = _complete(facts, *_label_kind(facts), role)
    else:
        field = _complete(facts, *(_array_kind(facts) if facts.shape else _column_kind(facts)), role)
    if field.role == "given" and (field.shape or field.kind in ("constant", "id")):
        what = f"an array of shape {field.shape}" if field.shape else f"of kind {field.kind} ({field.why})"
        raise RecipeError(
            f"{frame.name}, given {name!r}: is {what}; nothing can be conditioned on that.\n"
            f"  Leave it out, or say what it is: --column {name}=category or {name}=real."
        )
    return field


def _is_split(frame: Frame, facts: Facts) -> bool:
    if frame.split is None or not facts.text or facts.shape or facts.missing:
        return False
    return bool((split_words(facts.column) == frame.split).all())


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
