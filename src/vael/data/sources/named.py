"""Data known by a bare name: files in the folder VAEL_DATA, in the cache, or to be downloaded."""

import difflib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from vael.data.sources.download import DOWNLOADS, cache_folder, download
from vael.errors import DataError

FILES = (".npz", ".csv.gz", ".csv", ".parquet", ".feather", ".npy")
FOUR = "arrays x_train, y_train, x_test and y_test"
# What the file of a well-known name should hold, for those who have yet to fetch it.
KNOWN = {
    "mnist": f"mnist.npz with {FOUR}",
    "fashion_mnist": f"fashion_mnist.npz with {FOUR}",
    "omniglot28": "omniglot28.npz with arrays x_train and x_test",
    "frey_faces": "frey_faces.npz with an array x",
    "cifar10": f"cifar10.npz with {FOUR}",
    "cifar10_small": f"cifar10_small.npz with {FOUR}",
    "adult": "adult.csv.gz with a header line",
}


def data_folder() -> Path | None:
    """The folder that the environment variable VAEL_DATA names, if it is set."""
    return Path(os.environ["VAEL_DATA"]).expanduser() if os.environ.get("VAEL_DATA") else None


def _folders() -> Iterator[Path]:
    folder = data_folder()
    if folder is not None:
        yield folder
    yield cache_folder()  # asked for last: finding the system's own imports half of a network library


def find_named(name: str, builtin: Sequence[str]) -> Path:
    """The file of a bare name in VAEL_DATA, else in the cache, else downloaded into it; or a folder of that name.

    Raises DataError saying which file to put where.
    """
    for folder in _folders():
        for suffix in FILES:
            if (folder / f"{name}{suffix}").is_file():
                return (folder / f"{name}{suffix}").resolve()
    if name not in DOWNLOADS:
        places = [path for path in (*(folder / name for folder in _folders()), Path(name)) if path.is_dir()]
        if not places:
            raise DataError(_nowhere(name, builtin))
        return places[0].resolve()
    try:
        return download(name)
    except DataError as error:
        raise DataError(f"{name}: {_absent()}, and it could not be downloaded: {error}\n  {_put(name)}") from error


def _nowhere(name: str, builtin: Sequence[str]) -> str:
    folder = data_folder()
    there = (
        sorted({file.name.split(".")[0] for file in folder.glob("*") if file.name.endswith(FILES)}) if folder else []
    )
    near = difflib.get_close_matches(name, [*builtin, *there, *KNOWN], 1)
    return (
        f"{name}: not built in ({', '.join(builtin)}); {_absent()}."
        + (f" Did you mean {near[0]!r}?" if near and near[0] != name else "")
        + f"\n  {_put(name)}"
        + (f" VAEL_DATA has: {', '.join(there)}." if there else "")
    )


def _absent() -> str:
    folder = data_folder()
    cache = f"the cache ({cache_folder()})"
    return (
        f"VAEL_DATA is not set, {cache} has no such file"
        if folder is None
        else (f"there is no such file in VAEL_DATA ({folder}) or in {cache}")
    )


def _put(name: str) -> str:
    """What to do for a set that is nowhere; and that a path is another way to say it."""
    wanted = KNOWN.get(name, f"{name}.npz or {name}.csv.gz")
    here = f" For the folder of that name here, say ./{name}." if Path(name).is_dir() else ""
    return f"Put {wanted} into {data_folder() or cache_folder()}, or give the path of a file.{here}"
