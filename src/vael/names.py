"""Names of classes as recipes spell them, a recipe's table in a line, and help with names that were misspelled."""

import difflib
import re
from collections.abc import Iterable
from typing import Any

ROOMS = ("prior", "posterior")
TOLD_ELSEWHERE = ("kind", "columns", "network", "parts", "step", "spike", "event_shape")


def kind_of(member: type) -> str:
    """A class's name in a recipe: `DiscretizedLogistic` → discretized_logistic, `GaussianPrior` → gaussian.

    A class whose capitals part no words, such as DReG, says its own as `kind`.
    """
    if isinstance(said := vars(member).get("kind"), str):
        return said
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", member.__name__).lower()
    for room in ROOMS:
        snake = snake.removesuffix(f"_{room}")
    return snake


def closest(word: str, words: Iterable[str]) -> str:
    """` Did you mean 'beta'?` when one of `words` is near, else nothing."""
    near = difflib.get_close_matches(word, list(words), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def shape_of(table: dict[str, Any]) -> str:
    """A recipe's table in a line: kind, arguments, and the widths of its network; what the schema shows is left out."""
    apart = {*TOLD_ELSEWHERE, *(key for key, value in table.items() if key == "levels" and isinstance(value, list))}
    shown = {key: value for key, value in table.items() if key not in apart and not isinstance(value, dict)}
    inner = [shape_of(value) for key, value in table.items() if key != "network" and isinstance(value, dict)]
    told = [*inner, *(f"{key} {value}" for key, value in shown.items())]
    text: str = table["kind"] + (f" ({', '.join(told)})" if told else "")
    if isinstance(table.get("levels"), list):
        text += ": " + "; then ".join(shape_of(level) for level in table["levels"])
    if "parts" in table:
        text += ": " + ", ".join(parts_of(table["parts"]))
    if "network" in table:
        text += f", {network_of(table['network'])}"
    return text


def parts_of(parts: list[dict[str, Any]]) -> list[str]:
    """Laws and how many columns each has, categories of any number of levels counted together."""
    counts: dict[str, int] = {}
    for part in parts:
        name = shape_of({key: value for key, value in part.items() if key != "levels"})
        counts[name] = counts.get(name, 0) + len(part["columns"])
    return [f"{name} × {count}" for name, count in counts.items()]


def network_of(table: dict[str, Any]) -> str:
    """`mlp 8 → 256 → 784`, `conv_decoder 16 → 128 → 64 → 32 → [2, 28, 28], 1 block`; inner networks last."""
    if "network" in table:
        return f"{table['kind']} then {network_of(table['network'])}"
    if "inputs" not in table:
        return str(table.get("class", table["kind"]))
    layers = [table["inputs"], *table.get("hidden", table.get("channels", [])), table["outputs"]]
    blocks = table.get("blocks", 0)
    between = f", {blocks} block{'s' * (blocks > 1)} at each level" if blocks else ""
    return f"{table['kind']} " + " → ".join(map(str, layers)) + between
