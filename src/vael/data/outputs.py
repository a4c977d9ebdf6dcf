"""What people get back: tables and arrays in the format the file's name asks for, and sheets of pictures."""

import csv
import gzip
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vael import files
from vael.data.schema import Schema
from vael.errors import RecipeError, ShapeError

Column = NDArray[np.generic]

PICTURE_SIDE = 48  # pixels that the longer side of a picture has on a sheet, at least
GUTTER = 2
BETWEEN = 96  # the grey of the gutters: neither ink nor paper


def write_columns(path: Path, columns: Mapping[str, Column], schema: Schema) -> None:
    """Write `columns`, each `(N, *shape)`, to `path` in one step, in the format its suffix names.

    .csv, .csv.gz and .parquet hold a table; a field of several numbers is spread over columns x0, x1, …; missing
    values are empty. .npz holds the arrays by name, .npy a single one. A column that `schema` knows to hold whole
    numbers is written as such.

    Raises RecipeError on another suffix, on several arrays for one .npy, and on columns of unequal length.
    """
    writer = next((WRITERS[suffix] for suffix in WRITERS if path.name.lower().endswith(suffix)), None)
    if writer is None:
        raise RecipeError(
            f"{path.name}: no format is known by that ending. There are: {', '.join(WRITERS)}.\n"
            f"  Rename the output file."
        )
    rows = {name: len(column) for name, column in columns.items()}
    if len(set(rows.values())) > 1:
        raise RecipeError(f"{path.name}: columns of unequal length ({rows}) are no table.")
    files.write_bytes(path, writer({name: _own_type(name, column, schema) for name, column in columns.items()}))


def _own_type(name: str, column: Column, schema: Schema) -> Column:
    """Whole numbers kept in floats only because some were missing, as integers, when none is missing here."""
    field = next((field for field in schema if field.name == name), None)
    if field is None or column.dtype.kind != "f" or not field.resolution or not field.resolution.is_integer():
        return column
    return column.astype(np.int64) if np.isfinite(column).all() and (column == np.rint(column)).all() else column


def spread(columns: Mapping[str, Column]) -> dict[str, Column]:
    """Table columns `(N,)`: a field of several numbers becomes one column for each."""
    flat: dict[str, Column] = {}
    for name, column in columns.items():
        if column.ndim == 1:
            flat[name] = column
        else:
            rows = column.reshape(len(column), -1)
            flat |= {f"{name}{i}": rows[:, i] for i in range(rows.shape[1])}
    return flat


