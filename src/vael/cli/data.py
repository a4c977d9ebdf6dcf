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
    missing: Annotated[list[str] | None, Parameter(negative="")] = None,
    json: Json = False,
) -> None:
    """Show how the fields of SOURCE would be modelled, without fitting anything.

    Example: vael data people.csv --column age=real

    Parameters
    ----------
    source
        A built-in name, or a .npy, .npz, .csv[.gz], .tsv or .parquet file.
    column
        NAME=KIND, to override what was inferred; may be repeated.
    ignore
        A column to leave out.
    label
        A column to keep beside the data, not in it.
    missing
        A text that marks a missing value, beside the usual ones.
    """
    import sys

    from rich.console import Console

    from vael import defaults
    from vael.cli.show import fields, say, say_json
    from vael.data.infer import infer
    from vael.data.sources import read
    from vael.names import kind_of

    kinds = pairs(column or [], "--column")
    named = [name for name, kind in kinds.items() if kind in ("category", "id")]
    frame = read(source, missing=missing or [], text=named)
    schema = infer(frame, kinds=kinds, ignore=ignore or [], label=label or [])
    chosen = defaults.choose(schema)
    say(f"{frame.name}: {len(frame)} examples, {schema.dims} feature{'s' * (schema.dims != 1)}")
    rows = []
    for names, text in schema.describe():
        member = chosen.get(names.split(" ")[0])
        rows.append((names, text + (f" → {kind_of(member)}" if member else "")))
    fields(rows, Console(file=sys.stdout, highlight=False, markup=False))
    if json:
        say_json({"data": frame.name, "examples": len(frame), **schema.to_json()})
