"""Data larger than memory: training rows stay on disk, in blocks that are read when a batch asks for them.

The unit is what a file can be read by: a row group. Whole groups, chosen by the seed, validate and test; the rest
train. The schema and its views are understood from some of the training groups, so that what is kept in memory does
not grow with the number of rows.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vael.data.batch import Batch
from vael.data.blocks import WINDOW, Blocks
from vael.data.dataset import HELD, Data, Split, encode, fit_views, nothing_to_model
from vael.data.frame import Frame
from vael.data.schema import Schema
from vael.data.sources.groups import Group, Store
from vael.data.splits import FEWEST_GROUPS, NAMES, Shared, sample_of, share_out
from vael.errors import DataError

WINDOW_BYTES = 1 << 26  # that small blocks are joined to at most

Window = tuple[int, ...]


# ── from groups to splits ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Opened:
    """A source whose pieces are dealt out, nothing but a sample of training rows read.

    frame: That sample, all columns, from which schema and views are understood.
    """

    store: Store
    shared: Shared
    frame: Frame
    fractions: Mapping[str, float]
    seed: int

    @staticmethod
    def of(store: Store, fractions: Mapping[str, float], seed: int) -> "Opened":
        """`store` dealt out. Raises DataError where no group is left to train on."""
        if not len(store):
            raise DataError(f"{store.name}: 0 rows. There is nothing to work on.")
        shared = share_out(store.groups, fractions, seed, store.held_out)
        if not shared.groups["train"]:
            raise DataError(f"{store.name}: 0 rows to train on, of {len(store)}.\n  Put files into a folder train.")
        frame = store.sample(sample_of(shared.groups["train"], store.sampled), store.sampled, seed)
        return Opened(store, shared, frame, fractions, seed)

    @property
    def name(self) -> str:
        """What to call the data."""
        return self.store.name

    @property
    def rows(self) -> int:
        """How many there are on disk."""
        return len(self.store)

    def sizes(self) -> dict[str, int]:
        """Rows of each split, as many as are used."""
        rows = {name: sum(group.rows for group in groups) for name, groups in self.shared.groups.items()}
        return {name: min(rows[name], self.shared.most.get(name, rows[name])) for name in rows}

    def understood(self, schema: Schema) -> Schema:
        """The schema with the number of missing values in all rows, where the files know it."""
        nulls = self.store.nulls
        return schema.with_fields(
            {field.name: {"missing": nulls[field.name]} for field in schema if nulls.get(field.name, 0) > field.missing}
        )

    def prepare(self, schema: Schema) -> Data:
        """The views fitted on the sample, validation and test rows read, training rows left where they are.

        Raises DataError naming file, row and value where a row that is read cannot be, or no field is left to model.
        """
        if not schema.modelled:
            raise nothing_to_model(self.frame, schema)
        schema = fit_views(schema, self.frame.columns)
        held = {name: self._resident(name, schema) for name in ("validation", "test")}
        reader = Reader(self.store.like(schema), self.shared.groups["train"], schema)
        sample = self._sample(schema)
        train = Streamed.of(reader, sample)
        return Data(
            self.store.name, self.store.origin, schema, {"train": train, **held}, self.store.fingerprint,
            tuple(self._notes({"train": train, **held})),
        )  # fmt: skip

    def _sample(self, schema: Schema) -> Split:
        """The sample as a model sees it; where a row of it cannot be, its group tells of it by file and row."""
        try:
            return encode(in_form(self.frame, schema), schema)
        except DataError:
            for group in sample_of(self.shared.groups["train"], self.store.sampled):
                seen(self.store.like(schema), group, schema)
            raise

    def _resident(self, name: str, schema: Schema) -> Split:
        """At most so many rows of a split's groups, chosen by the seed, in memory."""
        groups = self.shared.groups[name]
        whole = sum(group.rows for group in groups)
        chosen = np.random.default_rng([self.seed, NAMES.index(name)]).permutation(whole)[: self.shared.most[name]]
        chosen.sort()
        first, pieces, store = 0, [], self.store.like(schema)
        for group in groups:
            own = chosen[(chosen >= first) & (chosen < first + group.rows)] - first
            pieces.append(seen(store, group, schema).rows(torch.from_numpy(own)))
            first += group.rows
        if not pieces:
            return self._sample(schema).rows(torch.empty(0, dtype=torch.int64))
        return joined(pieces, len(chosen))

    def _notes(self, splits: Mapping[str, Split]) -> Iterable[str]:
        groups, files = self.shared.groups, self.store.files
        yield (
            f"streamed: {len(self.store):,} rows in {len(self.store.groups):,} groups of {files} "
            f"file{'s' * (files != 1)}; schema and views from {len(self.frame):,} of the training rows"
        )
        for name in ("validation", "test"):
            rows = sum(group.rows for group in groups[name])
            if rows > len(splits[name]):
                yield f"{name}: {len(splits[name]):,} of the {rows:,} rows held out for it; the others are not used"
        if len(self.store.groups) < FEWEST_GROUPS and not all(groups.values()):
            yield (
                f"{len(self.store.groups)} row group{'s' * (len(self.store.groups) != 1)}: too few to hold one out; "
                f"save the data in more, smaller row groups"
            )


