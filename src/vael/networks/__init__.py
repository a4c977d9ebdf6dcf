"""Tensor to tensor. No probability in here."""

from vael.networks.inputs import Rescaled, RowFeatures
from vael.networks.mlp import MLP, affine_map, as_shape

__all__ = ["MLP", "Rescaled", "RowFeatures", "affine_map", "as_shape"]
