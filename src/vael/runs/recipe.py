"""Recipe ⇄ objects: a TOML table names a public class by its kind and gives its keyword arguments.

Constructors are the configuration. Every public class keeps each constructor argument under the argument's own name,
so an object can be read back into the table that would build it; there are no shadow config classes.
"""

import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from vael import likelihoods, networks, objectives, posteriors, priors
from vael.errors import RecipeError
from vael.likelihoods import Part
from vael.models import VAE
from vael.names import closest, kind_of

ROOMS: dict[str, ModuleType] = {
    "prior": priors,
    "likelihood": likelihoods,
    "posterior": posteriors,
    "network": networks,
    "objective": objectives,
}
MODEL = ("prior", "likelihood", "posterior")

Table = dict[str, Any]


def members(room: str) -> dict[str, type]:
    """The classes of a room that a recipe can name, by kind."""
    found = (getattr(ROOMS[room], name) for name in ROOMS[room].__all__)
    classes = (member for member in found if inspect.isclass(member) and not inspect.isabstract(member))
    # A protocol and the pair of columns and likelihood are words of a room, not members of it.
    return {kind_of(m): m for m in classes if not getattr(m, "_is_protocol", False) and not issubclass(m, tuple)}


def takes(room: str, kind: str, argument: str) -> bool:
    """Whether the class that `kind` names takes `argument`; True where there is no such class: `build` answers that."""
    member = members(room).get(kind.replace("-", "_"))
    return member is None or argument in inspect.signature(member).parameters


def room_of(place: str) -> str:
    """The room whose members stand at a place such as "likelihood" or "posterior.network"."""
    return "network" if place.endswith("network") else place.split(".")[0]


def describe(thing: object, place: str) -> Table:
    """The table that builds `thing` again; a class from outside `vael` becomes kind = "foreign"."""
    if members(room_of(place)).get(kind_of(type(thing))) is not type(thing):
        return {"kind": "foreign", "class": f"{type(thing).__module__}.{type(thing).__qualname__}"}
    table: Table = {"kind": kind_of(type(thing))}
    for name, parameter in inspect.signature(type(thing)).parameters.items():
        value = getattr(thing, name)
        if value is None or (
            name == "event_shape" and getattr(thing, "network", None) is not None and _says_outputs(thing)
        ):
            continue
        if value is not parameter.default:
            table[name] = _plain(value, f"{place}.{name}")
    return table


def _says_outputs(thing: object) -> bool:
    return getattr(getattr(thing, "network", None), "outputs", None) is not None


def _plain(value: object, place: str) -> Any:
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, nn.Module) and not isinstance(value, nn.ModuleList):
        return describe(value, place)
    if isinstance(value, Part):
        told = describe(value.likelihood, place.split(".")[0])
        told.pop("event_shape", None)  # its columns say it
        return {"columns": list(value.columns), **told}
    if isinstance(value, list | tuple | nn.ModuleList):
        return [_plain(item, f"{place}.{number}") for number, item in enumerate(value)]
    return value


def build(table: Mapping[str, Any], place: str, modules: Mapping[str, nn.Module] | None = None) -> Any:
    """The object that `table` describes, standing at `place` such as "likelihood" or "posterior.network".

    modules: Foreign modules by their place. Raises RecipeError on an unknown kind or key, or a foreign module that
    was not given.
    """
    known, keys = members(room_of(place)), dict(table)
    kind = keys.pop("kind", None)
    if kind == "foreign":
        return _foreign(place, table, modules or {})
    if kind not in known:
        raise RecipeError(
            f"[{place}]: unknown kind {kind!r}. There are: {', '.join(sorted(known))}.{closest(str(kind), known)}"
        )
    allowed = inspect.signature(known[kind]).parameters
    for key in keys:
        if key not in allowed:
            raise RecipeError(
                f"[{place}]: unknown key {key!r}. {known[kind].__name__} takes: {', '.join(allowed)}."
                f"{closest(key, allowed)}"
            )
    arguments = {key: _built(value, f"{place}.{key}", modules) for key, value in keys.items()}
    try:
        return known[kind](**arguments)
    except TypeError as error:
        raise RecipeError(f"[{place}]: {error}.") from error


