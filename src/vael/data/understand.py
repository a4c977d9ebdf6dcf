"""The schema of data as three know it: their values, their source, and the person, who has the last word."""

import dataclasses
import math
from typing import Any

from vael.data.frame import Frame
from vael.data.given import boxes, part_of
from vael.data.infer import infer
from vael.data.reading import Entry, Reading
from vael.data.schema import ON_A_LINE, Field, Schema
from vael.errors import RecipeError


def understand(frame: Frame, reading: Reading) -> Schema:
    """The schema of `frame`: what `infer` makes of it, with the word of the source, of a schema file, of options.

    Of a schema file's field count kind, role, unit, marks, `values` (their order, and values yet to come), `levels`,
    grid and spike; the rest is found in the data again. Every word is checked against the values.
    Raises RecipeError on a column that does not exist; DataError on values that cannot be what they are said to be.
    """
    fields = reading.fields
    for name in fields:
        if name not in frame.columns:
            raise RecipeError(
                f"{reading.schema}: describes a column {name!r}, which {frame.name} does not have.\n"
                f"  There are: {', '.join(list(frame.columns)[:24])}. Correct the name, or take the field out."
            )
    listed = {name: entry["kind"] for name, entry in fields.items() if "kind" in entry and _role(entry) != "split"}
    source = {name: kind for name, (kind, _) in frame.kinds.items() if name not in {*listed, *reading.kinds}}
    schema = infer(
        _with_labels_of(frame, reading),
        kinds={**source, **listed, **reading.kinds},
        ignore=[*reading.ignore, *(n for n, e in fields.items() if _role(e) == "ignored" and n not in reading.kinds)],
        label=[*reading.label, *(n for n, e in fields.items() if _role(e) == "label")],
        given=[*reading.given, *(n for n, e in fields.items() if _role(e) == "given")],
    )
    changed: dict[str, dict[str, Any]] = {name: {"why": frame.kinds[name][1]} for name in source}
    for name in (name for name in fields if name not in reading.kinds):
        changed[name] = _refined(schema[name], fields[name], f"{reading.schema}, field {name!r}")
        if name in listed:
            changed[name]["why"] = f"as {reading.schema} says"
    if reading.part:
        for field in schema.modelled:
            changed.setdefault(field.name, {})["part"] = boxes(reading.part)
    found = schema.with_fields(changed)
    if found.part is not None:
        part_of(found.modelled[0])  # refuse before anything is prepared
    return found


def _role(entry: Entry) -> str:
    # An id is left out by its kind: whoever changes that kind wants the column back.
    role: str = entry.get("role", "data")
    return "data" if role == "ignored" and entry.get("kind") == "id" else role


def _with_labels_of(frame: Frame, reading: Reading) -> Frame:
    """The frame without those of its own labels that a schema file takes for something else."""
    kept = (name for name in frame.labels if _role(reading.fields.get(name, {"role": "label"})) == "label")
    return dataclasses.replace(frame, labels=tuple(kept))


def _refined(field: Field, entry: Entry, place: str) -> dict[str, Any]:
    """What an entry says of a field beyond its kind, as attributes to change; only what is of that kind counts."""
    change: dict[str, Any] = {"unit": str(entry["unit"])} if "unit" in entry else {}
    if field.coded and "values" in entry:
        values = _values(field, entry["values"], place)
        change |= {"values": values, "levels": len(values)}
    elif field.kind == "image" and "levels" in entry:
        change["levels"] = int(_number(entry, "levels", place, least=2))
    elif field.kind in ON_A_LINE:
        if "resolution" in entry:
            change["resolution"] = _number(entry, "resolution", place, least=0)
            change["offset"] = _number({"offset": 0.0, **entry}, "offset", place)
        if "spike" in entry:
            change["spike"] = None if entry["spike"] is None else _number(entry, "spike", place)
    return change


def _values(field: Field, values: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(values, (list, tuple)) or len(set(values)) < len(values):
        raise RecipeError(f"{place}: values must be a list of different values, got {values!r}.")
    lacking = [value for value in field.values if value not in values]
    if lacking:
        raise RecipeError(
            f"{place}: its values leave out {lacking[0]!r}, which the column holds.\n"
            f"  Add it, or take `values` out to have them read off the data."
        )
    if field.kind == "binary" and len(values) != 2:
        raise RecipeError(f"{place}: a binary column takes exactly two values, got {len(values)}. Say category.")
    return tuple(values)


def _number(entry: Entry, key: str, place: str, *, least: float = -math.inf) -> float:
    value = entry[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < least:
        of = "" if least == -math.inf else f" of at least {least:g}"
        raise RecipeError(f"{place}: {key} must be a number{of}, got {value!r}.")
    return float(value)
