"""What a person says about data: how they are read, and what their columns are. The [data] table of a recipe."""

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from vael.data.schema import Field, Role, Schema
from vael.errors import RecipeError
from vael.names import closest

Entry = Mapping[str, Any]  # a field of a schema file, as it was written

RECORDED = (
    "kinds", "ignore", "label", "labels", "given", "part", "missing", "split", "resize", "features", "stream", "schema",
)  # fmt: skip
SPLIT_KEYS = ("validation", "test", "column")


@dataclass(frozen=True)
class Reading:
    """What a person says about data; made by `asked` from options, and by `of` from a recipe.

    A run keeps it, so that its own data are read again, and other data are read, as the run's were.

    kinds: Kinds of columns by name. ignore, label, given: Columns to leave out, to keep beside the data, and to
        condition on. part: Boxes of each picture to condition on, as "ROWS,COLUMNS" such as "14:28,0:14".
    labels: How many training rows keep their label, of each class alike; the others' is as if unknown. None for all.
    missing: Further texts that mark a missing value.
    split: Shares of "validation" and "test"; under "column" the column that says which rows train, "" for none.
    resize: (width, height) in pixels that every picture is brought to, cropped around its centre first.
    features: How many columns of a table of counts to keep, those with the largest totals; or their names.
    stream: Whether training rows stay on disk.
    schema: Where `fields` come from. fields: What a schema says of each column, by name; it yields to the above.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    labels: int | None = None
    given: tuple[str, ...] = ()
    part: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    split: Mapping[str, float | str] = field(default_factory=dict)
    resize: tuple[int, int] | None = None
    features: int | tuple[str, ...] | None = None
    stream: bool = False
    schema: str = ""
    fields: Mapping[str, Entry] = field(default_factory=dict)

    @staticmethod
    def asked(
        *,
        kinds: Mapping[str, str] | None = None,
        ignore: str | Sequence[str] = (),
        label: str | Sequence[str] = (),
        labels: int | None = None,
        given: str | Sequence[str] = (),
        part: str | Sequence[str] = (),
        missing: str | Sequence[str] = (),
        split: str | Mapping[str, float | str] | None = None,
        resize: int | str | Sequence[int] | None = None,
        features: int | Sequence[str] | None = None,
        stream: bool = False,
        schema: object | None = None,
    ) -> "Reading":
        """The reading that options ask for; RecipeError naming the option that makes no sense.

        split: Shares of "validation" and "test", the name of a column, or a dict of both. resize: A side in pixels,
        "64x48" or (width, height). schema: The path of a schema file, a `Schema`, or its JSON value.
        """
        name, fields = ("", {}) if schema is None else schema_fields(schema)
        return Reading(
            kinds=dict(kinds or {}),
            ignore=_words(ignore),
            label=_words(label),
            labels=None if labels is None else _count("labels", labels),
            given=_words(given),
            part=_words(part),
            missing=_words(missing),
            split=_split(split, fields),
            resize=None if resize is None else _size(resize),
            features=None if features is None else _features(features),
            stream=bool(stream),
            schema=name,
            fields=fields,
        )

    @staticmethod
    def of(table: Mapping[str, Any]) -> "Reading":
        """The reading recorded in a recipe's [data] table; what its schema file said stands in the run's schema."""
        return Reading.asked(**{key: table[key] for key in RECORDED if key in table and key != "schema"})

    def table(self) -> dict[str, Any]:
        """What was asked for, as the keys of a recipe's [data] table."""
        asked = {key: getattr(self, key) for key in RECORDED}
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in asked.items()}
        return {key: dict(value) if isinstance(value, Mapping) else value for key, value in plain.items() if value}

    def like(self, schema: Schema) -> "Reading":
        """The same reading for data of a known `schema`: its columns, its marks, its columns of text."""
        fields = schema_fields(schema)[1]
        return dataclasses.replace(self, fields=fields, features=self.features and tuple(fields))

    @property
    def shares(self) -> dict[str, float]:
        """The shares of the rows that validate and test."""
        return {name: float(share) for name, share in self.split.items() if name != "column"}

    @property
    def split_column(self) -> str | None:
        """The column to split by, "" for none, None where nobody said."""
        column = self.split.get("column")
        return None if column is None else str(column)

    @property
    def marks(self) -> tuple[str, ...]:
        """The texts that mark a missing value, beside the usual ones."""
        return (*self.missing, *sorted({mark for entry in self.fields.values() for mark in entry.get("marks", ())}))

    @property
    def text(self) -> set[str]:
        """Columns of a text file whose values are names even where they look like numbers."""
        known = {name for name, entry in self.fields.items() if name not in self.kinds and _holds_names(entry)}
        return known | {name for name, kind in self.kinds.items() if kind in ("category", "id")}

    @property
    def named(self) -> set[str]:
        """Columns the person spoke of, which no choice by size drops."""
        return {*self.kinds, *self.ignore, *self.label, *self.given, self.split_column or ""}

    @property
    def picture(self) -> tuple[int, int, int] | None:
        """Channels, height and width of the pictures that the schema knows, if it does."""
        shapes = (tuple(entry.get("shape", ())) for entry in self.fields.values())
        return next((shape for shape in shapes if len(shape) == 3), None)


