"""Options that several verbs share, and how their texts are read."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from vael.errors import RecipeError

Json = Annotated[
    bool, Parameter(name="--json", negative="", help="Print the result as one line of JSON, last on stdout.")
]
Output = Annotated[Path | None, Parameter(name=["--output", "-o"], help="Where to write.")]
Seed = Annotated[int, Parameter(help="The same seed gives the same numbers.")]
Device = Annotated[str, Parameter(help="cpu or cuda.")]

Engine = Annotated[
    Literal["process", "ray"],
    Parameter(help="Who does the files of an output folder: this process, with its share under torchrun, or Ray."),
]


def pairs(texts: list[str], option: str) -> dict[str, str]:
    """`NAME=VALUE` texts as a dict. Raises RecipeError for one without a name or a value."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise RecipeError(f"{option} {text}: expected NAME=VALUE.")
        found[name] = value
    return found


def row_numbers(text: str) -> list[int]:
    """`3,8` as numbers of rows. Raises RecipeError for anything else."""
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise RecipeError(f"--rows {text}: expected the numbers of rows, counted from 1, such as 3,8.") from error


def values(texts: list[str], option: str) -> dict[str, Any]:
    """`key=value` texts with values read as TOML, or as plain text where they are none."""
    return {key: _value(text) for key, text in pairs(texts, option).items()}


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def splits(texts: list[str]) -> dict[str, float | str]:
    """`--split validation=0.1` texts as shares, and `--split COLUMN` as the column to split by."""
    found: dict[str, float | str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            if "column" in found:
                raise RecipeError(f"--split {text}: is the second column to split by, after {found['column']!r}.")
            found["column"] = text
            continue
        if name not in ("validation", "test"):
            raise RecipeError(f"--split {name}: give a share to validation or test; the rest trains.")
        try:
            found[name] = float(value)
        except ValueError as error:
            raise RecipeError(f"--split {name}={value}: {value!r} is not a number.") from error
    return found


def about_data(
    *,
    column: list[str] | None,
    ignore: list[str] | None,
    label: list[str] | None,
    given: list[str] | None = None,
    given_part: list[str] | None = None,
    missing: list[str] | None,
    split: list[str] | None,
    schema: Path | None,
    resize: str | None,
    features: int | None,
) -> dict[str, Any]:
    """What was said about the data, as keywords of `vael.fit` and of `Reading.asked`."""
    asked = {
        "kinds": pairs(column or [], "--column"),
        "ignore": ignore,
        "label": label,
        "given": given,
        "part": given_part,
        "missing": missing,
        "split": splits(split or []),
        "schema": schema,
        "resize": resize,
        "features": features,
    }
    return {key: value for key, value in asked.items() if value is not None and value != {}}
