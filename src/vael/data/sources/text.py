"""Text in lines: one row per line."""

from pathlib import Path

import numpy as np

from vael.data.frame import Frame
from vael.data.reading import Reading
from vael.data.sources.csv import content_of
from vael.errors import DataError

COLUMN = "text"


def read_text(path: Path, _: Reading) -> Frame:
    """A frame with one column of text, a row for each line that is not blank.

    Raises DataError when the file is empty or no UTF-8 text.
    """
    try:
        lines = content_of(path).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name}: is not UTF-8 text ({error}).\n  Save it as text in UTF-8.") from error
    kept = [line for line in lines if line.strip()]
    blank = len(lines) - len(kept) - (not lines[-1])  # what follows the last line's end is no line
    return Frame(
        path.name,
        {COLUMN: np.asarray(kept, dtype=object)},
        kinds={COLUMN: ("id", "lines of text; there is no likelihood of sequences yet")},
        notes=(f"left out {blank} blank line{'s' * (blank > 1)}",) if blank else (),
    )
