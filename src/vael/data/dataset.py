"""Splits of a data set as resident tensors: what training gathers from and evaluation walks through."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vael.data.batch import Batch
from vael.data.blocks import Blocks
from vael.data.frame import Frame
from vael.data.given import encode_given, fitted, part_weight
from vael.data.schema import Field, Schema
from vael.data.splits import split_rows
from vael.data.transforms import fit_view, log_jacobian, to_model, to_user
from vael.errors import DataError, ShapeError
from vael.noise import stream

HELD = ("x", "index", "log_jacobian", "observed", "label", "given")  # what a split holds of each example


@dataclass(frozen=True)
class Split:
    """N examples held in memory in a compact type: grey values stay bytes until a batch asks for them.

    x: `(N, *event)`, uint8 or float32; a batch's x is `x / divisor`, or a draw of 0/1 with that probability
        where `dynamic`.
    observed: `(N, F)` booleans, or None when nothing is missing.
    label: `(N,)` int64 codes, −1 where unknown, or None.
    given: `(N, C)` what each is conditioned on, or None.
    part: `(F,)` weights of the numbers of x that are given too, and not scored, 0 for the rest; or None.
    index: `(N,)` int64, each example's row in its source.
    log_jacobian: `(N,)` float64 nats to add to a log-density of x to make it one of the user's own values.
    """

    x: Tensor
    index: Tensor
    log_jacobian: Tensor
    observed: Tensor | None = None
    label: Tensor | None = None
    given: Tensor | None = None
    part: Tensor | None = None
    divisor: float = 1.0
    dynamic: bool = False

    def __len__(self) -> int:
        return len(self.x)

    @property
    def blocks(self) -> Blocks | None:
        """The pieces that the rows come in, where they come from the disk; None for rows in memory."""
        return None

    def resident(self) -> "Split":
        """Examples in memory: these, or where they are on disk a bounded number of them."""
        return self

    def place(self, row: int) -> Tensor:
        """Where the example of that row of the source, counted from 0, stands: `(1,)`, or `(0,)` if it is not here."""
        return (self.index == row).nonzero()[:1, 0]

    def rows(self, chosen: Tensor) -> "Split":
        """The split with only the `chosen` `(n,)` positions."""
        pick: dict[str, Any] = {name: None if (held := getattr(self, name)) is None else held[chosen] for name in HELD}
        return dataclasses.replace(self, **pick)

    @staticmethod
    def join(pieces: Sequence["Split"]) -> "Split":
        """Pieces of one data set, one after the other."""
        whole: dict[str, Any] = {
            name: None if getattr(pieces[0], name) is None else torch.cat([getattr(piece, name) for piece in pieces])
            for name in HELD
        }
        return dataclasses.replace(pieces[0], **whole)

    def batch(self, positions: Tensor, uniform: Tensor | None = None) -> Batch:
        """The examples at `positions` `(B,)`. `uniform` `(B, *event)` in [0, 1) binarises a dynamic split."""
        return self._batch(lambda held: held.index_select(0, positions), uniform)

    def batches(self, size: int) -> Iterator[Batch]:
        """All examples in order, in batches of at most `size`, without a copy of what is no byte."""
        for first in range(0, len(self), size):
            yield self._batch(lambda held, rows=slice(first, first + size): held[rows])  # type: ignore[misc]

    def _batch(self, of: Callable[[Tensor], Tensor], uniform: Tensor | None = None) -> Batch:
        x = of(self.x)
        if self.dynamic:
            if uniform is None:
                raise ValueError("Split.batch: a dynamically binarised split needs `uniform`; see Split.settled.")
            seen = (uniform * self.divisor < x).to(uniform.dtype)
        else:
            # A cast and a product in place are both vectorised; a product that promotes on the way takes twice as long.
            seen = x if x.dtype != torch.uint8 else x.to(torch.get_default_dtype()).mul_(1.0 / self.divisor)
        observed = None if self.observed is None else of(self.observed)
        given = None if self.given is None else of(self.given)
        if self.part is not None:
            flat = seen.flatten(1)
            pixels = flat * self.part
            given = pixels if given is None else torch.cat([given, pixels], -1)
            observed = (self.part == 0).expand(flat.shape)
        return Batch(
            x=seen,
            observed=observed,
            given=given,
            label=None if self.label is None else of(self.label),
            index=of(self.index),
        )

    def told(self, count: int | None = None) -> Tensor | None:
        """What its examples are conditioned on, `(N, C)`, or of the first `count`, in turn where there are fewer.

        None for a split that nothing is given of. Grey values of a dynamic one are cut at one half.
        """
        if self.given is None and self.part is None:
            return None
        some = self.thresholded() if count is None else self.rows(torch.arange(count) % len(self)).thresholded()
        pieces = [batch.given for batch in some.batches(1024)]
        return torch.cat([piece for piece in pieces if piece is not None])

    def settled(self, seed: int = 0) -> "Split":
        """The split with dynamic binarisation drawn once, by (seed, row): the same pixels for every model."""
        if not self.dynamic:
            return self
        drawn = torch.stack(
            [
                torch.rand(grey.shape, generator=stream(seed, int(row), purpose="binarise")) * self.divisor < grey
                for grey, row in zip(self.x, self.index, strict=True)
            ]
        )
        return dataclasses.replace(self, x=drawn.to(torch.uint8), divisor=1.0, dynamic=False)

    def thresholded(self) -> "Split":
        """The split with grey values above one half set to 1: deterministic, and the same in any row order."""
        if not self.dynamic:
            return self
        return dataclasses.replace(self, x=(self.x > self.divisor / 2).to(torch.uint8), divisor=1.0, dynamic=False)

    def to(self, device: torch.device | str) -> "Split":
        """The split with its tensors on `device`."""
        held: dict[str, Any] = {spec.name: getattr(self, spec.name) for spec in dataclasses.fields(self)}
        moved = [name for name, value in held.items() if isinstance(value, Tensor) and name != "log_jacobian"]
        return dataclasses.replace(self, **{name: held[name].to(device) for name in moved})


@dataclass(frozen=True)
class Data:
    """A data set understood: its schema, its splits, and a fingerprint to recognise it by.

    schema: With every view fitted on the training rows alone.
    splits: "train", "validation" and "test"; the last two may be empty.
    notes: What was left out or changed in reading, a sentence each.
    """

    name: str
    origin: str | None
    schema: Schema
    splits: dict[str, Split]
    fingerprint: str
    notes: tuple[str, ...] = ()

    def split(self, name: str) -> Split:
        """The split called `name`. Raises DataError when it is empty or unknown."""
        if name not in self.splits:
            raise DataError(f"{self.name}: no split called {name!r}. There are: {', '.join(self.splits)}.")
        if not len(self.splits[name]):
            raise DataError(
                f"{self.name}: the {name} split has 0 rows of {sum(map(len, self.splits.values()))}.\n"
                f"  Choose another split, or fit with `--split {name}=0.1`."
            )
        return self.splits[name]


def source_rows(splits: Sequence[Split], numbers: Sequence[int]) -> Split:
    """The examples in rows `numbers` of their source, counted from 1, in that order, whichever split holds them.

    Raises DataError for a row that is not there.
    """
    found = []
    for number in numbers:
        held = [(split, split.place(number - 1)) for split in splits]
        pieces = [split.rows(place) for split, place in held if len(place)]
        if not pieces:
            rows = sum(map(len, splits))
            raise DataError(f"row {number}: is not there; the data have {rows} rows, counted from 1.")
        found.append(pieces[0])
    return Split.join(found)


def fingerprint(frame: Frame) -> str:
    """SHA-256 over names, types and values of every column, in order."""
    digest = hashlib.sha256()
    if frame.split is not None:
        digest.update("\x1f".join(frame.split).encode())
    for name, column in frame.columns.items():
        digest.update(f"{name}|{column.dtype}|{column.shape}|".encode())
        content = (
            "\x1f".join(map(str, column)).encode() if column.dtype == object else np.ascontiguousarray(column).data
        )
        digest.update(content)
    return digest.hexdigest()


def prepare(frame: Frame, schema: Schema, *, fractions: Mapping[str, float] | None = None, seed: int = 0) -> Data:
    """Split the rows, fit the views on the training rows, and make every split a tensor.

    Raises DataError when no row or no field is left to model.
    """
    if not schema.modelled:
        raise nothing_to_model(frame, schema)
    rows = split_rows(len(frame), given=frame.split, fractions=fractions or {}, seed=seed)
    if not len(rows["train"]):
        raise DataError(
            f"{frame.name}: 0 rows to train on, of {len(frame)}.\n"
            f"  Mark some rows train, or give --split smaller shares."
        )
    schema = fit_views(schema, frame.columns, rows["train"])
    whole = encode(frame, schema)
    splits = {name: whole.rows(torch.from_numpy(chosen)) for name, chosen in rows.items()}
    return Data(frame.name, frame.origin, schema, splits, fingerprint(frame), frame.notes)


def fewer_labels(data: Data, count: int, seed: int) -> Data:
    """The data with the labels of `count` training rows alone, as many of each class, chosen by `seed`.

    The label of every other training row is −1, as if unknown; those of other splits are left, to judge by.
    Raises DataError where there is no label with classes, or a class has too few rows.
    """
    train, field = data.splits["train"], data.schema.label
    if train.label is None or field is None or not field.values:
        raise DataError(
            f"{data.name}: labels={count} keeps labels, and there is no column of classes: say --label NAME."
        )
    if count < len(field.values):
        raise DataError(
            f"{data.name}: labels={count} leaves a class of {len(field.values)} without a row.\n  Ask for more."
        )
    generator = stream(seed, purpose="labels")
    order = torch.randperm(len(train), generator=generator)
    kept: list[Tensor] = []
    for code in range(len(field.values)):
        wanted = (count * (code + 1)) // len(field.values) - (count * code) // len(field.values)
        rows = order[train.label[order] == code]
        if len(rows) < wanted:
            raise DataError(
                f"{data.name}: labels={count} asks for {wanted} rows of each class, and {field.values[code]!r} has "
                f"{len(rows)} training rows.\n  Ask for fewer."
            )
        kept.append(rows[:wanted])
    chosen = torch.cat(kept)
    label = torch.full_like(train.label, -1)
    label[chosen] = train.label[chosen]
    return dataclasses.replace(data, splits={**data.splits, "train": dataclasses.replace(train, label=label)})


def fit_views(
    schema: Schema, columns: Mapping[str, NDArray[np.generic]], rows: NDArray[np.int64] | None = None
) -> Schema:
    """The schema with the views of what is modelled fitted on `rows` of the columns, or on all."""
    own = {
        field.name: (fitted if field.role == "given" else fit_view)(
            field, columns[field.name] if rows is None else columns[field.name][rows]
        )
        for field in (*schema.modelled, *schema.given)
    }
    return Schema(tuple(own.get(field.name, field) for field in schema))


def nothing_to_model(frame: Frame, schema: Schema) -> DataError:
    """Why a schema without a modelled field cannot be fitted, and what to say of which column."""
    texts = [field.name for field in schema if field.kind == "id" and field.dtype == "str"]
    if not texts:
        return DataError(
            f"{frame.name}: no field is left to model; each is constant, an id, a label or ignored.\n"
            f"  Name the kind of one, for instance `--column NAME=real`."
        )
    table = " If the file is a table, give it the ending .csv or .tsv." if frame.name.endswith(".txt") else ""
    return DataError(
        f"{frame.name}: no field is left to model; {texts[0]!r} is text that differs from row to row, and there is no "
        f"likelihood of sequences yet.\n"
        f"  If it is one of a few names in each row, say `--column {texts[0]}=category`.{table}"
    )


def encode(frame: Frame, schema: Schema) -> Split:
    """All rows of `frame` as a model fitted under `schema` sees them.

    Raises DataError for a missing column, a value its field cannot take, an infinity, a hole in a picture;
    ShapeError for pictures of another size.
    """
    if not len(frame):
        raise DataError(f"{frame.name}: 0 rows. There is nothing to work on.")
    label = schema.label
    held: dict[str, Any] = {
        "index": torch.arange(len(frame)),
        "label": None if label is None or label.name not in frame.columns else _label(label, frame),
        "given": encode_given(frame, schema),
    }
    if not schema.is_table:
        return _array_split(frame, schema.modelled[0], **held)
    rows = np.stack([_values(frame, field) for field in schema.modelled], axis=1)
    missing = np.isnan(rows)
    # A hole has no density, and a spike is a mass: neither is rescaled. The law knows a spike by float32.
    spikes = np.array([np.nan if field.spike is None else field.seen(field.spike) for field in schema.modelled])
    jacobian = np.where(
        missing | (rows.astype(np.float32) == spikes.astype(np.float32)),
        0.0,
        [log_jacobian(field) for field in schema.modelled],
    ).sum(1)
    # Whether a mask exists is the schema's affair, so that every split of one data set has the same form.
    masked = bool(missing.any()) or any(field.missing for field in schema.modelled)
    return Split(
        x=torch.from_numpy(np.where(missing, 0.0, rows)).to(torch.float32),
        observed=torch.from_numpy(~missing) if masked else None,
        log_jacobian=torch.from_numpy(jacobian),
        **held,
    )


def _column(frame: Frame, field: Field) -> NDArray[np.generic]:
    """The field's own values, every one of which it can take."""
    if field.name not in frame.columns:
        raise DataError(
            f"{frame.name}: no column {field.name!r}, which the model was fitted on. There are: "
            f"{', '.join(list(frame.columns)[:12])}.\n  Give data that hold all of the model's columns."
        )
    column = frame.columns[field.name]
    if column.shape[1:] != field.shape:
        raise ShapeError(
            f"{frame.name}, {field.name!r}: each example has shape {column.shape[1:]}, "
            f"the model was fitted on {field.shape}.\n  Resize or reshape the data, or fit a model of that shape."
        )
    if not field.coded:  # whose values are looked up, and refused, one by one
        _refuse_text(frame, field, column)
        _refuse_impossible(frame, field, column)
    return column


