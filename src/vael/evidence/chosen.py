"""An estimator by its name."""

import inspect
from collections.abc import Mapping
from typing import Any

from vael import evidence
from vael.errors import RecipeError
from vael.evidence.estimate import Estimator
from vael.names import closest, kind_of


def kinds() -> dict[str, type]:
    """The public estimators by the names they have in `--method`."""
    members = (getattr(evidence, name) for name in evidence.__all__)
    classes = (member for member in members if inspect.isclass(member) and not getattr(member, "_is_protocol", False))
    return {kind_of(member): member for member in classes if inspect.isfunction(vars(member).get("__call__"))}


def estimator(method: str, *, draws: int | None = None, settings: Mapping[str, Any] | None = None) -> Estimator:
    """The estimator whose kind is `method`, or is the only one to begin so, as in "prior".

    draws: For a method that takes draws. settings: Its other arguments, by name.
    Raises RecipeError for an unknown method or argument.
    """
    known, name = kinds(), method.replace("-", "_")
    found = [kind for kind in known if kind == name] or [kind for kind in known if kind.startswith(name)]
    if len(found) != 1:
        raise RecipeError(f"unknown method {method!r}. There are: auto, {', '.join(known)}.{closest(name, known)}")
    member = known[found[0]]
    takes = [one for one in inspect.signature(member).parameters if one not in ("chunk", "move", "forewarned")]
    arguments = {key.replace("-", "_"): value for key, value in (settings or {}).items()}
    for key in arguments:
        if key not in takes:
            raise RecipeError(
                f"method {found[0]}: unknown setting {key!r}. It takes: {', '.join(takes) or 'none'}."
                f"{closest(key, takes)}"
            )
    if draws is not None:
        if "draws" not in takes:
            raise RecipeError(f"method {found[0]}: takes no draws. Its settings are: {', '.join(takes) or 'none'}.")
        arguments = {"draws": draws, **arguments}
    made: Estimator = member(**arguments)
    return made
