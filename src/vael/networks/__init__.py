"""Tensor to tensor. No probability in here."""

from vael.networks.conv import ConvDecoder, ConvEncoder
from vael.networks.corrupted import Corrupted
from vael.networks.inputs import Rescaled, RowFeatures
from vael.networks.last import Last
from vael.networks.mlp import MLP, affine_map
from vael.networks.shapes import as_shape

__all__ = [
    "MLP", "ConvDecoder", "ConvEncoder", "Corrupted", "Last", "Rescaled", "RowFeatures", "affine_map", "as_shape",
]  # fmt: skip
