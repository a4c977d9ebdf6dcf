"""A folder of pictures, its sub-folders being splits or classes."""

import re
from pathlib import Path

import numpy as np

from vael.data.frame import Frame
from vael.data.reading import Reading
from vael.data.sources.pictures import open_pictures, some
from vael.data.sources.split import SPLIT_WORDS
from vael.errors import DataError

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
LABEL = "label"


def read_folder(folder: Path, reading: Reading) -> Frame:
    """A frame of all pictures in `folder`, in the order of their paths: x `(N, C, H, W)`, bytes.

    Folders train, validation (or valid, val) and test are the split; what lies between them and a file is its label.
    Hidden files are passed over; other files that are no pictures are counted in the notes.
    Raises DataError where there are no pictures, damaged ones, some outside the split's folders, or several sizes.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not _hidden(path.relative_to(folder)))
    pictures = [path for path in files if path.suffix.lower() in PICTURES]
    if not pictures:
        raise _no_pictures(folder, files)
    names = [path.relative_to(folder).as_posix() for path in pictures]
    split, labels = _places(names, folder.name)
    x, notes = open_pictures(
        dict(zip(names, pictures, strict=True)), folder.name, size=reading.resize, known=reading.picture
    )
    others = [path.name for path in files if path.suffix.lower() not in PICTURES]
    if others:
        notes = (*notes, f"left out, being no pictures: {some(others)}")
    columns = {"x": x, **({LABEL: np.asarray(labels, dtype=object)} if any(labels) else {})}
    return Frame(folder.name, columns, labels=(LABEL,) if any(labels) else (), split=split, notes=notes)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _places(names: list[str], source: str) -> tuple[np.ndarray[tuple[int], np.dtype[np.str_]] | None, list[str | None]]:
    """Split and label of each file, read off its path: `train/cat/1.png`, `cat/1.png`, `1.png`."""
    parts = [name.split("/")[:-1] for name in names]
    splits = [SPLIT_WORDS.get(folders[0].lower(), "") if folders else "" for folders in parts]
    outside = [name for name, split in zip(names, splits, strict=True) if not split]
    if outside and len(outside) < len(names):
        there = sorted({folders[0] for folders, split in zip(parts, splits, strict=True) if split})
        raise DataError(
            f"{source}: the pictures in {' and '.join(there)} are a split, and {len(outside)} lie outside it: "
            f"{some(outside)}.\n  Move them into one of train, validation and test, or give those folders other names."
        )
    labels = ["/".join(folders[bool(split) :]) or None for folders, split in zip(parts, splits, strict=True)]
    return (None if outside else np.asarray(splits, dtype="<U10")), labels


def _no_pictures(folder: Path, files: list[Path]) -> DataError:
    held = some([path.relative_to(folder).as_posix() for path in files])
    return DataError(
        f"{folder}: a folder without pictures ({', '.join(re.sub('^.', '', suffix) for suffix in PICTURES)}); "
        + (f"it holds {held}.\n  Name one of these files instead." if held else "it is empty.")
    )
