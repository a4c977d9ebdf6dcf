"""Ready recipes: a published experiment as the arguments of `fit` and `evaluate`, with the figures to expect.

[about]      title, paper, arxiv, year, minutes, note
[fit]        keyword arguments of vael.fit, with [fit.settings] for dotted recipe keys
[evaluate]   keyword arguments of Run.evaluate
[arms.NAME]  keyword arguments of vael.fit that take the place of those in [fit], for an experiment of several runs
[options.NAME] default, and for each value of the option a table of arguments of vael.fit that it changes, settings
             merged; `arms` there lists the arms that are run
pictures     names of the finished pictures that are drawn from the runs; see `vael.report.demonstrations`
[[expected]] figure, its value and tolerance; or the arm that is highest, or lowest, among others; and the source;
             when = { NAME = VALUE } where it is expected of one choice of the options alone
"""

import inspect
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

from vael.errors import RecipeError
from vael.files import read_bytes
from vael.names import closest
from vael.runs.fit import fit
from vael.runs.run import Run
from vael.training import Training

NOT_IN_A_FILE = ("model", "watch", "output", "device", "training", "self")  # objects, and what belongs to one machine

COMPARED = ("elbo", "evidence", "rate", "distortion")  # figures whose differences between runs have a paired error
MEASURED = (*COMPARED, "bits_per_dim", "active_units")


@dataclass(frozen=True)
class About:
    """What a recipe is and where it comes from. minutes: On two CPU cores, about."""

    title: str
    paper: str = ""
    arxiv: str = ""
    year: int | None = None
    minutes: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Expected:
    """A figure that a recipe should give.

    figure: One of MEASURED, a key of the evaluation. value, tolerance: Where it should lie; or
    highest or lowest, among: the arm whose figure, one of COMPARED, should exceed that of each of the others, or lie
        below it.
    arm: Which arm's figure, where there are arms. source: Where the expectation comes from.
    when: The options under which it is expected.
    """

    figure: str
    value: float | None = None
    tolerance: float | None = None
    highest: str | None = None
    lowest: str | None = None
    among: tuple[str, ...] = ()
    arm: str | None = None
    source: str = ""
    when: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arms(self) -> list[str]:
        """The arms it speaks of."""
        return [arm for arm in (self.arm, self.highest, self.lowest, *self.among) if arm is not None]


@dataclass(frozen=True)
class Ready:
    """A recipe by name."""

    name: str
    about: About
    fit: Mapping[str, Any]
    evaluate: Mapping[str, Any] = field(default_factory=dict)
    arms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pictures: tuple[str, ...] = ()
    expected: tuple[Expected, ...] = ()

    def arguments(self, arm: str | None = None) -> dict[str, Any]:
        """The keyword arguments of `fit`, those of `arm` in place; settings are merged.

        Raises RecipeError when there is no such arm.
        """
        if arm is not None and arm not in self.arms:
            raise RecipeError(f"recipe {self.name}: no arm {arm!r}. There are: {', '.join(self.arms) or 'none'}.")
        return merged(self.fit, self.arms[arm] if arm is not None else {})

    def chosen(self, options: Mapping[str, str]) -> "Ready":
        """The recipe under a choice of its options, the rest at their defaults: a recipe without options.

        Raises RecipeError when there is no such option or value.
        """
        for name in options:
            if name not in self.options:
                raise RecipeError(
                    f"recipe {self.name}: no option --{name}. There are: {', '.join(self.options) or 'none'}."
                    f"{closest(name, self.options)}"
                )
        fitted, arms, values = dict(self.fit), dict(self.arms), {}
        for name, table in self.options.items():
            values[name] = str(options.get(name, table["default"]))
            if values[name] not in table or values[name] == "default":
                known = ", ".join(value for value in table if value != "default")
                raise RecipeError(f"recipe {self.name}: --{name} must be one of {known}, got {values[name]}.")
            changes = dict(table[values[name]])
            arms = {arm: arms[arm] for arm in changes.pop("arms", arms)}
            fitted = merged(fitted, changes)
        met = (one for one in self.expected if all(values[name] == str(value) for name, value in one.when.items()))
        kept = tuple(one for one in met if all(arm in arms for arm in one.arms))
        return replace(self, fit=fitted, arms=arms, options={}, expected=kept)