def _values(frame: Frame, field: Field) -> NDArray[np.float64]:
    return to_model(field, _column(frame, field), frame.name, first=frame.first)


def _refuse_text(frame: Frame, field: Field, column: NDArray[np.generic]) -> None:
    if column.dtype == object:
        row = next(i for i, value in enumerate(column) if value is not None)
        raise DataError(
            f"{frame.name}, column {field.name!r}, row {frame.first + row + 1}: {column[row]!r} is not a number, "
            f"and the model was fitted on a {field.kind} column.\n"
            f"  Correct the value, or leave it empty if it is missing."
        )


def _refuse_impossible(frame: Frame, field: Field, column: NDArray[np.generic]) -> None:
    """Support is checked here, once, with row and value; densities do not check it again."""
    least, top = field.limits
    if column.dtype == np.uint8 and column.max() <= top:
        return  # bytes are whole, finite and not negative
    own = column.astype(np.float64)
    wrong = np.isinf(own) | (own < least) | (own > top)
    if field.shape:
        wrong |= np.isnan(own)
    for end in field.excluded:
        wrong |= own == end
    if field.resolution > 0:
        cells = (own - field.offset) / field.resolution
        wrong |= np.isfinite(own) & (np.abs(cells - np.rint(cells)) > 0.01)
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        where = f", position {place[1:]}" if len(place) > 1 else ""
        expected = expectation(field, top)
        raise DataError(
            f"{frame.name}, column {field.name!r}, row {frame.first + place[0] + 1}{where}: {own[place]:g} cannot be; "
            f"expected {expected}.\n"
            f"  Correct the value, or fit a model whose schema allows it."
        )


