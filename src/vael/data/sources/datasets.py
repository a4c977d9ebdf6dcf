"""Map-style data sets of torch, and loaders over them, read into memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, SubsetRandomSampler, TensorDataset

from vael.data.frame import Frame
from vael.data.sources.arrays import Column, check_lengths, event_columns, label_columns, numbers
from vael.errors import DataError


def is_dataset(source: object) -> bool:
    """Whether `source` is a torch data set or a loader."""
    return isinstance(source, (Dataset, DataLoader))


def read_dataset(source: Any) -> Frame:
    """A frame of all examples of a data set, in its order: x, or x and a label y, as an item gives them.

    A loader's data set is read in place of its batches: order and batches are drawn by training itself. One that
    samples from a fixed subset is read as that subset.
    Raises DataError on an iterable data set, on items that are neither x nor (x, y), and on items of unequal shape.
    """
    places: Sequence[int] | None = None
    notes: tuple[str, ...] = ()
    if isinstance(source, DataLoader):
        places, source = _subset(source), source.dataset
        notes = ("a loader: its data set is read in order; batches and shuffling are training's own",)
    name = type(source).__name__
    if isinstance(source, IterableDataset) or not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
        raise DataError(
            f"{name}: a data set without a length or without places, which cannot be split into rows.\n"
            f"  Give a map-style data set, with __len__ and __getitem__, or its examples as one tensor."
        )
    if isinstance(source, TensorDataset):
        parts = [_array(tensor if places is None else tensor[places]) for tensor in source.tensors]
    else:
        parts = _items(source, range(len(source)) if places is None else places, name)
    if len(parts) > 2:
        raise DataError(f"{name}: an item holds {len(parts)} things, expected x or (x, y).\n  Wrap it to give these.")
    columns = event_columns(numbers(parts[0], name), name)
    labels = label_columns(parts[1:], name) if len(parts) > 1 else {}
    check_lengths({**columns, **labels}, name)
    return Frame(name, {**columns, **labels}, labels=tuple(labels), notes=notes)


def _subset(loader: DataLoader[Any]) -> list[int] | None:
    """The places a loader draws from, where it is a fixed part of its data set."""
    return sorted(loader.sampler.indices) if isinstance(loader.sampler, SubsetRandomSampler) else None


def _items(source: Any, places: Sequence[int], name: str) -> list[Column]:
    """x of all items, and y if they have one, each stacked."""
    items = [_parts(source[place], name, place) for place in places]
    if not items:
        raise DataError(f"{name}: 0 examples. There is nothing to learn from.")
    shapes = [[part.shape for part in item] for item in items]
    for place, shape in zip(places, shapes, strict=True):
        if shape != shapes[0]:
            raise DataError(
                f"{name}, item {place}: shapes {shape}, expected those of item {places[0]}, {shapes[0]}.\n"
                f"  Bring all examples to one shape, in the data set itself."
            )
    return [np.stack([item[part] for item in items]) for part in range(len(items[0]))]


def _parts(item: Any, name: str, place: int) -> list[Column]:
    """An item's x, and its y, as arrays."""
    listed = list(item) if isinstance(item, (tuple, list)) else [item]
    for part in listed:
        plain = isinstance(part, (torch.Tensor, np.ndarray, np.generic, int, float, bool, str))
        if not plain and not hasattr(part, "__array_interface__"):  # which Pillow's pictures have
            raise DataError(
                f"{name}, item {place}: holds a {type(part).__name__}, expected a tensor x or a tuple (x, y).\n"
                f"  Wrap the data set to give these."
            )
    return [_array(part) for part in listed]


def _array(part: Any) -> Column:
    return part.detach().cpu().numpy() if isinstance(part, torch.Tensor) else np.asarray(part)
