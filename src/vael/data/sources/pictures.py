"""Pictures brought to one form: 8 bits, one or three channels, no alpha, upright, one size."""

import dataclasses
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vael.data.frame import Frame
from vael.errors import DataError, RecipeError

Bytes = NDArray[np.uint8]
Size = tuple[int, int]  # width, height

GREY = ("1", "L", "LA", "La")
SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N")
SHOWN = 5  # names in a message
# What Pillow raises on bytes that are not what they claim to be, beside OSError.
BROKEN = (OSError, SyntaxError, ValueError, LookupError, EOFError, TypeError, ArithmeticError, struct.error, zlib.error)


@dataclass
class Opened:
    """What was met while pictures were opened, for the notes and the refusals."""

    sizes: Counter[Size] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    damaged: list[str] = field(default_factory=list)


def open_pictures(
    paths: Mapping[str, Path],
    source: str,
    *,
    size: Size | None = None,
    known: tuple[int, int, int] | None = None,
    greys: bool = False,
) -> tuple[Bytes, tuple[str, ...]]:
    """All pictures as `(N, C, H, W)`, grey with C = 1 unless one is in colour; and the notes.

    paths: The files by the names that messages call them by.
    size: Width and height that each is brought to: cropped around its centre to their ratio, then resized with an
        antialiasing cubic filter.
    known: Shape of a model's pictures: where they have three channels, grey ones get three too.
    greys: Whether pictures of one bit stay black and white, being some of many that have grey levels.

    Pictures of one bit become zeros and ones otherwise. Raises DataError naming damaged files, or telling how many
    pictures have which size.
    """
    met, found = Opened(), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own, on odd metadata and large pictures
        for name, path in paths.items():
            picture = _opened(path, name, met, size)
            if len(met.sizes) == 1 and picture is not None:
                found.append(picture)
    _refuse_damaged(met, source, len(paths))
    if len(met.sizes) > 1:
        raise _sizes_differ(met.sizes, source, known)
    return _stacked(found, met, known is not None and known[0] == 3, greys), tuple(_notes(met, size))