def expectation(field: Field, top: float) -> str:
    """What the values of a field can be, in words."""
    if field.kind in ("image", "count"):
        return f"whole numbers 0 … {top:g}"
    grid = f" on the grid {field.offset:g} + k · {field.resolution:g}" if field.resolution > 0 else ""
    apart = " but not " + " or ".join(f"{end:g}" for end in field.excluded) if field.excluded else ""
    words = {"unit": f"numbers from 0 to 1{apart}", "positive": "numbers above zero"}
    return words.get(field.kind, "finite numbers") + grid


def _label(field: Field, frame: Frame) -> Tensor | None:
    """Codes of the field's values, −1 for a class unknown to the schema; None for a label that is a quantity."""
    if not field.values:
        return None
    codes = {value: code for code, value in enumerate(field.values)}
    return torch.tensor([codes.get(value, -1) for value in frame.columns[field.name].tolist()])


def _array_split(frame: Frame, field: Field, **held: Any) -> Split:
    held["part"] = part_weight(field)
    scored = int(np.prod(field.shape)) if held["part"] is None else int((held["part"] == 0).sum())
    held["log_jacobian"] = torch.full((len(frame),), log_jacobian(field) * scored, dtype=torch.float64)
    if field.kind not in ("image", "binary") or field.view == "standard":
        values = torch.from_numpy(_values(frame, field)).to(torch.float32)
        return Split(values, **held)
    # Grey values and zeros and ones stay bytes from the source to the batch.
    own = _column(frame, field) if field.kind == "image" else np.rint(_values(frame, field))
    grey = torch.from_numpy(np.array(own, dtype=np.uint8))
    kept = Split(grey, **held, divisor=field.scale)
    if field.view != "binary" or field.kind == "binary":
        return kept
    dynamic = dataclasses.replace(kept, divisor=float(field.levels - 1), dynamic=True)
    if field.binarization == "threshold":
        return dynamic.thresholded()
    return dynamic.settled(seed=0) if field.binarization == "static" else dynamic


