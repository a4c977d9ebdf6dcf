"""The binary formats of two classic sets: IDX (MNIST and its kin) and the CIFAR-10 archive."""

import gzip
import io
import math
import tarfile
import zlib

import numpy as np
from numpy.typing import NDArray

from vael.errors import DataError

Bytes = NDArray[np.uint8]

SIDE = 32  # pixels of a CIFAR picture
BATCHES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}


def read_idx(content: bytes, name: str) -> Bytes:
    """The bytes of an IDX file, gzipped or not, in the shape that its head states.

    The head: two zeros, the type (8 for unsigned bytes), the number of axes; then each axis as 4 bytes, big-endian.
    Raises DataError when it is no whole IDX file of bytes.
    Source: Y. LeCun, C. Cortes, C. Burges, THE MNIST DATABASE, "File formats".
    """
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{name}: damaged, no whole gzip file ({error}).") from error
    axes = content[3] if len(content) > 3 else 0
    start = 4 + 4 * axes
    shape = tuple(int.from_bytes(content[place : place + 4], "big") for place in range(4, start, 4))
    if content[:3] != b"\0\0\x08" or len(content) < start or len(content) - start != math.prod(shape):
        raise DataError(f"{name}: damaged, {len(content)} bytes that are no whole IDX file of bytes.")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def read_cifar(content: bytes, name: str) -> dict[str, Bytes]:
    """x_train `(50000, 3, 32, 32)`, y_train, x_test and y_test of CIFAR-10's binary archive, a .tar.gz.

    A record is a label and 3 · 32 · 32 pixels, channel first. Nothing is unpacked to the disk.
    Raises DataError when a batch is missing or torn.
    Source: A. Krizhevsky 2009, Learning multiple layers of features from tiny images, and its page.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            members = {member.name.rsplit("/", 1)[-1]: member for member in archive.getmembers() if member.isfile()}
            found = {part: [_member(archive, members[batch]) for batch in names] for part, names in BATCHES.items()}
    except (tarfile.TarError, KeyError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name}: damaged, no whole archive of CIFAR-10 ({error}).") from error
    arrays = {}
    for part, batches in found.items():
        whole = b"".join(batches)
        if not whole or len(whole) % (1 + 3 * SIDE**2):
            raise DataError(f"{name}: damaged, its {part} batches hold {len(whole)} bytes, no whole records.")
        records = np.frombuffer(whole, dtype=np.uint8).reshape(-1, 1 + 3 * SIDE**2)
        arrays[f"x_{part}"] = np.ascontiguousarray(records[:, 1:]).reshape(-1, 3, SIDE, SIDE)
        arrays[f"y_{part}"] = records[:, 0].copy()
    return arrays


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return b"" if file is None else file.read()
