"""A folder of pictures, its sub-folders being splits or classes."""

import re
from dataclasses import dataclass
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
    found = find_pictures(folder)
    paths = {name: folder / name for name in found.names}
    x, notes = open_pictures(paths, folder.name, size=reading.resize, known=reading.picture)
    if found.others:
        notes = (*notes, f"left out, being no pictures: {some(found.others)}")
    labelled = any(found.labels)
    columns = {"x": x, **({LABEL: np.asarray(found.labels, dtype=object)} if labelled else {})}
    return Frame(folder.name, columns, labels=(LABEL,) if labelled else (), split=found.split, notes=notes)


@dataclass(frozen=True)
class Found:
    """The pictures of a folder in the order of their paths, and the `others`, which are none."""

    names: list[str]
    split: np.ndarray[tuple[int], np.dtype[np.str_]] | None
    labels: list[str | None]
    others: list[str]


def find_pictures(folder: Path) -> Found:
    """The pictures in `folder`, none opened. Raises DataError for none, or some outside the split's folders."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not _hidden(path.relative_to(folder)))
    names = [path.relative_to(folder).as_posix() for path in files if path.suffix.lower() in PICTURES]
    if not names:
        raise _no_pictures(folder, files)
    split, labels = _places(names, folder.name)
    return Found(names, split, labels, [path.name for path in files if path.suffix.lower() not in PICTURES])


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