def _holds_names(entry: Entry) -> bool:
    kinds = ("category", "id", "constant", "binary") if entry.get("dtype") == "str" else ("category", "id")
    return entry.get("dtype", "str") == "str" and entry.get("kind") in kinds


# ── options, checked ─────────────────────────────────────────────────────────────────────────────────────────


def _words(given: str | Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _split(given: str | Mapping[str, float | str] | None, fields: Mapping[str, Entry]) -> dict[str, float | str]:
    split: dict[str, float | str] = {"column": given} if isinstance(given, str) else dict(given or {})
    for name, share in split.items():
        if name not in SPLIT_KEYS:
            raise RecipeError(f"split {name!r}: give a share to validation or test; the rest trains.")
        if name != "column" and (isinstance(share, (str, bool)) or not isinstance(share, (int, float))):
            raise RecipeError(f"split: the share of {name} must be a number such as 0.1, got {share!r}.")
    by = [name for name, entry in fields.items() if entry.get("role") == "split"]
    return {"column": by[0], **split} if by else split


def _size(given: int | str | Sequence[int]) -> tuple[int, int]:
    """(width, height) of `64`, `"64"`, `"64x48"` or `(64, 48)`."""
    sides: Sequence[Any] = [given] if isinstance(given, int) else given
    if isinstance(given, str):
        match = re.fullmatch(r"(\d+)(?:\s*[x×]\s*(\d+))?", given.strip())
        sides = [int(side) for side in match.groups() if side] if match else []
    if len(sides) not in (1, 2) or not all(type(side) is int and side >= 1 for side in sides):
        raise RecipeError(f"resize {given!r}: expected a side such as 64, or WIDTHxHEIGHT such as 64x48, in pixels.")
    return sides[0], sides[-1]


def _count(name: str, given: object) -> int:
    if type(given) is int and given >= 1:
        return given
    raise RecipeError(f"{name} {given!r}: expected how many, a whole number of at least 1.")


def _features(given: int | Sequence[str]) -> int | tuple[str, ...]:
    if type(given) is int and given >= 1:
        return given
    if isinstance(given, (list, tuple)) and given and all(isinstance(name, str) for name in given):
        return tuple(given)
    raise RecipeError(f"features {given!r}: expected how many columns to keep, such as 500, or a list of their names.")


# ── a schema file ────────────────────────────────────────────────────────────────────────────────────────────


def schema_fields(given: object) -> tuple[str, dict[str, Entry]]:
    """The name of a schema and what it says of each column: a file of `vael data -o` or of a run, or its value.

    A file may have been edited by hand: its checksum is not looked at. Raises RecipeError naming the file and the
    field when it is no schema.
    """
    if isinstance(given, Schema):
        return "the schema", _entries(given.to_json(), "the schema")
    if isinstance(given, Mapping):
        return "the schema", _entries(given, "the schema")
    if not isinstance(given, (str, Path)):
        raise RecipeError(f"schema: expected the path of a schema file or a Schema, got a {type(given).__name__}.")
    path = Path(given).expanduser()
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise RecipeError(f"schema {path}: cannot be read ({error.strerror or error}).\n  {_WRITE}") from error
    except ValueError as error:
        raise RecipeError(f"schema {path}: is no JSON ({error}).\n  Correct it there. {_WRITE}") from error
    return str(path), _entries(value, str(path))


_WRITE = "`vael data DATA -o schema.json` writes one to start from."


def _entries(value: Any, source: str) -> dict[str, Entry]:
    listed = value.get("fields") if isinstance(value, Mapping) else None
    if not isinstance(listed, list) or not all(isinstance(entry, Mapping) for entry in listed):
        raise RecipeError(f"{source}: holds no list of fields, so it is no schema.\n  {_WRITE}")
    known = [spec.name for spec in dataclasses.fields(Field)]
    entries: dict[str, Entry] = {}
    for entry in listed:
        name = entry.get("name")
        if not isinstance(name, str) or name in entries:
            what = "is described twice" if name in entries else "is no name; each field has one"
            raise RecipeError(f"{source}: {name!r} {what}.")
        unknown = next((key for key in entry if key not in known), None)
        if unknown is not None:
            raise RecipeError(
                f"{source}, field {name!r}: unknown key {unknown!r}. A field takes: {', '.join(known)}."
                f"{closest(unknown, known)}"
            )
        for key, wanted in {"kind": str, "role": str, "dtype": str, "marks": list, "shape": list}.items():
            if key in entry and not isinstance(entry[key], (wanted, tuple) if wanted is list else wanted):
                told = "a list" if wanted is list else "a text"
                raise RecipeError(f"{source}, field {name!r}: {key} must be {told}, got {entry[key]!r}.")
        roles = get_args(Role)
        if entry.get("role", "data") not in roles:
            raise RecipeError(
                f"{source}, field {name!r}: no role {entry['role']!r}. There are: {', '.join(roles)}."
                f"{closest(str(entry['role']), roles)}"
            )
        entries[name] = entry
    return entries
