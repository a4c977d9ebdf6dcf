"""Tables in files of many pieces: a folder of .parquet and .feather files, read whole or by row group.

A Parquet file's pieces are its row groups, an Arrow file's its record batches: the least that can be read at a time.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vael.data.frame import Frame
from vael.data.reading import Reading
from vael.data.schema import Schema
from vael.data.sources.frames import read_frame
from vael.data.sources.groups import Group
from vael.data.sources.split import SPLIT_WORDS
from vael.errors import DataError

ENDINGS = (".parquet", ".feather")


def table_files(path: Path) -> list[Path]:
    """The .parquet and .feather files of a folder and its sub-folders, sorted by name; a file is itself alone.

    What begins with a dot or an underscore is passed over, as Spark's and Hive's own notes are.
    """
    if not path.is_dir():
        return [path] if path.name.lower().endswith(ENDINGS) else []
    found = (file for file in path.rglob("*") if file.name.lower().endswith(ENDINGS) and file.is_file())
    return sorted(file for file in found if not _hidden(file.relative_to(path)))


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def read_tables(folder: Path, _: Reading) -> Frame:
    """All rows of all tables in a folder as one frame, files in the order of their names.

    Folders train, validation (or valid, val) and test are the split. Raises DataError where a file is damaged, or does
    not have the columns of the first.
    """
    import pyarrow

    found = TableGroups.open(folder)
    frame = read_frame(pyarrow.concat_tables([found.table(group) for group in found.groups]), folder.name)
    words = [group.split for group in found.groups]
    rows = [group.rows for group in found.groups]
    split = np.repeat(np.asarray(words, dtype="<U10"), rows) if any(words) else None
    return Frame(folder.name, frame.columns, split=split)


@contextmanager
def opened(file: Path, *, sizes: bool = False) -> Iterator[Any]:
    """A Parquet file, or the reader of an Arrow file; where its `sizes` alone are wanted, of one column.

    Raises DataError naming the file when it is damaged.
    """
    import pyarrow
    from pyarrow import ipc, parquet

    kind = "parquet" if file.name.lower().endswith(".parquet") else "feather"
    try:
        if kind == "parquet":
            with parquet.ParquetFile(file) as reader:
                yield reader
        else:
            # The number of rows stands in each batch, and a batch is unpacked to be opened: one column of it is enough.
            options = ipc.IpcReadOptions(included_fields=[0] if sizes else None)
            with pyarrow.OSFile(str(file)) as source, ipc.open_file(source, options=options) as reader:
                yield reader
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, OSError) as error:
        raise DataError(f"{file.name}: damaged, no whole {kind} file ({error}).\n  Save the file again.") from error


@dataclass(frozen=True)
class TableGroups:
    """A table on disk, known by the notes at the end of its files alone until a piece of it is read.

    name, origin: As of a `Frame`. fields: Names and Arrow types of its columns, those of every file.
    """

    name: str
    origin: str
    groups: tuple[Group, ...]
    fields: tuple[tuple[str, str], ...]
    sampled = 100_000
    held_out = 100_000

    @staticmethod
    def open(path: Path) -> "TableGroups":
        """The tables in `path`, a file or a folder. Raises DataError where there are none, or they differ in form."""
        name, path = path.name, path.resolve()
        files = table_files(path)
        if not files:
            raise DataError(f"{path}: holds no .parquet or .feather file.\n  Name a file or a folder of such files.")
        groups: list[Group] = []
        fields: tuple[tuple[str, str], ...] = ()
        start = 0
        for file in files:
            with opened(file) as reader:
                form = reader.schema_arrow if hasattr(reader, "schema_arrow") else reader.schema
                own = tuple((field.name, str(field.type)) for field in form)
            with opened(file, sizes=True) as reader:
                if file == files[0]:
                    fields = own
                elif own != fields:
                    raise _another_form(file, own, files[0], fields)
                first = 0
                for number, rows in enumerate(_sizes(reader)):
                    groups.append(Group(file, number, rows, first, start, _split_of(file, path)))
                    first, start = first + rows, start + rows
        _check_split(groups, path)
        return TableGroups(name, str(path), tuple(g for g in groups if g.rows), fields)

    def __len__(self) -> int:
        return sum(group.rows for group in self.groups)

    @cached_property
    def fingerprint(self) -> str:
        """ "footers:" and a SHA-256 over the names, the sizes and the closing notes of all files.

        A Parquet file's notes hold where each column lies, how long it is, and usually its least and greatest value.
        The values themselves are not read: that would be a pass through everything.
        """
        digest = hashlib.sha256()
        for file in self._files:
            name = file.relative_to(self.origin).as_posix()  # "." for a file that is the whole source
            digest.update(f"{name}|{file.stat().st_size}|".encode())
            digest.update(closing_notes(file))
        return f"footers:{digest.hexdigest()}"

    @property
    def _files(self) -> list[Path]:
        """The files that hold rows, in order."""
        return list(dict.fromkeys(group.file for group in self.groups))

    @property
    def files(self) -> int:
        return len(self._files)

    def like(self, schema: Schema) -> "TableGroups":
        return self

    def index(self, group: Group) -> NDArray[np.int64]:
        return np.arange(group.start, group.start + group.rows)

    def table(self, group: Group, columns: Sequence[str] | None = None) -> Any:
        """The Arrow table of one piece; DataError when its file is damaged or gone."""
        import pyarrow

        names = list(columns) if columns is not None else None
        with opened(group.file) as reader:
            if hasattr(reader, "read_row_group"):
                return reader.read_row_group(group.number, columns=names, use_threads=False)
            whole = pyarrow.Table.from_batches([reader.get_batch(group.number)])
            return whole if names is None else whole.select(names)

    def read(self, group: Group, columns: Sequence[str]) -> Frame:
        there = {name for name, _ in self.fields}
        table = self.table(group, [name for name in columns if name in there])
        return Frame(group.file.name, read_frame(table, group.file.name).columns, first=group.first)

    def sample(self, groups: Sequence[Group], rows: int, seed: int) -> Frame:
        import pyarrow

        whole, generator, tables = sum(group.rows for group in groups), np.random.default_rng(seed), []
        for group in groups:
            few = min(group.rows, -(-rows * group.rows // whole))
            chosen = np.sort(generator.permutation(group.rows)[:few])
            tables.append(self.table(group).take(pyarrow.array(chosen)))
            _refuse_infinity(group, tables[-1], chosen)
        name = f"{self.name} (a sample of its rows)"  # in which rows have other numbers than in their files
        return Frame(name, read_frame(pyarrow.concat_tables(tables), name).columns, origin=self.origin)

    @cached_property
    def nulls(self) -> dict[str, int]:
        """What the notes of the files say, where all are Parquet's and say it."""
        known: dict[str, int | None] = dict.fromkeys((name for name, _ in self.fields), 0)
        for file in self._files:
            if not file.name.lower().endswith(".parquet"):
                return {}
            with opened(file) as reader:
                notes = reader.metadata
                for number in range(notes.num_row_groups):
                    for place in range(notes.num_columns):
                        column = notes.row_group(number).column(place)
                        count = column.statistics.null_count if column.statistics is not None else None
                        so_far = known.get(column.path_in_schema)
                        known[column.path_in_schema] = None if so_far is None or count is None else so_far + count
        return {name: count for name, count in known.items() if count}