def seen(store: Store, group: Group, schema: Schema) -> Split:
    """The rows of one group as a model sees them, `index` being their rows in the whole source.

    Raises DataError naming file, row and value where one cannot be.
    """
    names = [field.name for field in schema if field.role in ("data", "given", "label")]
    frame = in_form(store.read(group, names), schema)
    for spec in schema:
        if spec.role == "data" and spec.kind == "constant" and spec.values and spec.name in frame.columns:
            _refuse_change(frame, spec.name, frame.columns[spec.name], spec.values[0])
    split = encode(frame, schema)
    if split.observed is not None and not any(spec.missing for spec in schema.modelled):
        raise _unforeseen_hole(frame, schema, split.observed)
    return dataclasses.replace(split, index=torch.from_numpy(store.index(group)))


def _unforeseen_hole(frame: Frame, schema: Schema, observed: Tensor) -> DataError:
    """Whether a batch has a mask is the same for all steps, and so is what the encoder is told of holes."""
    row, column = (int(place) for place in (~observed).nonzero()[0])
    return DataError(
        f"{frame.name}, column {schema.modelled[column].name!r}, row {frame.first + row + 1}: the value is missing, "
        f"and none was in the rows that the schema was read from.\n"
        f"  Fill it in, or save missing values as nulls in Parquet, which counts them, and not as NaN; then fit again."
    )


def in_form(frame: Frame, schema: Schema) -> Frame:
    """The frame with truth values as texts where the schema has them so.

    Whether a column of truth values has holes is told by all rows, not by a group of them.
    """
    changed = {}
    for spec in schema:
        column = frame.columns.get(spec.name)
        if column is None:
            continue
        if column.dtype == bool and spec.dtype == "str":
            changed[spec.name] = np.asarray([str(value) for value in column.tolist()], dtype=object)
    return dataclasses.replace(frame, columns={**frame.columns, **changed}) if changed else frame


def _refuse_change(frame: Frame, name: str, column: Any, value: object) -> None:
    absent = np.asarray([item is None or item != item for item in column.tolist()])
    wrong = ~absent & (column != value)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{frame.name}, column {name!r}, row {frame.first + row + 1}: {column[row]!r} cannot be; "
            f"expected {value!r}, the one value in the rows that the schema was read from.\n"
            f"  Say --ignore {name}, or its kind with --column {name}=KIND."
        )


def joined(pieces: Iterable[Split], rows: int) -> Split:
    """Pieces one after the other, `rows` in all, written into place as they come: none is held twice.

    A mask that some pieces lack is all True there.
    """
    held: dict[str, Tensor] = {}
    at, last = 0, None
    for last in pieces:
        for name in HELD:
            value = getattr(last, name)
            if value is None:
                continue
            if name not in held:
                held[name] = value.new_ones((rows, *value.shape[1:]))
            held[name][at : at + len(value)] = value
        at += len(last)
    assert last is not None
    whole: dict[str, Any] = {name: held.get(name) for name in HELD}
    return dataclasses.replace(last, **whole)


# ── training rows on disk ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Held:
    """A window in memory. shift: `(G,)`, where the rows of each group begin in it; −1 for a group that is not there."""

    split: Split
    shift: Tensor


