"""Where a fit's data come from: read whole, or left on disk."""

from collections.abc import Mapping
from dataclasses import dataclass

from vael.data import Data, Frame, Reading, Schema, fewer_labels, fingerprint, prepare
from vael.data.sources import open_groups, read, read_like
from vael.data.sources.split import with_split
from vael.data.sources.tables import TableGroups
from vael.data.splits import split_rows
from vael.data.streamed import Opened
from vael.errors import DataError, RecipeError


@dataclass(frozen=True)
class Whole:
    """Data read whole, their rows split by (fractions, seed)."""

    frame: Frame
    fractions: Mapping[str, float]
    seed: int
    labels: int | None = None

    @property
    def name(self) -> str:
        """What to call the data."""
        return self.frame.name

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.frame)

    def sizes(self) -> dict[str, int]:
        """Rows of each split."""
        found = split_rows(len(self.frame), given=self.frame.split, fractions=self.fractions, seed=self.seed)
        return {name: len(rows) for name, rows in found.items()}

    def understood(self, schema: Schema) -> Schema:
        """The schema as it is: all rows were looked at."""
        return schema

    def prepare(self, schema: Schema) -> Data:
        """Views fitted on the training rows, every split in memory, as many labels known as there are to be."""
        found = prepare(self.frame, schema, fractions=self.fractions, seed=self.seed)
        return found if self.labels is None else fewer_labels(found, self.labels, self.seed)


def opened(source: object, reading: Reading, seed: int) -> Opened | Whole:
    """`source` as `reading` asks for it. Raises DataError, and RecipeError for what streaming cannot do."""
    return (
        _streamed(source, reading, seed)
        if reading.stream
        else Whole(read(source, reading), reading.shares, seed, reading.labels)
    )


def opened_again(source: object, schema: Schema, reading: Reading, seed: int) -> tuple[Opened | Whole, str]:
    """`source` as the run of a known `schema` read it, and its fingerprint."""
    if reading.stream:
        found = _streamed(source, reading, seed)
        return found, found.store.fingerprint
    frame = read_like(source, schema, reading)
    return Whole(frame, reading.shares, seed, reading.labels), fingerprint(frame)


def _streamed(source: object, reading: Reading, seed: int) -> Opened:
    for name, given in {"features": reading.features, "missing": reading.missing}.items():
        if given:
            raise RecipeError(f"--{name}: does not go with --stream, whose tables are read as they are. Leave one out.")
    if reading.labels is not None:
        raise RecipeError(
            f"--labels {reading.labels}: does not go with --stream, whose rows are not looked at before they are "
            f"needed.\n  Leave one out, or empty the label's column in the other rows."
        )
    if reading.split_column:
        raise RecipeError(
            f"--split {reading.split_column}: a streamed table is split by whole groups of rows, not by a column.\n"
            f"  Put the files of each split into folders train, validation and test, or give shares."
        )
    store = open_groups(source, reading.resize)
    if reading.resize and isinstance(store, TableGroups):
        raise RecipeError(f"resize: {store.name} holds no pictures. Leave it out.")
    found = Opened.of(store, reading.shares, seed)
    if "split" not in reading.ignore and with_split(found.frame, reading.split_column).split is not None:
        raise DataError(
            f"{found.name}: has a column 'split', and a streamed table is split by whole groups of rows.\n"
            f"  Put the files of each split into folders train, validation and test, or say --ignore split."
        )
    return found
