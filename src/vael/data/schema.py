"""What each field of the data is: kind, shape, unit, grid, missing marks, transform, role.

A schema is inferred from the data, printed, overridable and stored with the run. It decides the likelihood of each
field and how a field is turned into the numbers a model sees and back.
"""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from math import prod
from typing import Any, Literal, get_args

from vael.errors import RecipeError

Kind = Literal["binary", "image", "unit", "real", "positive", "count", "ordinal", "category", "constant", "id"]
Role = Literal["data", "given", "label", "split", "ignored"]
View = Literal["whole", "standard", "scaled", "unit", "binary"]
Binarization = Literal["dynamic", "static", "threshold"]
Value = str | int | float | bool

KINDS: tuple[Kind, ...] = get_args(Kind)
LARGEST_COUNT = 2.0**24 - 1  # the last whole number that float32 tells from its neighbours
ON_A_LINE: tuple[Kind, ...] = ("real", "positive", "unit")  # scored by a density, or on a grid by the mass of a cell


@dataclass(frozen=True)
class Field:
    """One named field: a table's column (shape `()`) or a whole array such as a picture (shape `(C, H, W)`).

    kind: What its values are; see docs/data.md for the rules that choose it.
    role: "data" is modelled, "given" is what it is conditioned on, "label" is kept beside it, "split" says which rows
        train, "ignored" is left out.
    dtype: The source's type, which samples get back.
    values: The values of a binary, ordinal or category field in the order of their codes; of a constant its one value.
    levels: How many values a binary, ordinal, category or image field can take; 0 for the rest.
    resolution: Step of the grid the values lie on, in the field's own unit; 0 where they are continuous.
    offset: A value the grid passes through.
    ends: The least and the greatest value seen, where they are numbers on a line.
    spike: The one value that stands out, a tenth of the rows or more, where a law on a line needs to know; else None.
    missing: How many values are missing; `marks` are the texts that say so.
    view: What a model sees: "whole" numbers or codes as they are, "standard" (x − loc) / scale, "scaled" x / scale,
        "unit" x with the range brought to [0, 1], "binary" zeros and ones drawn from grey values by `binarization`.
    part: Boxes of a picture, (top, bottom, left, right) in pixels, that are given and not scored; see `data.given`.
    why: The rule that chose the kind, in words.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...] = ()
    role: Role = "data"
    dtype: str = "float64"
    unit: str = ""
    values: tuple[Value, ...] = ()
    levels: int = 0
    resolution: float = 0.0
    offset: float = 0.0
    ends: tuple[float, ...] = ()
    spike: float | None = None
    missing: int = 0
    marks: tuple[str, ...] = ()
    view: View = "whole"
    loc: float = 0.0
    scale: float = 1.0
    binarization: Binarization | None = None
    part: tuple[tuple[int, ...], ...] = ()
    why: str = ""

    @property
    def modelled(self) -> bool:
        """Whether the field has a likelihood: data that can vary."""
        return self.role == "data" and self.kind not in ("constant", "id")

    @property
    def coded(self) -> bool:
        """Whether its values are few and known, and x holds their codes."""
        return self.kind in ("binary", "category", "ordinal")

    @property
    def discrete(self) -> bool:
        """Whether its log-probability is that of a value (a mass), not of a point on a line (a density)."""
        on_a_line = self.kind in ON_A_LINE or self.view in ("standard", "scaled", "unit")
        return self.resolution > 0 or not on_a_line

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the greatest number its kind can hold; these ends themselves may be `excluded`."""
        tops = {"image": self.levels - 1.0, "unit": 1.0, "count": LARGEST_COUNT, "positive": math.inf}
        return (0.0, tops[self.kind]) if self.kind in tops else (-math.inf, math.inf)

    @property
    def excluded(self) -> tuple[float, ...]:
        """Ends of its limits where a density may be infinite, and which it has not held: no value may lie there."""
        if self.kind not in ("positive", "unit") or self.resolution or self.view == "standard":
            return ()
        return tuple(end for end in self.limits if math.isfinite(end) and end not in self.ends)

    def seen(self, value: float) -> float:
        """A value of the field's own as the model sees it."""
        return (value - self.loc) / self.scale

    @property
    def step(self) -> float:
        """The grid's step as the model sees it: `resolution` divided by the view's scale; 0 if continuous."""
        return self.resolution / self.scale

    def describe(self) -> str:
        """The field in a line: what it is, and why."""
        if self.role == "given":
            levels = f", {self.levels} levels" if self.kind == "category" else ""
            return f"given: {self.kind}{levels} ({self.why})"
        if self.role != "data":
            return f"{self.role}: {self.why}" if self.why else self.role
        parts: list[str] = [str(self.kind)]
        if self.kind in ("category", "ordinal", "image"):
            parts.append(f"{self.levels} levels")
        if self.kind == "constant" and self.values:
            parts.append(f"always {self.values[0]!r}")
        if self.kind in ON_A_LINE:
            parts.append(f"grid {self.resolution:g}" if self.resolution else "continuous")
        if self.spike is not None:
            parts.append(f"spike at {self.spike:g}")
        if self.unit:
            parts.append(self.unit)
        if self.view == "standard":
            parts.append(f"mean {self.loc:.4g}, sd {self.scale:.4g}")
        if self.view == "scaled":
            parts.append(f"geometric mean {self.scale:.4g}")
        if self.binarization:
            parts.append(f"{self.binarization} binarisation")
        if self.part:
            parts.append("given in part")
        if self.missing:
            parts.append(f"{self.missing} missing")
        return ", ".join(parts) + (f" ({self.why})" if self.why else "")