def _built(value: Any, place: str, modules: Mapping[str, nn.Module] | None) -> Any:
    if place == "likelihood.parts":
        return [_part(part, modules) for part in value]
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        return [_built(item, f"{place}.{number}", modules) for number, item in enumerate(value)]
    return build(value, place, modules) if isinstance(value, Mapping) else value


def _part(table: Mapping[str, Any], modules: Mapping[str, nn.Module] | None) -> Part:
    columns = list(table["columns"])
    rest = {key: value for key, value in table.items() if key != "columns"}
    return Part(columns, build({"event_shape": len(columns), **rest}, "likelihood", modules))


def _foreign(place: str, table: Mapping[str, Any], modules: Mapping[str, nn.Module]) -> nn.Module:
    if place not in modules:
        raise RecipeError(
            f"[{place}]: this run was fitted with a module of its own, {table['class']}; a run folder holds no code.\n"
            f"  Build the module and hand it over: vael.load(RUN, modules={{{place!r}: module}})."
        )
    return modules[place]


def describe_model(model: VAE) -> Table:
    """The [prior], [likelihood] and [posterior] tables of a model."""
    return {place: describe(getattr(model, place), place) for place in MODEL}


def build_model(tables: Mapping[str, Any], modules: Mapping[str, nn.Module] | None = None) -> VAE:
    """The model of a recipe's [prior], [likelihood] and [posterior] tables, with fresh weights."""
    return VAE(**{place: build(tables[place], place, modules) for place in MODEL})


def with_settings(tables: Table, settings: Mapping[str, Any]) -> Table:
    """The recipe with dotted keys replaced, such as {"training.batch": 64}. Raises RecipeError for an unknown table.

    A new `kind` keeps the arguments that it takes too, such as a network's inputs and outputs, and drops the others.
    """
    changed = {key: dict(value) if isinstance(value, Mapping) else value for key, value in tables.items()}
    kinds_first = sorted(settings.items(), key=lambda item: not item[0].endswith(".kind"))
    for dotted, value in kinds_first:
        *path, key = dotted.replace("-", "_").split(".")
        table = changed
        for step in path:
            if step not in table or not isinstance(table[step], Mapping):
                raise RecipeError(f"--set {dotted}: the recipe has no table {step!r}.{closest(step, table)}")
            table[step] = dict(table[step])
            table = table[step]
        if path[:1] == ["data"]:
            raise RecipeError(f"--set {dotted}: the data are described by --split, --column, --ignore and --label.")
        if not path:
            raise RecipeError(f"--set {dotted}: name a table and a key, such as training.batch=64.")
        table[key] = value
        if key == "kind" and room_of(".".join(path)) in ROOMS:
            keep_what_it_takes(table, ".".join(path))
    return changed


def keep_what_it_takes(table: Table, place: str) -> None:
    """Drop the arguments that the class a table now names does not take; `build` answers a name that does not exist."""
    member = members(room_of(place)).get(table["kind"])
    if member is not None:
        taken = inspect.signature(member).parameters
        for key in set(table) - {"kind", *taken}:
            del table[key]


def without_defaults(table: Mapping[str, Any], place: str) -> Table:
    """The table without the arguments that say what the class it names takes anyway, as `describe` writes it."""
    known = members(room_of(place)) if room_of(place) in ROOMS else {}
    member = known.get(str(table.get("kind")))
    taken = inspect.signature(member).parameters if member is not None else {}
    return {
        key: without_defaults(value, f"{place}.{key}") if isinstance(value, Mapping) else value
        for key, value in table.items()
        if key not in taken or taken[key].default != value
    }
