"""Text tables: .csv and .tsv, gzipped or not. Every column is read as text first, so that its type is our ruling."""

import csv
import gzip
import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vael.data.frame import Frame
from vael.data.reading import Reading
from vael.errors import DataError

Column = NDArray[np.generic]

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "?")
BOOLEANS = ({"True", "False"}, {"true", "false"}, {"TRUE", "FALSE"})
NEARLY_ALL = 0.9  # a column of which this share of the values are numbers was meant to be one


def read_csv(path: Path, reading: Reading) -> Frame:
    """A frame of a text table with a header line; rows are counted from 1 below it.

    `reading` tells further texts that mark a missing value, beside `MISSING`, and which columns are text. A first
    line of nothing but numbers is no header: the columns are then x0, x1, … The separator is the comma, semicolon or
    tab that the first line holds most of.

    Raises DataError on an empty, damaged or ragged file, and on a column of numbers with a text in it.
    """
    content = content_of(path)
    separator, header = _header(content, path.name)
    names = [f"x{i}" for i in range(len(header))] if _all_numbers(header) else _names(header, path.name)
    table = _table(content, separator, names, path.name, header_row=not _all_numbers(header))
    marks = (*MISSING, *(mark.strip() for mark in reading.marks))
    text = reading.text
    columns, met = {}, {}
    for name in names:
        columns[name], met[name] = _typed(table[name], marks, f"{path.name}, column {name!r}", name, name in text)
    return Frame(path.name, columns, marks={name: words for name, words in met.items() if words})


# ── from bytes to columns of text ────────────────────────────────────────────────────────────────────────────


def content_of(path: Path) -> bytes:
    """The bytes of a text file, unpacked; DataError when it is empty, damaged, or no text."""
    raw = path.read_bytes()
    try:
        content = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path.name}: damaged, no whole gzip file ({len(raw)} bytes; {error}).\n  Fetch or pack the file again."
        ) from error
    if not content.strip():
        raise DataError(f"{path.name}: the file is empty, 0 rows.\n  Give a table with a header line and rows.")
    if b"\0" in content[:4096]:
        raise DataError(f"{path.name}: holds bytes that are no text.\n  Save it as comma-separated text in UTF-8.")
    return content


def _header(content: bytes, source: str) -> tuple[str, list[str]]:
    """The separator, and the cells of the first line that is not empty."""
    text = io.StringIO(content[: 1 << 20].decode("utf-8-sig", "replace").lstrip("\r\n"), newline="")
    line = text.readline()
    text.seek(0)
    separator = max(",;\t", key=line.count)
    try:
        return separator, [cell.strip() for cell in next(csv.reader(text, delimiter=separator))]
    except (csv.Error, StopIteration) as error:
        raise DataError(f"{source}: the header line cannot be read ({error}).\n  Give each column a name.") from error


def _all_numbers(cells: Sequence[str]) -> bool:
    """Whether a first line is data: numbers only, and not just the column numbers 0, 1, 2, …"""
    return all(_number(cell) is not None for cell in cells) and list(cells) != [str(i) for i in range(len(cells))]


def _names(header: Sequence[str], source: str) -> list[str]:
    # The nameless first column is the row index that pandas writes.
    names = [name or ("index" if i == 0 else f"column{i + 1}") for i, name in enumerate(header)]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise DataError(f"{source}: two columns are named {twice!r}.\n  Give each column a name of its own.")
    return names


