"""Names of classes as recipes spell them, and help with those that were misspelled."""

import difflib
import re
from collections.abc import Iterable

ROOMS = ("prior", "posterior")


def kind_of(member: type) -> str:
    """A class's name in a recipe: `DiscretizedLogistic` → discretized_logistic, `GaussianPrior` → gaussian."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", member.__name__).lower()
    for room in ROOMS:
        snake = snake.removesuffix(f"_{room}")
    return snake


def closest(word: str, words: Iterable[str]) -> str:
    """` Did you mean 'beta'?` when one of `words` is near, else nothing."""
    near = difflib.get_close_matches(word, list(words), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
