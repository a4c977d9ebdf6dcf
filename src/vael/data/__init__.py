"""Arrays with a known meaning and unit: sources, schema, transforms, splits."""

from vael.data.batch import Batch
from vael.data.dataset import (
    Data,
    Split,
    decode,
    encode,
    fewer_labels,
    fingerprint,
    originals,
    positions,
    prepare,
    source_rows,
)
from vael.data.frame import Frame
from vael.data.reading import Reading
from vael.data.schema import KINDS, Binarization, Field, Kind, Schema

__all__ = [
    "KINDS",
    "Batch",
    "Binarization",
    "Data",
    "Field",
    "Frame",
    "Kind",
    "Reading",
    "Schema",
    "Split",
    "decode",
    "encode",
    "fewer_labels",
    "fingerprint",
    "originals",
    "positions",
    "prepare",
    "source_rows",
]
