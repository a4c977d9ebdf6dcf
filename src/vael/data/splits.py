"""Which rows train, which select, which are only measured: a function of the row count and a seed."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from vael.errors import RecipeError

NAMES = ("train", "validation", "test")
DEFAULT = {"validation": 0.1, "test": 0.2}
LARGEST_VALIDATION = 5_000  # rows; more of them cost time at every evaluation and sharpen nothing
FEWEST_TO_SPLIT = 10

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