def decode(x: Tensor, schema: Schema, *, centres: bool = False) -> dict[str, NDArray[np.generic]]:
    """x `(N, *event)` in the model's units as named columns in the user's, constants put back, order kept.

    centres: x holds centres of p(x|z), so that pictures of zeros and ones are probabilities and stay fractions.
    """
    values = x.detach().cpu().to(torch.float64).numpy()
    place = {field.name: column for column, field in enumerate(schema.modelled)}
    columns: dict[str, NDArray[np.generic]] = {}
    for field in schema:
        if field.modelled and centres and field.shape and "binary" in (field.kind, field.view):
            columns[field.name] = values.astype(np.float32)
        elif field.modelled:
            columns[field.name] = to_user(_seen(field), values[:, place[field.name]] if schema.is_table else values)
        elif field.role == "data" and field.kind == "constant" and field.values:
            columns[field.name] = np.full(len(values), field.values[0])
    return columns


def originals(split: Split, schema: Schema) -> dict[str, NDArray[np.generic]]:
    """The examples of `split` as named columns in the user's units and types, NaN or None where a value is missing.

    Grey values of a dynamically binarised model are cut at one half, as they are before encoding.
    """
    cut = split.thresholded()
    columns = decode(cut.batch(torch.arange(len(cut), device=cut.x.device)).x, schema)
    if split.observed is not None and schema.is_table:
        gone = ~split.observed.cpu().numpy()
        for place, field in enumerate(schema.modelled):
            columns[field.name] = _with_holes(columns[field.name], gone[:, place])
    return columns


def _with_holes(column: NDArray[np.generic], gone: NDArray[np.bool_]) -> NDArray[np.generic]:
    if not gone.any():
        return column
    holed: NDArray[Any] = column.astype(np.float64 if column.dtype.kind in "iuf" else object)
    holed[gone] = None if holed.dtype == object else np.nan
    return holed


def _seen(field: Field) -> Field:
    """A binarised picture comes back as zeros and ones, not as grey values."""
    if field.kind == "image" and field.view == "binary":
        return dataclasses.replace(field, levels=2, scale=1.0, loc=0.0)
    return field


def positions(split: Split, size: int) -> Sequence[Tensor]:
    """The positions 0 … N − 1 in order, in pieces of at most `size`."""
    pieces: Sequence[Tensor] = torch.arange(len(split)).split(size)
    return pieces
