"""vael data: what was understood of a data set."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vael.cli.options import Json, Output, about_data

if TYPE_CHECKING:
    from vael.data import Schema


def data(
    source: str,
    /,
    *,
    schema: Path | None = None,
    column: Annotated[list[str] | None, Parameter(negative="")] = None,
    ignore: Annotated[list[str] | None, Parameter(negative="")] = None,
    label: Annotated[list[str] | None, Parameter(negative="")] = None,
    missing: Annotated[list[str] | None, Parameter(negative="")] = None,
    split: Annotated[list[str] | None, Parameter(negative="")] = None,
    resize: str | None = None,
    features: int | None = None,
    stream: Annotated[bool, Parameter(negative="")] = False,
    output: Output = None,
    json: Json = False,
) -> None:
    """Show how the fields of SOURCE would be modelled, without fitting anything.

    Examples: vael data people.csv --column age=real
              vael data people.csv -o people.json    and after editing it    vael fit people.csv --schema people.json

    Parameters
    ----------
    source
        A set by name, a .npy, .npz, .csv[.gz], .tsv, .parquet, .feather or .txt file, or a folder of pictures.
    schema
        A file that says what the columns are, as --output writes it and a run keeps it; it may be edited.
    column
        NAME=KIND, to override what was inferred; may be repeated.
    ignore
        A column to leave out; may be repeated.
    label
        A column to keep beside the data, not in it; may be repeated.
    missing
        A text that marks a missing value, beside the usual ones.
    split
        validation=SHARE, test=SHARE, or the name of the column that says which rows train; may be repeated.
    resize
        The size in pixels that pictures are brought to, 64 or 64x48 (width x height), after a centred crop.
    features
        How many columns of a wide table of counts to keep: those with the largest totals.
    stream
        Look at a sample of the rows alone, as vael fit --stream does.
    output
        Write the schema to this .json file, to be edited and given to --schema.
    """
    import sys

    from rich.console import Console

    from vael.cli.show import fields, say, say_json
    from vael.data import Reading
    from vael.data.dataset import nothing_to_model
    from vael.data.understand import understand
    from vael.runs.source import opened

    asked = about_data(column=column, ignore=ignore, label=label, missing=missing, split=split, schema=schema,
                       resize=resize, features=features)  # fmt: skip
    reading = Reading.asked(**asked, stream=stream)
    there = opened(source, reading, seed=0)
    frame, rows, sizes = there.frame, there.rows, there.sizes()
    found = there.understood(understand(frame, reading))
    told = ", ".join(f"{name} {size}" for name, size in sizes.items())
    say(f"data        {there.name}: {rows} example{'s' * (rows != 1)}; {told}")
    if rows != len(frame):
        say(f"sample      {len(frame)} of the training examples were looked at")
    say(f"example     {example(found)}")
    fields(described(found), Console(file=sys.stdout, highlight=False, markup=False, width=width(sys.stdout.isatty())))
    for text in [*holes(found, rows), *(f"note        {text}" for text in frame.notes)]:
        say(text)
    if not found.modelled:
        say(f"warning     {nothing_to_model(frame, found)}")
    if output is not None:
        write_schema(output, found)
        say(f"wrote       {output}; edit it, then: vael fit {source} --schema {output}")
    if json:
        about = {"data": there.name, "examples": rows, "splits": sizes, "notes": list(frame.notes)}
        say_json({**about, **found.to_json()})


def width(terminal: bool) -> int | None:
    """Columns of the listing: the terminal's own, and enough for a line of each field in a file or a pipe."""
    return None if terminal else 120


def example(schema: "Schema") -> str:
    """What one x is, in words."""
    if not schema.is_table and len(schema.event_shape) == 3 and schema.event_shape[0] in (1, 3):
        channels, high, wide = schema.event_shape
        return f"a picture of {wide}×{high} pixels, {'grey' if channels == 1 else 'colour'}; {schema.dims} numbers"
    if not schema.is_table:
        return f"an array of shape {schema.event_shape}; {schema.dims} numbers"
    of = len(schema.fields)
    return f"a row of {schema.dims} modelled column{'s' * (schema.dims != 1)}" + (
        f", of {of}" if of != schema.dims else ""
    )


def described(schema: "Schema") -> list[tuple[str, str]]:
    """Names of fields, what they are, and the likelihood that each would get."""
    from vael import defaults
    from vael.names import kind_of

    chosen, rows = defaults.choose(schema), []
    for names, text in schema.describe():
        first = next(field for field in schema if field.name == names or names.startswith(f"{field.name} … "))
        if first.role == "label" and first.values:
            text += f", {len(first.values)} values"
        member = chosen.get(first.name)
        rows.append((f"  {names}", text + (f" → {kind_of(member)}" if member else "")))
    return rows


def holes(schema: "Schema", examples: int) -> list[str]:
    """How much is missing in the modelled columns, if anything is."""
    missing = [field.missing for field in schema.modelled if field.missing]
    if not missing:
        return []
    share = 100 * sum(missing) / (examples * len(schema.modelled))
    return [
        f"missing     {sum(missing)} values in {len(missing)} column{'s' * (len(missing) != 1)}, {share:.2g} % of all"
    ]


def write_schema(path: Path, schema: "Schema") -> None:
    """Write a schema for a person to edit: readable, without a checksum, and without what follows from a kind."""
    import json

    from vael.files import write_bytes

    value = schema.to_json()
    for entry in value["fields"]:
        if entry["kind"] == "id":
            entry.pop("role", None)
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())
