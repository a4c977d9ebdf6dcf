"""vael data: what was understood of a data set."""

from typing import Annotated

from cyclopts import Parameter

from vael.cli.options import Json, pairs


def data(
    source: str,
    /,
    *,
    column: Annotated[list[str] | None, Parameter(negative="")] = None,
    ignore: Annotated[list[str] | None, Parameter(negative="")] = None,
    label: Annotated[list[str] | None, Parameter(negative="")] = None,
    json: Json = False,
) -> None:
    """Show how the fields of SOURCE would be modelled, without fitting anything.

    Example: vael data people.csv --column age=real

    Parameters
    ----------
    source
        A built-in name or a .npy, .npz, .csv file.
    column
        NAME=KIND, to override what was inferred.
    ignore
        A column to leave out.
    label
        A column to keep beside the data, not in it.
    """
    import sys

    from rich.console import Console

    from vael import defaults
    from vael.cli.show import fields, say, say_json
    from vael.data.infer import infer
    from vael.data.sources import read
    from vael.names import kind_of

    frame = read(source)
    schema = infer(frame, kinds=pairs(column or [], "--column"), ignore=ignore or [], label=label or [])
    chosen = defaults.choose(schema)
    say(f"{frame.name}: {len(frame)} examples, {schema.dims} features")
    rows = []
    for names, text in schema.describe():
        member = chosen.get(names.split(" ")[0])
        rows.append((names, text + (f" → {kind_of(member)}" if member else "")))
    fields(rows, Console(file=sys.stdout, highlight=False, markup=False))
    if json:
        say_json({"data": frame.name, "examples": len(frame), **schema.to_json()})