@dataclass(frozen=True)
class Schema:
    """The fields of a data set, in the source's order."""

    fields: tuple[Field, ...]

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __getitem__(self, name: str) -> Field:
        for field in self.fields:
            if field.name == name:
                return field
        raise RecipeError(f"schema: no field {name!r}. There are: {', '.join(f.name for f in self.fields)}.")

    @property
    def modelled(self) -> tuple[Field, ...]:
        """The fields that have a likelihood; x holds them in this order."""
        return tuple(field for field in self.fields if field.modelled)

    @property
    def given(self) -> tuple[Field, ...]:
        """The fields that p(x | given) is conditioned on, in the source's order."""
        return tuple(field for field in self.fields if field.role == "given")

    @property
    def part(self) -> tuple[tuple[int, ...], ...] | None:
        """The boxes of a picture that are given; None where none are."""
        return next((field.part for field in self.modelled if field.part), None)

    @property
    def label(self) -> Field | None:
        """The first field with the role of a label, or None."""
        return next((field for field in self.fields if field.role == "label"), None)

    @property
    def is_table(self) -> bool:
        """Whether x is a row of columns; otherwise x is one array, such as a picture."""
        return not (len(self.modelled) == 1 and self.modelled[0].shape)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one x as a model sees it: `(F,)` for a table of F modelled columns, else the array's shape."""
        return (len(self.modelled),) if self.is_table else self.modelled[0].shape

    @property
    def dims(self) -> int:
        """How many numbers one x holds."""
        return prod(self.event_shape)

    @property
    def discrete(self) -> bool:
        """Whether log p(x) is the log of a probability, so that bits per dimension have a meaning."""
        return all(field.discrete for field in self.modelled)

    def with_fields(self, changed: dict[str, dict[str, Any]]) -> "Schema":
        """The schema with attributes of the named fields replaced."""
        return Schema(tuple(dataclasses.replace(field, **changed.get(field.name, {})) for field in self.fields))

    def describe(self) -> list[tuple[str, str]]:
        """`(names, description)` rows for people; neighbours of one description share a row."""
        rows = []
        for text, group in groupby(self.fields, key=lambda field: field.describe()):
            names = [field.name for field in group]
            rows.append((names[0] if len(names) == 1 else f"{names[0]} … {names[-1]} ({len(names)})", text))
        return rows

    def to_json(self) -> dict[str, Any]:
        """The schema as plain JSON values; defaults are left out."""
        plain = {spec.name: spec.default for spec in dataclasses.fields(Field)}
        return {
            "fields": [
                {key: value for key, value in dataclasses.asdict(field).items() if value != plain[key]}
                for field in self.fields
            ]
        }

    @staticmethod
    def from_json(value: dict[str, Any]) -> "Schema":
        """The schema of `to_json`. Raises RecipeError on an unknown key."""
        known = {spec.name for spec in dataclasses.fields(Field)}
        fields = []
        for entry in value["fields"]:
            unknown = set(entry) - known
            if unknown:
                raise RecipeError(f"schema: unknown key {min(unknown)!r}. A field takes: {', '.join(sorted(known))}.")
            tuples: dict[str, Any] = {key: _tuples(item) for key, item in entry.items()}
            fields.append(Field(**tuples))
        return Schema(tuple(fields))


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
