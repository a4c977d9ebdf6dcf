"""Whether a run that stands in a folder is the one that is asked for."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import tomli_w

from vael.data import Schema
from vael.errors import RecipeError
from vael.runs.folder import RunFolder
from vael.runs.recipe import without_defaults
from vael.training import Training

NAMED = 5  # of the other differences: a law of its own for each column makes hundreds


def refuse_other(folder: RunFolder, wanted: Mapping[str, Any], schema: Schema, who: str) -> None:
    """Raise RecipeError naming what differs when the run in `folder` was made by another recipe or schema.

    who: Who needs the other one, such as "this curve".
    """
    made, its_schema = folder.read()
    found = [
        *differences(settled(made), settled(wanted)),
        *differences(by_column(its_schema), by_column(schema), "column "),
    ]
    if found:
        (place, there, value), *others = found
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        also = f"\n  Also different: {', '.join(place for place, *_ in others[:NAMED])}{more}." if others else ""
        raise RecipeError(
            f"{folder}: holds a run with {place} {spelled(there)}, {who} needs {spelled(value)}.{also}\n"
            f"  Choose another folder with -o."
        )


def settled(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe as it reads from a file, without what a constructor takes anyway and without whence the data came.

    The same data may lie elsewhere; they are known by their fingerprint. What a schema file said is in the schema.
    """
    plain = tomllib.loads(tomli_w.dumps(recipe))
    elsewhere = ("name", "source", "fingerprint", "schema")
    plain["data"] = {key: value for key, value in plain["data"].items() if key not in elsewhere}
    plain["training"] = asdict(Training.of(plain["training"]))
    return {key: without_defaults(value, key) if isinstance(value, dict) else value for key, value in plain.items()}


def by_column(schema: Schema) -> dict[str, Any]:
    """What a schema says of each column, as it reads from a file."""
    entries = json.loads(json.dumps(schema.to_json()))["fields"]
    return {entry["name"]: entry for entry in entries}


def differences(made: Mapping[str, Any], wanted: Mapping[str, Any], before: str = "") -> list[tuple[str, Any, Any]]:
    """(dotted place, value made, value wanted) wherever two tables differ, None where a value is missing."""
    found = []
    for key in [*wanted, *(key for key in made if key not in wanted)]:
        one, other, place = made.get(key), wanted.get(key), f"{before}{key}"
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += differences(one, other, f"{place}.")
        elif one != other:
            found.append((place, one, other))
    return found


def spelled(value: Any) -> str:
    """A value for people; what a recipe leaves out is at its default."""
    return "the default" if value is None else repr(value)
