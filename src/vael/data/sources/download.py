"""Sets with a stable public address: fetched, checked against their published MD5, kept as one .npz in the cache."""

import io
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vael.data.sources.binary import read_cifar, read_idx
from vael.errors import DataError, WriteError
from vael.files import write_bytes

Arrays = dict[str, NDArray[np.uint8]]

TIMEOUT = 10.0  # seconds without a byte


@dataclass(frozen=True)
class Download:
    """Where a set lies, and what it must be.

    url: The address that the files' names follow. files: MD5 of each file as it comes.
    read: Arrays of the contents, by file.
    """

    url: str
    files: Mapping[str, str]
    read: Callable[[Mapping[str, bytes]], Arrays]


def _idx(contents: Mapping[str, bytes]) -> Arrays:
    names = {"x_train": "train-images-idx3", "y_train": "train-labels-idx1", "x_test": "t10k-images-idx3",
             "y_test": "t10k-labels-idx1"}  # fmt: skip
    return {key: read_idx(contents[f"{name}-ubyte.gz"], name) for key, name in names.items()}


def _cifar(contents: Mapping[str, bytes]) -> Arrays:
    return read_cifar(contents["cifar-10-binary.tar.gz"], "cifar-10-binary.tar.gz")


DOWNLOADS = {
    "mnist": Download(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
        _idx,
    ),
    "fashion_mnist": Download(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
        _idx,
    ),
    "cifar10": Download(
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"},
        _cifar,
    ),
}


def cache_folder() -> Path:
    """Where downloaded sets are kept: VAEL_CACHE, or the platform's cache folder of the user."""
    if os.environ.get("VAEL_CACHE"):
        return Path(os.environ["VAEL_CACHE"]).expanduser()
    import pooch

    return Path(pooch.os_cache("vael"))


def download(name: str) -> Path:
    """Fetch the set `name`, one of `DOWNLOADS`, into the cache; the path of its .npz file.

    Raises DataError when an address cannot be reached or what came is not what was published, and when the cache
    cannot be written; no half of a set is kept.
    """
    wanted = DOWNLOADS[name]
    with tempfile.TemporaryDirectory() as aside:
        contents = {file: fetch(wanted.url + file, md5, Path(aside)).read_bytes() for file, md5 in wanted.files.items()}
    held = io.BytesIO()
    np.savez(held, **wanted.read(contents))  # type: ignore[arg-type]
    path = cache_folder() / f"{name}.npz"
    try:
        write_bytes(path, held.getvalue())
    except WriteError as error:
        raise DataError(
            f"{name}: was fetched, but cannot be kept in the cache: {error.__cause__}.\n"
            f"  Set the environment variable VAEL_CACHE to a folder with {held.tell() // 2**20 + 1} MB to spare."
        ) from error
    return path


def fetch(url: str, md5: str, folder: Path) -> Path:
    """The file at `url`, put into `folder`; DataError when it cannot be had or its MD5 is another."""
    import pooch

    file = url.rsplit("/", 1)[-1]
    try:
        return Path(pooch.retrieve(url, f"md5:{md5}", file, folder, downloader=pooch.HTTPDownloader(timeout=TIMEOUT)))
    except ValueError as error:
        raise DataError(f"{url}: what came is not the file that was published, whose MD5 is {md5}.") from error
    except OSError as error:
        raise DataError(f"{url}: {_reason(error)}.") from error


def _reason(error: OSError) -> str:
    """Why a file could not be had, in a few words."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"the server answered {status}"
    return f"no answer within {TIMEOUT:g} s" if "Timeout" in type(error).__name__ else "cannot be reached"