def merged(arguments: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `fit`, the changed ones in place; settings are merged."""
    settings = {**arguments.get("settings", {}), **changed.get("settings", {})}
    return {**arguments, **changed, **({"settings": settings} if settings else {})}


def names() -> list[str]:
    """The recipes that come with vael."""
    return sorted(entry.name.removesuffix(".toml") for entry in _home().iterdir() if entry.name.endswith(".toml"))


def _home() -> Any:
    return resources.files("vael") / "recipes"


def read(name: str | Path) -> Ready:
    """The recipe of that name, or in that .toml file.

    Raises RecipeError when there is none, when the file is no recipe, or on an unknown key.
    """
    path = Path(name)
    if path.suffix == ".toml":
        if not path.is_file():
            raise RecipeError(f"{path}: there is no such recipe file.")
        return parse(read_bytes(path).decode(), path.stem, str(path))
    found = str(name).replace("_", "-")
    if found not in names():
        raise RecipeError(
            f"recipe {name}: is not one of {', '.join(names())}.{closest(found, names())}\n"
            f"  Name one of these, or a file that ends in .toml."
        )
    return parse((_home() / f"{found}.toml").read_text(encoding="utf-8"), found, f"recipe {found}")


def parse(text: str, name: str, where: str) -> Ready:
    """A recipe from TOML. where: What to call it in messages. Raises RecipeError naming the wrong table or key."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{where}: is not valid TOML ({error}).") from error
    known = [spec.name for spec in fields(Ready) if spec.name != "name"]
    _refuse_unknown(where, "", tables, known)
    if "fit" not in tables or "data" not in tables["fit"]:
        raise RecipeError(f"{where}: needs a table [fit] that says at least data = NAME.")
    _refuse_unknown(where, "about", tables.get("about", {}), [spec.name for spec in fields(About)])
    _refuse_unknown(where, "fit", tables["fit"], fit_keys())
    for arm, changed in tables.get("arms", {}).items():
        _refuse_unknown(where, f"arms.{arm}", changed, fit_keys())
    for option, table in tables.get("options", {}).items():
        _check_option(where, option, table, tables.get("arms", {}))
    _refuse_unknown(where, "evaluate", tables.get("evaluate", {}), _keys(Run.evaluate))
    expected = tuple(_expected(entry, where, tables) for entry in tables.get("expected", []))
    return Ready(
        name,
        About(**{"title": name, **tables.get("about", {})}),
        tables["fit"],
        tables.get("evaluate", {}),
        tables.get("arms", {}),
        tables.get("options", {}),
        tuple(tables.get("pictures", ())),
        expected,
    )


def _check_option(where: str, option: str, table: Mapping[str, Any], arms: Mapping[str, Any]) -> None:
    values = {value: changes for value, changes in table.items() if value != "default"}
    if str(table.get("default")) not in values:
        raise RecipeError(f"{where}, [options.{option}]: default must be one of {', '.join(values)}.")
    for value, changes in values.items():
        _refuse_unknown(where, f"options.{option}.{value}", changes, [*fit_keys(), "arms"])
        _refuse_unknown(where, f"options.{option}.{value}, arms", changes.get("arms", ()), list(arms))


def fit_keys() -> list[str]:
    """The arguments of `fit` that a file can hold: its own, and those of training."""
    return [*_keys(fit), *(spec.name for spec in fields(Training)), "epochs"]


def _keys(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name not in NOT_IN_A_FILE]


def _refuse_unknown(where: str, table: str, given: Iterable[str], known: list[str]) -> None:
    for key in given:
        if key not in known:
            place = f"{where}, [{table}]" if table else where
            raise RecipeError(f"{place}: unknown key {key!r}. It takes: {', '.join(known)}.{closest(key, known)}")


def _expected(entry: Mapping[str, Any], where: str, tables: Mapping[str, Any]) -> Expected:
    _refuse_unknown(where, "expected", entry, [spec.name for spec in fields(Expected)])
    known = COMPARED if {"highest", "lowest"} & set(entry) else MEASURED
    if entry.get("figure") not in known:  # before the hours of a fit, not after them
        raise RecipeError(
            f"{where}, [[expected]]: figure must be one of {', '.join(known)}, got {entry.get('figure')!r}."
            f"{closest(str(entry.get('figure')), known)}"
        )
    expected = Expected(**{**entry, "among": tuple(entry.get("among", ()))})
    figure_given = expected.value is not None and expected.tolerance is not None
    order_given = (expected.highest is None) != (expected.lowest is None) and bool(expected.among)
    if figure_given == order_given:
        raise RecipeError(
            f"{where}, [[expected]] {expected.figure}: needs a value and its tolerance, or highest or lowest and among."
        )
    arms = list(tables.get("arms", {}))
    for arm in expected.arms:
        if arm not in arms:
            raise RecipeError(f"{where}, [[expected]] {expected.figure}: no arm {arm!r}.{closest(arm, arms)}")
    if arms and figure_given and expected.arm is None:
        raise RecipeError(f"{where}, [[expected]] {expected.figure}: say the arm, one of {', '.join(arms)}.")
    return expected
