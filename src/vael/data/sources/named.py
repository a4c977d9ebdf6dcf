"""Data known by a bare name: files in the folder that the environment variable VAEL_DATA names."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from vael.errors import DataError

FILES = (".npz", ".csv.gz", ".csv", ".parquet", ".npy")
# What the file of a well-known name should hold, for those who have yet to fetch it.
KNOWN = {
    "mnist": "mnist.npz with arrays x_train, y_train, x_test and y_test",
    "fashion_mnist": "fashion_mnist.npz with arrays x_train, y_train, x_test and y_test",
    "omniglot": "omniglot.npz with arrays x_train and x_test",
    "frey_faces": "frey_faces.npz with an array x",
    "cifar10": "cifar10.npz with arrays x_train, y_train, x_test and y_test",
    "adult": "adult.csv.gz with a header line",
}


def find_named(name: str, builtin: Sequence[str]) -> Path:
    """The file of a bare name in the folder VAEL_DATA; DataError saying which file to put where."""
    folder = Path(os.environ["VAEL_DATA"]).expanduser() if os.environ.get("VAEL_DATA") else None
    if folder is not None:
        for suffix in FILES:
            if (folder / f"{name}{suffix}").is_file():
                return (folder / f"{name}{suffix}").resolve()
    wanted = KNOWN.get(name, f"{name}.npz or {name}.csv.gz")
    there = (
        sorted({file.name.split(".")[0] for file in folder.glob("*") if file.name.endswith(FILES)}) if folder else []
    )
    where = f"no such file in {folder}" if folder else "VAEL_DATA is not set"
    put = f"there, in {folder}," if folder else "in a folder, set the environment variable VAEL_DATA to it,"
    near = difflib.get_close_matches(name, [*builtin, *there], 1)
    raise DataError(
        f"{name}: not built in ({', '.join(builtin)}), and {where}."
        + (f" Did you mean {near[0]!r}?" if near else "")
        + f"\n  Put {wanted} {put} or give the path of a file."
        + (f" The folder has: {', '.join(there)}." if there else "")
    )