class Reader:
    """Reads training groups as a model sees them: the window that is asked for, and ahead of time the one after it."""

    def __init__(self, store: Store, groups: Sequence[Group], schema: Schema) -> None:
        self.store, self.groups, self.schema = store, groups, schema
        width = 4 * schema.dims if schema.is_table or schema.modelled[0].kind != "image" else schema.dims
        wanted = max(1, min(WINDOW, WINDOW_BYTES // width))
        self.blocks = Blocks([group.rows for group in groups], wanted)
        self.starts = torch.tensor(self.blocks.starts)
        self._held: dict[Window, Future[Held]] = {}
        self._wanted: dict[int, tuple[Window, Window]] = {}
        self._thread: ThreadPoolExecutor | None = None

    def followed(self) -> Blocks:
        """The blocks, for one more order to walk through: its windows are kept beside those of the others."""
        walker = len(self._wanted)
        self._wanted[walker] = ((), ())
        sizes = [group.rows for group in self.groups]
        return Blocks(sizes, self.blocks.rows_wanted, lambda now, following: self.expect(walker, now, following))

    def expect(self, walker: int, now: Window, following: Window) -> None:
        """Begin to read what is not in memory; what is there and nobody asks for goes at the next batch."""
        self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="vael-read")
        self._wanted[walker] = (now, following)
        for window in dict.fromkeys((now, following)):
            if window not in self._held:
                self._held[window] = self._thread.submit(self._load, window)

    def _load(self, window: Window) -> Held:
        shift, at = torch.full((len(self.groups),), -1), 0
        for block in window:
            shift[block], at = at, at + self.blocks.rows(block)
        return Held(joined((self.block(block) for block in window), at), shift)

    def block(self, block: int) -> Split:
        """The rows of one block, read now."""
        return seen(self.store, self.groups[block], self.schema)

    def found(self, positions: Tensor) -> tuple[Split, Tensor]:
        """A split in memory that holds the examples at `positions` `(B,)`, and their places in it."""
        own = torch.searchsorted(self.starts, positions, right=True) - 1
        needed = {now for now, _ in self._wanted.values()}
        for window in list(self._held):
            if window in needed or self._is_there(window):
                held = self._held[window].result()
                shift = held.shift[own]
                if bool((shift >= 0).all()):
                    self._forget({window, *(one for both in self._wanted.values() for one in both)})
                    return held.split, positions - self.starts[own] + shift
        return self._gathered(positions, own), torch.arange(len(positions))

    def _is_there(self, window: Window) -> bool:
        """Whether it was read and is whole: a row that cannot be is told of when its window is needed, not before."""
        return self._held[window].done() and self._held[window].exception() is None

    def _forget(self, kept: set[Window]) -> None:
        for window in [window for window in self._held if window not in kept]:
            del self._held[window]

    def _gathered(self, positions: Tensor, own: Tensor) -> Split:
        """Examples from several windows or none: block by block, from memory where one is there."""
        pieces, places = [], []
        for block in own.unique().tolist():
            here = (own == block).nonzero()[:, 0]
            inside = positions[here] - self.starts[block]
            window = next((window for window in self._held if block in window), None)
            if window is None:
                pieces.append(self.block(block).rows(inside))
            else:
                held = self._held[window].result()
                pieces.append(held.split.rows(inside + held.shift[block]))
            places.append(here)
        return joined(pieces, len(positions)).rows(torch.cat(places).argsort())


@dataclass(frozen=True)
class Streamed(Split):
    """A split whose N examples lie on disk. A batch is had as from any `Split`; its tensors tell only their shapes.

    x, index: `(N, *event)` and `(N,)` on the device "meta", without values.
    log_jacobian: Of the rows that the schema was understood from: its mean is that of all rows where no value is
        missing and none is a spike, else an estimate of it. It shifts the history's training bound, and nothing else.
    """

    reader: Reader = field(kw_only=True)
    sample: Split = field(kw_only=True)
    device: torch.device | str = "cpu"

    @staticmethod
    def of(reader: Reader, sample: Split) -> "Streamed":
        """All rows of the reader's groups, which look like those of `sample`."""
        rows = reader.blocks.starts[-1]
        return Streamed(
            x=torch.empty((rows, *sample.x.shape[1:]), dtype=sample.x.dtype, device="meta"),
            index=torch.empty(rows, dtype=torch.int64, device="meta"),
            log_jacobian=sample.log_jacobian,
            divisor=sample.divisor,
            dynamic=sample.dynamic,
            reader=reader,
            sample=sample,
        )

    @property
    def blocks(self) -> Blocks:
        """The row groups, for one order to walk through; asked for again, for another order beside it."""
        return self.reader.followed()

    def resident(self) -> Split:
        """The training rows that the schema was understood from."""
        return self.sample

    def batch(self, positions: Tensor, uniform: Tensor | None = None) -> Batch:
        split, places = self.reader.found(positions.cpu())
        if torch.device(self.device).type == "cpu":
            return split.batch(places, uniform)
        return split.rows(places).to(self.device).batch(torch.arange(len(places), device=self.device), uniform)

    def batches(self, size: int) -> Iterator[Batch]:
        return (self.batch(rows) for rows in torch.arange(len(self)).split(size))

    def rows(self, chosen: Tensor) -> Split:
        """The examples at the `chosen` `(n,)` positions, read into memory."""
        split, places = self.reader.found(chosen.cpu())
        return split.rows(places)

    def place(self, row: int) -> Tensor:
        blocks = self.reader.blocks
        for block, group in enumerate(self.reader.groups):
            found = np.flatnonzero(self.reader.store.index(group) == row)
            if len(found):
                return torch.from_numpy(found) + blocks.starts[block]
        return torch.empty(0, dtype=torch.int64)

    def settled(self, seed: int = 0) -> Split:
        raise self._too_large()

    def thresholded(self) -> Split:
        raise self._too_large()

    def to(self, device: torch.device | str) -> "Streamed":
        return dataclasses.replace(self, device=device)

    def _too_large(self) -> DataError:
        return DataError(
            f"{self.reader.store.name}: the {len(self):,} training rows are streamed and not in memory at once.\n"
            f"  Name the data and an output folder, as in `vael encode RUN DATA -o FOLDER`, or another split."
        )