def _opened(path: Path, name: str, met: Opened, size: Size | None) -> Bytes | None:
    """One picture, `(H, W)` or `(H, W, 3)`; None where it is damaged or of another size than the others."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            met.remarks["frames"] += getattr(image, "is_animated", False)
            upright = ImageOps.exif_transpose(image)
            met.modes[upright.mode] += 1
            met.sizes[size or upright.size] += 1
            if upright.mode in ("I", "F"):
                met.damaged.append(f"{name} (holds 32-bit numbers, which are no grey levels from 0 to 255)")
            if len(met.sizes) > 1 or upright.mode in ("I", "F"):
                return None
            plain = _plain(upright, met)
            if size is not None and size != upright.size:
                met.remarks["resized"] += 1
                plain = ImageOps.fit(plain, size)
            return np.asarray(plain, dtype=np.uint8)
    except UnidentifiedImageError:
        met.damaged.append(f"{name} (no picture of a known format)")
    except (*BROKEN, Image.DecompressionBombError) as error:
        met.damaged.append(f"{name} ({getattr(error, 'strerror', None) or error})")
    return None


def _plain(image: Any, met: Opened) -> Any:
    """The picture as 8-bit grey or colour, alpha laid over white."""
    from PIL import Image

    if image.mode in SIXTEEN:
        met.remarks["sixteen"] += 1
        return Image.fromarray(np.rint(np.asarray(image, dtype=np.float64) / 257).astype(np.uint8))
    grey = image.mode in GREY or (image.mode == "P" and _is_grey(image))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        met.remarks["alpha"] += layer.getextrema()[3][0] < 255
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("L" if grey else "RGB")


def _is_grey(image: Any) -> bool:
    """Whether a picture with a palette uses nothing but greys, as the GIF of a grey picture does."""
    colours = np.asarray(image.convert("RGB"))
    return bool((colours == colours[:, :, :1]).all())


def _stacked(found: list[Bytes], met: Opened, colour: bool, greys: bool) -> Bytes:
    channels = 3 if colour or any(picture.ndim == 3 for picture in found) else 1
    x = np.empty((len(found), channels, *found[0].shape[:2]), np.uint8)
    for place, picture in enumerate(found):
        x[place] = picture if picture.ndim == 2 else picture.transpose(2, 0, 1)
    met.remarks["grey"] = sum(picture.ndim == 2 for picture in found) if channels == 3 else 0
    return x // 255 if set(met.modes) == {"1"} and not met.remarks["resized"] and not greys else x


def _notes(met: Opened, size: Size | None) -> Iterator[str]:
    texts = {
        "alpha": "with transparency: laid over white",
        "sixteen": "of 16 bits: reduced to 8",
        "frames": "of several frames: the first was taken",
        "grey": "grey among pictures in colour: given three equal channels",
    }
    if size is not None and met.remarks["resized"]:
        yield _resized(met.remarks["resized"], size)
    for remark, text in texts.items():
        if met.remarks[remark]:
            yield f"{_many(met.remarks[remark])} {text}"


def _resized(number: int, size: Size) -> str:
    return f"{_many(number)} resized to {size[0]}×{size[1]}, after a centred crop to that ratio"


def _many(number: int) -> str:
    return f"{number} picture{'s' * (number != 1)}"


def some(names: Sequence[str]) -> str:
    """The first few of many names."""
    return ", ".join(names[:SHOWN]) + (f", … ({len(names)} in all)" if len(names) > SHOWN else "")


def _refuse_damaged(met: Opened, source: str, number: int) -> None:
    if met.damaged:
        raise DataError(
            f"{source}: {len(met.damaged)} of {_many(number)} cannot be read: {some(met.damaged)}.\n"
            f"  Save them again as 8-bit pictures, or take them out of the folder."
        )


def _sizes_differ(sizes: Counter[Size], source: str, known: tuple[int, int, int] | None) -> DataError:
    listed = [f"{number} of {width}×{height}" for (width, height), number in sizes.most_common()]
    (width, height), _ = sizes.most_common(1)[0]
    remedy = (
        f"Bring them to {known[2]}×{known[1]}, the size of the model's; a run fitted with --resize does so by itself."
        if known is not None
        else f"Bring them to one size, cropped around the centre first: --resize {min(width, height)}, or "
        f"--resize {width}x{height} (width x height); in Python, resize=({width}, {height})."
    )
    return DataError(f"{source}: pictures of {len(sizes)} sizes, and a model takes one: {some(listed)}.\n  {remedy}")


# ── pictures in an array ─────────────────────────────────────────────────────────────────────────────────────


def with_size(frame: Frame, size: Size) -> Frame:
    """`frame` with its pictures brought to `size` as `open_pictures` does it; those that have it stay as they are.

    Raises RecipeError where there are no pictures, or none of bytes.
    """
    arrays = {name: column for name, column in frame.columns.items() if column.ndim == 4}
    if not arrays:
        raise RecipeError(f"resize: {frame.name} holds no pictures. Leave it out.")
    notes, columns = [], dict(frame.columns)
    for name, column in arrays.items():
        if column.shape[:1:-1] == size:
            continue
        if column.dtype != np.uint8:
            raise RecipeError(
                f"resize: {frame.name}, {name!r} holds {column.dtype}; only pictures of bytes (uint8) are resized.\n"
                f"  Convert them to grey levels 0 … 255, or resize them yourself."
            )
        columns[name] = _fitted(np.asarray(column, np.uint8), size)
        notes.append(_resized(len(column), size))
    return dataclasses.replace(frame, columns=columns, notes=(*frame.notes, *notes))


def _fitted(pictures: Bytes, size: Size) -> Bytes:
    from PIL import Image, ImageOps

    fitted = np.empty((*pictures.shape[:2], size[1], size[0]), np.uint8)
    for place, picture in enumerate(pictures):
        for channel, plane in enumerate(picture):
            fitted[place, channel] = np.asarray(ImageOps.fit(Image.fromarray(plane), size))
    # A cubic filter overshoots; what has 17 grey levels keeps them.
    return np.asarray(np.minimum(fitted, pictures.max()), np.uint8)