def _table(content: bytes, separator: str, names: Sequence[str], source: str, *, header_row: bool) -> Any:
    """The table as texts; DataError naming the first row with a wrong number of values."""
    import pyarrow
    from pyarrow import csv as arrow

    torn: list[Any] = []

    def set_aside(row: Any) -> str:
        torn.append(row)
        return "skip"

    try:
        table = arrow.read_csv(
            io.BytesIO(content),
            # One thread: with several, a bad row does not know its number.
            arrow.ReadOptions(use_threads=False, column_names=names, block_size=max(1 << 20, len(content) + 1)),
            arrow.ParseOptions(
                delimiter=separator,
                newlines_in_values=True,
                invalid_row_handler=set_aside,
            ),
            arrow.ConvertOptions(column_types=dict.fromkeys(names, pyarrow.string()), strings_can_be_null=False),
        )
    except pyarrow.ArrowInvalid as error:
        reason = "it is not UTF-8 text" if "UTF8" in str(error) else str(error)
        raise DataError(f"{source}: cannot be read as a table ({reason}).\n  Save it as CSV in UTF-8.") from error
    last = names[-1]
    if content.count(b'"') % 2 and any(
        "\n" in value for value in table[last].slice(max(0, len(table) - 1)).to_pylist()
    ):
        raise DataError(
            f"{source}, row {len(table) - header_row}: a quote is opened and never closed.\n  Close or remove it."
        )
    if torn:
        row = torn[0].number - header_row
        raise DataError(
            f"{source}, row {row}: {torn[0].actual_columns} values, expected {len(names)} as in the first line.\n"
            f"  Correct the row; put quotes around a value that holds a {separator!r}."
        )
    return table.slice(1) if header_row else table


# ── from texts to values ─────────────────────────────────────────────────────────────────────────────────────


def _typed(column: Any, missing: Sequence[str], place: str, name: str, as_text: bool) -> tuple[Column, tuple[str, ...]]:
    """The column as numbers, booleans or texts, and the marks of missing values that it holds.

    The work is done on the distinct texts: most columns repeat themselves.
    """
    from pyarrow import compute

    coded = compute.dictionary_encode(compute.utf8_trim_whitespace(column.combine_chunks()))
    if not hasattr(coded, "indices"):
        coded = coded.combine_chunks()
    words, codes = coded.dictionary.to_numpy(zero_copy_only=False), coded.indices.to_numpy()
    absent = np.isin(words.astype(str), missing) if len(words) else np.zeros(0, bool)
    met = tuple(str(word) for word in words[absent])
    values = None if as_text else _values(words, absent, codes, place, name)
    if values is None:
        values = words.astype(object)
        values[absent] = None
    return values[codes], met


def _values(words: Column, absent: NDArray[np.bool_], codes: Column, place: str, name: str) -> Column | None:
    """A number or boolean for each distinct text, NaN for the absent ones; None when the column is text."""
    import pyarrow
    from pyarrow import compute

    there = pyarrow.array(words[~absent], pyarrow.string())
    if not absent.any() and any(set(words) <= pair for pair in BOOLEANS) and len(words):
        return np.asarray([word.lower() == "true" for word in words.tolist()])
    if _are_codes(there):
        return None
    try:
        found = compute.cast(there, pyarrow.float64()).to_numpy(zero_copy_only=False)
    except pyarrow.ArrowInvalid:
        _refuse_strays(words, absent, codes, place, name)
        return None
    if absent.any():
        values = np.full(len(words), np.nan)
        values[~absent] = found
        return values
    try:
        return np.asarray(compute.cast(there, pyarrow.int64()).to_numpy(zero_copy_only=False))
    except pyarrow.ArrowInvalid:
        return np.asarray(found)


def _are_codes(words: Any) -> bool:
    """Whether these are digits of one width, some with a leading zero: postcodes and the like, which are names."""
    from pyarrow import compute

    widths = compute.min_max(compute.utf8_length(words)).as_py()
    if not len(words) or widths["min"] != widths["max"] or widths["max"] < 2:
        return False
    digits = compute.all(compute.utf8_is_digit(words)).as_py()
    return bool(digits and compute.any(compute.starts_with(words, "0")).as_py())


def _refuse_strays(words: Column, absent: NDArray[np.bool_], codes: Column, place: str, name: str) -> None:
    """Raise DataError when a few texts stand among numbers; return for a column of texts."""
    stray = np.asarray([_number(word) is None for word in words.tolist()]) & ~absent
    rows = np.bincount(codes.astype(np.int64), minlength=len(words))
    if rows[stray].sum() > (1 - NEARLY_ALL) * rows[~absent].sum():
        return
    row = int(np.flatnonzero(stray[codes])[0])
    word = words[codes[row]]
    raise DataError(
        f"{place}, row {row + 1}: {word!r} is not a number.\n"
        f"  If it marks a missing value, say so: --missing {word}. If the column holds names: --column {name}=category."
    )


def _number(text: str) -> float | None:
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None