def _csv(columns: Mapping[str, Column]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    flat = spread(columns)
    writer.writerow(flat)
    writer.writerows(zip(*(_words(column) for column in flat.values()), strict=True))
    return text.getvalue().encode()


def _words(column: Column) -> list[Any]:
    """Cells of a CSV column: the shortest text that reads back as the same number, empty where missing."""
    if column.dtype.kind == "f":
        # Whole floats beside missing values go without ".0": they are whole numbers in the user's file.
        whole = bool((column == np.rint(column))[~np.isnan(column)].all()) and bool(np.isnan(column).any())
        cells = column.tolist() if column.dtype.itemsize == 8 else [float(str(value)) for value in column]
        small = whole and bool((np.abs(column[~np.isnan(column)]) < 2**53).all())
        return ["" if cell != cell else int(cell) if small else cell for cell in cells]
    return ["" if cell is None or cell != cell else cell for cell in column.tolist()]


def _csv_gz(columns: Mapping[str, Column]) -> bytes:
    return gzip.compress(_csv(columns), mtime=0)  # no clock in the file: equal data, equal bytes


def _parquet(columns: Mapping[str, Column]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    held = io.BytesIO()
    table = {name: pyarrow.array(column, from_pandas=True) for name, column in spread(columns).items()}
    parquet.write_table(pyarrow.table(table), held)
    return held.getvalue()


def _npz(columns: Mapping[str, Column]) -> bytes:
    held = io.BytesIO()
    arrays: dict[str, Any] = {name: _without_objects(column) for name, column in columns.items()}
    np.savez_compressed(held, **arrays)
    return held.getvalue()


def _npy(columns: Mapping[str, Column]) -> bytes:
    if len(columns) != 1:
        raise RecipeError(
            f"a .npy file holds a single array, there are {len(columns)}: {', '.join(columns)}.\n"
            f"  Give the output file the ending .npz, or .csv for a table."
        )
    held = io.BytesIO()
    np.save(held, _without_objects(next(iter(columns.values()))), allow_pickle=False)
    return held.getvalue()


def _without_objects(column: Column) -> Column:
    """Texts as fixed-width text with "" for missing: an array file must hold no Python objects."""
    if column.dtype.kind != "O":
        return column
    return np.asarray(["" if value is None else str(value) for value in column.ravel()]).reshape(column.shape)


WRITERS: dict[str, Callable[[Mapping[str, Column]], bytes]] = {
    ".csv": _csv,
    ".csv.gz": _csv_gz,
    ".parquet": _parquet,
    ".npz": _npz,
    ".npy": _npy,
}


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────


def is_picture(schema: Schema) -> bool:
    """Whether an example can be drawn: one array of one or three channels."""
    return not schema.is_table and len(schema.event_shape) == 3 and schema.event_shape[0] in (1, 3)


def grey_levels(schema: Schema) -> int:
    """How many grey values a picture has as `decode` gives it back."""
    field = schema.modelled[0]
    return 2 if field.kind in ("binary", "unit") or field.view == "binary" else max(field.levels, 2)


def picture_sheet(
    images: NDArray[Any],
    levels: int,
    columns: int | None = None,
    pairs: NDArray[Any] | None = None,
    *,
    apart: Sequence[int] = (),
    clear: bool = False,
) -> bytes:
    """A PNG with all pictures on one near-square sheet, small ones enlarged by a whole factor.

    images: Grey values 0 … levels − 1, `(N, H, W)` or `(N, C, H, W)` with C of 1, or 3 for colour. Values outside
        are clipped, never wrapped: white above the range, black below.
    columns: Pictures (or pairs) in a row; chosen for a square sheet if None.
    pairs: A second picture for each, such as its reconstruction, set to its right; shape of `images`.
    apart: Columns, counted from 0, that stand further from the one before.
    clear: Gutters are transparent, for a page that has a colour of its own.

    Raises ShapeError when these are no pictures, or not as many of one kind as of the other.
    """
    tiles = _tiles(images, levels)  # (N, H, W, 1 or 3)
    if pairs is not None:
        if np.shape(pairs) != np.shape(images):
            raise ShapeError(
                f"picture_sheet: pairs have shape {np.shape(pairs)}, expected {np.shape(images)} as the images have."
            )
        seam = np.full((*tiles.shape[:2], 1, tiles.shape[3]), BETWEEN, np.uint8)
        tiles = np.concatenate([tiles, seam, _tiles(pairs, levels)], axis=2)
    return _png(_sheet(tiles, columns, apart, clear))


def _tiles(images: NDArray[Any], levels: int) -> NDArray[np.uint8]:
    """Enlarged 8-bit pictures, channel last."""
    pictures = np.asarray(images)
    if pictures.ndim == 3:
        pictures = pictures[:, None]
    if pictures.ndim != 4 or pictures.shape[1] not in (1, 3) or 0 in pictures.shape:
        raise ShapeError(
            f"picture_sheet: pictures have shape {np.shape(images)}, expected (N, H, W) or (N, C, H, W) with 1 or 3 "
            f"channels."
        )
    if levels < 2:
        raise ShapeError(f"picture_sheet: levels must be at least 2, got {levels}.")
    grey = np.clip(np.nan_to_num(pictures.astype(np.float64)), 0, levels - 1) * (255 / (levels - 1))
    bytes_ = np.rint(grey).astype(np.uint8).transpose(0, 2, 3, 1)
    factor = math.ceil(PICTURE_SIDE / max(bytes_.shape[1:3])) if max(bytes_.shape[1:3]) < PICTURE_SIDE else 1
    return bytes_.repeat(factor, axis=1).repeat(factor, axis=2)


def _sheet(tiles: NDArray[np.uint8], columns: int | None, apart: Sequence[int], clear: bool) -> NDArray[np.uint8]:
    """The tiles row by row with gutters between them and around, `(height, width, channels)`, alpha last if clear."""
    number, height, width, channels = tiles.shape
    across = min(columns or math.ceil(math.sqrt(number * height / width)), number)
    down = math.ceil(number / across)
    shift = [GUTTER + j * (width + GUTTER) + 3 * GUTTER * sum(i <= j for i in apart) for j in range(across)]
    size = (GUTTER + down * (height + GUTTER), shift[-1] + width + GUTTER)
    sheet = np.full((*size, channels + clear), 0 if clear else BETWEEN, np.uint8)
    for i, tile in enumerate(tiles):
        top, left = GUTTER + (i // across) * (height + GUTTER), shift[i % across]
        sheet[top : top + height, left : left + width, :channels] = tile
        sheet[top : top + height, left : left + width, channels:] = 255
    return sheet


def _png(sheet: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    held = io.BytesIO()
    Image.fromarray(sheet[:, :, 0] if sheet.shape[2] == 1 else sheet).save(held, "PNG", optimize=True)
    return held.getvalue()
