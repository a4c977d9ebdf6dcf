"""Atomic, self-verifying reading and writing. The only file that renames.

A file is written aside, flushed to the disk and renamed into place, so a reader finds the old file or the new
one, whole. Each format carries the means to tell that it is what was written: safetensors and JSON a SHA-256,
a JSON line a CRC-32. No format can hold code.
"""

import binascii
import contextlib
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from vael.errors import DamagedFile, VaelError, WriteError

try:
    import fcntl
except ImportError:  # Windows: no advisory lock; the rename below is still atomic
    fcntl = None  # type: ignore[assignment]

Json = dict[str, Any]


def write_bytes(path: Path, content: bytes) -> None:
    """Put `content` at `path` in one step: all of it, or what stood there before.

    Raises WriteError when the disk is full or the folder cannot be written; nothing half-written is left.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
        _flush_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise WriteError(
            f"{path}: could not be written ({error.strerror or error}). What stood there before is untouched.\n"
            f"  Free some space or choose another folder, then resume the run."
        ) from error


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A path beside `path` to write a large file at: renamed to it when the block ends well, else deleted.

    What a killed process left aside for the same file goes first. Raises WriteError when folder or disk refuse.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for torn in path.parent.glob(f".{path.name}.*.part"):
            torn.unlink(missing_ok=True)
        yield aside
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
        _flush_folder(path.parent)
    except OSError as error:
        if isinstance(error, VaelError):
            raise
        raise WriteError(
            f"{path}: could not be written ({error.strerror or error}). What stood there before is untouched.\n"
            f"  Free some space or choose another folder, and run the command again."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Some file systems cannot flush a folder; the file is whole either way, only the rename may be younger.
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def read_bytes(path: Path) -> bytes:
    """The content of `path`, or DamagedFile saying that it is missing or cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DamagedFile(f"{path}: is missing.\n  Put it back from a copy, or fit again.") from error
    except OSError as error:
        raise DamagedFile(f"{path}: cannot be read ({error.strerror or error}).") from error


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()


# ── tensors ──────────────────────────────────────────────────────────────────────────────────────────────────


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 over names, types, shapes, bytes and metadata: any flipped bit changes it."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)  # the bytes themselves, without a copy
    return digest.hexdigest()


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors of any shape and a string-to-string `metadata` as one self-verifying safetensors file."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    notes = dict(metadata or {})
    write_bytes(path, _in_order(tensors_to_bytes(plain, {**notes, "sha256": _digest(plain, notes)})))


def _in_order(content: bytes) -> bytes:
    """safetensors writes metadata in an order of the day; in a fixed one, equal tensors make equal files."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the format asks for tensors aligned to 8 bytes
    return b"".join((len(text).to_bytes(8, "little"), text, memoryview(content)[8 + length :]))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file written by `save_tensors`; DamagedFile if one bit differs."""
    content = read_bytes(path)
    try:
        tensors = parse_tensors(content)
        length = int.from_bytes(content[:8], "little")
        notes: dict[str, str] = json.loads(content[8 : 8 + length])["__metadata__"]
        claimed = notes.pop("sha256")
    except (SafetensorError, ValueError, KeyError) as error:
        raise DamagedFile(
            f"{path}: damaged, {len(content)} bytes that are no whole vael tensor file ({error})."
        ) from error
    if _digest(tensors, notes) != claimed:
        raise DamagedFile(f"{path}: damaged, its content does not match its own checksum.")
    return tensors, notes


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────────────────


def finite(value: Any) -> Any:
    """`value` with every NaN and infinity, at any depth, turned to None: JSON has no such numbers."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def dump_json(value: Mapping[str, Any]) -> str:
    """One line of strict JSON: keys in the order given, every number finite or null."""
    return json.dumps(finite(value), allow_nan=False, ensure_ascii=False)


def save_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` as readable JSON with a `sha256` field over its other fields."""
    plain = finite(value)
    signed = {**plain, "sha256": sha256(dump_json(plain).encode())}
    write_bytes(path, (json.dumps(signed, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode())


def load_json(path: Path) -> Json:
    """The fields of a file written by `save_json`, its checksum taken off; DamagedFile if it does not fit."""
    content = read_bytes(path)
    try:
        value: Json = json.loads(content)
        claimed = value.pop("sha256")
    except (ValueError, KeyError, AttributeError) as error:
        raise DamagedFile(
            f"{path}: damaged, {len(content)} bytes that are no whole vael JSON file ({error})."
        ) from error
    if sha256(dump_json(value).encode()) != claimed:
        raise DamagedFile(
            f"{path}: its content does not match its own checksum; it is damaged, or was edited by hand.\n"
            f"  Put the original back, or fit again with the change you want."
        )
    return value


# ── JSON lines ───────────────────────────────────────────────────────────────────────────────────────────────


def _line(value: Mapping[str, Any]) -> bytes:
    text = dump_json(value)
    return (dump_json({**finite(value), "crc": f"{binascii.crc32(text.encode()):08x}"}) + "\n").encode()


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Add one self-verifying line; a kill can tear only the last one, which `read_lines` drops."""
    try:
        with path.open("ab") as file:
            file.write(_line(value))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise WriteError(
            f"{path}: a line could not be added ({error.strerror or error}). The lines before it are whole.\n"
            f"  Free some space, then resume the run."
        ) from error


def read_lines(path: Path) -> list[Json]:
    """The whole lines of `path` up to the first torn or altered one, without their CRC; [] if it is missing."""
    return list(_whole_lines(path.read_bytes())) if path.exists() else []


def _whole_lines(content: bytes) -> Iterator[Json]:
    for raw in content.splitlines(keepends=True):
        try:
            value = json.loads(raw)
            claimed = value.pop("crc")
        except (ValueError, KeyError, AttributeError):
            return
        if not raw.endswith(b"\n") or f"{binascii.crc32(dump_json(value).encode()):08x}" != claimed:
            return
        yield value


def rewrite_lines(path: Path, values: list[Json]) -> None:
    """Replace a JSON-lines file by `values` in one step: how lines after a checkpoint are cut."""
    write_bytes(path, b"".join(_line(value) for value in values))


# ── one writer at a time ─────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold `folder` for one writing process; the lock goes with the process, however it ends.

    Raises WriteError when another process is writing there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / ".lock").open("w")
    except OSError as error:
        raise WriteError(f"{folder}: cannot be written ({error.strerror or error}). Choose another folder.") from error
    with handle:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise WriteError(
                    f"{folder}: another process is writing this run. Wait for it, or choose another folder."
                ) from error
        for torn in folder.rglob(".*.part"):  # what a killed writer left aside
            torn.unlink(missing_ok=True)
        yield