def _refuse_infinity(group: Group, table: Any, rows: NDArray[np.int64]) -> None:
    """Raise DataError naming file and row where some `rows` of a group hold an infinity."""
    import pyarrow

    for name, column in zip(table.column_names, table.columns, strict=True):
        if pyarrow.types.is_floating(column.type):
            infinite = np.isinf(column.to_numpy())
            if infinite.any():
                row = group.first + int(rows[infinite][0])
                raise DataError(
                    f"{group.file.name}, column {name!r}, row {row + 1}: {column.to_numpy()[infinite][0]} is not a "
                    f"number a model can take.\n  Correct the value, or leave it empty (NaN) if it is missing."
                )


def _sizes(reader: Any) -> list[int]:
    """Rows of each piece of a file."""
    if hasattr(reader, "read_row_group"):
        return [reader.metadata.row_group(number).num_rows for number in range(reader.metadata.num_row_groups)]
    return [reader.get_batch(number).num_rows for number in range(reader.num_record_batches)]


def closing_notes(file: Path) -> bytes:
    """The closing notes of a Parquet or an Arrow file, whose length stands right before its last, magic word.

    Raises DataError naming the file when it is too short to have them.
    """
    magic = 4 if file.name.lower().endswith(".parquet") else 6
    try:
        with file.open("rb") as content:
            content.seek(-magic - 4, 2)
            length = int.from_bytes(content.read(4), "little")
            content.seek(-magic - 4 - length, 2)
            return content.read(length)
    except OSError as error:
        kind = "parquet" if magic == 4 else "feather"
        raise DataError(f"{file.name}: damaged, no whole {kind} file ({error}).\n  Save the file again.") from error


def _split_of(file: Path, root: Path) -> str:
    parts = file.relative_to(root).parts if root.is_dir() else ()
    return SPLIT_WORDS.get(parts[0].lower(), "") if len(parts) > 1 else ""


def _check_split(groups: Sequence[Group], path: Path) -> None:
    """Raise DataError where some files lie in folders named after a split, and others outside them."""
    outside = [group.file for group in groups if not group.split]
    if outside and len(outside) < len(groups):
        raise DataError(
            f"{path}: some files lie in folders named after a split, and {outside[0].relative_to(path)} does not.\n"
            f"  Move it into one of train, validation and test, or give those folders other names."
        )


def _another_form(
    file: Path, own: tuple[tuple[str, str], ...], other: Path, fields: tuple[tuple[str, str], ...]
) -> DataError:
    here, there = dict(own), dict(fields)
    names = [*there, *(name for name in here if name not in there)]
    differing = next((name for name in names if here.get(name) != there.get(name)), None)
    what = (
        "its columns stand in another order"
        if differing is None
        else f"column {differing!r} is {here.get(differing, 'not there')}, in {other.name} it is "
        f"{there.get(differing, 'not there')}"
    )
    return DataError(f"{file.name}: {what}.\n  Save all files of one table with the same columns of the same types.")
