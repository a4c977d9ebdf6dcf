"""Which rows train, which select, which are only measured: a function of the row count and a seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vael.data.blocks import FEWEST_BLOCKS
from vael.data.sources.groups import Group
from vael.errors import RecipeError

NAMES = ("train", "validation", "test")
DEFAULT = {"validation": 0.1, "test": 0.2}
LARGEST_VALIDATION = 5_000  # rows; more of them cost time at every evaluation and sharpen nothing
FEWEST_TO_SPLIT = 10
FEWEST_GROUPS = 3  # of rows on disk; below it, none can be spared

Rows = NDArray[np.int64]


def checked_shares(fractions: Mapping[str, float]) -> dict[str, float]:
    """Shares of "validation" and "test", the usual ones where none is said. Raises RecipeError where none can train."""
    shares = {**DEFAULT, **fractions}
    if any(share < 0 for share in shares.values()) or sum(shares.values()) >= 1:
        told = ", ".join(f"{name}={share:g}" for name, share in shares.items())
        raise RecipeError(f"split: shares must be non-negative and leave rows to train on, got {told}.")
    return shares


def split_rows(n: int, *, given: NDArray[np.str_] | None, fractions: Mapping[str, float], seed: int) -> dict[str, Rows]:
    """Row numbers of each split, every row in exactly one, shuffled by `seed`.

    n: How many rows there are; below 10 all of them train.
    given: `(n,)` split names the source fixed. Its test rows are left alone; where it names no validation rows,
        they are taken from its training rows.
    fractions: Shares of "validation" and "test"; the rest trains.
    """
    shares = checked_shares(fractions)
    rows: Rows = np.random.default_rng(seed).permutation(n).astype(np.int64)
    if given is None:
        test = round(n * shares["test"]) if n >= FEWEST_TO_SPLIT else 0
        found = {"test": rows[:test], "train": rows[test:]}
    else:
        found = {name: rows[given[rows] == name] for name in NAMES}
        if not len(found["test"]) and "test" in fractions:
            wanted = round(len(found["train"]) * shares["test"])
            found["test"], found["train"] = found["train"][:wanted], found["train"][wanted:]
    if not len(found.get("validation", ())):
        pool = n if given is None else len(found["train"])
        wanted = round(pool * shares["validation"]) if n >= FEWEST_TO_SPLIT else 0
        if "validation" not in fractions:
            wanted = min(wanted, LARGEST_VALIDATION)
        found["validation"], found["train"] = found["train"][:wanted], found["train"][wanted:]
    return {name: found[name] for name in NAMES}


# ── rows on disk, by whole groups ────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Shared:
    """Groups by split, and how many rows of "validation" and "test" are kept at most."""

    groups: Mapping[str, tuple[Group, ...]]
    most: Mapping[str, int]


def share_out(groups: Sequence[Group], fractions: Mapping[str, float], seed: int, most_rows: int = 100_000) -> Shared:
    """Each group to a split: as its folder says, else by `seed`, as many as the shares of the rows ask for.

    fractions: Shares of "validation" and "test"; at least one group each, unless a share is 0 or there are fewer than
        three groups. At most `most_rows` are asked for, and for validation 5,000 where no share was given.
    """
    shares = checked_shares(fractions)
    usual = min(most_rows, LARGEST_VALIDATION)
    most = {"test": most_rows, "validation": most_rows if "validation" in fractions else usual}
    order = [groups[place] for place in np.random.default_rng(seed).permutation(len(groups))]
    found = {name: [group for group in order if group.split == name] for name in NAMES}
    pool = found["train"] if any(group.split for group in groups) else order
    rows = sum(group.rows for group in pool)
    for name in ("test", "validation"):
        fixed = pool is not order and (name == "test" or bool(found[name]))
        if not fixed and shares[name] and len(groups) >= FEWEST_GROUPS:
            wanted = min(round(rows * shares[name]), most[name])
            found[name], pool = _first(pool, wanted)
    found["train"] = list(pool)
    return Shared({name: tuple(found[name]) for name in NAMES}, most)


def _first(pool: Sequence[Group], rows: int) -> tuple[list[Group], list[Group]]:
    """The first groups of `pool`, one or as many as hold `rows` rows, one being left; and the others."""
    taken, held = 0, 0
    while taken < len(pool) - 1 and (taken == 0 or held < rows):
        held += pool[taken].rows
        taken += 1
    return list(pool[:taken]), list(pool[taken:])


def sample_of(groups: Sequence[Group], wanted: int = 100_000) -> tuple[Group, ...]:
    """The first training groups, at least four and of `wanted` rows, or all."""
    taken = rows = 0
    while taken < len(groups) and (taken < FEWEST_BLOCKS or rows < wanted):
        rows += groups[taken].rows
        taken += 1
    return tuple(groups[:taken])
