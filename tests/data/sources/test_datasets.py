"""torch data sets and loaders: read whole, in order, with their labels."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, SubsetRandomSampler, TensorDataset

from vael.data.infer import infer
from vael.data.sources import read
from vael.errors import DataError

X = torch.arange(60.0).reshape(10, 6)
Y = torch.arange(10) % 3


class Items(Dataset):
    """A map-style set of whatever is in a list."""

    def __init__(self, *items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, place):
        return self.items[place]


def table(frame):
    return np.stack([column for name, column in frame.columns.items() if name != "y"], axis=1)


SETS = {
    "tensors": TensorDataset(X, Y),
    "items": Items(*((row, int(label)) for row, label in zip(X, Y, strict=True))),
    "arrays": Items(*((row.numpy(), label.numpy()) for row, label in zip(X, Y, strict=True))),
    "lists": Items(*([row, label] for row, label in zip(X, Y, strict=True))),
    "a subset of all": Subset(TensorDataset(X, Y), range(10)),
    "a shuffling loader": DataLoader(TensorDataset(X, Y), batch_size=3, shuffle=True),
}


@pytest.mark.parametrize("source", SETS.values(), ids=SETS)
def test_x_and_y_come_in_the_order_of_the_set(source):
    frame = read(source)
    np.testing.assert_array_equal(table(frame), X)
    np.testing.assert_array_equal(frame.columns["y"], Y)
    assert (frame.labels, frame.origin) == (("y",), None)


def test_reading_a_loader_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    read(SETS["a shuffling loader"])
    assert torch.equal(state, torch.get_rng_state())


def test_items_may_be_x_alone():
    assert list(read(Items(*X)).columns) == [f"x{i}" for i in range(6)]
    assert list(read(TensorDataset(X)).columns) == [f"x{i}" for i in range(6)]


def test_pictures_stay_pictures():
    frame = read(Items(*((torch.zeros(3, 4, 5), 0) for _ in range(4))))
    assert frame.columns["x"].shape == (4, 3, 4, 5)
    grey = read(Items(*((Image.fromarray(np.full((4, 5), i, np.uint8)), i % 2) for i in range(4))))
    assert (grey.columns["x"].dtype, grey.columns["x"].shape) == (np.uint8, (4, 1, 4, 5))


def test_labels_may_be_texts():
    frame = read(Items(*((row, "odd" if i % 2 else "even") for i, row in enumerate(X))))
    assert infer(frame)["y"].values == ("even", "odd")


def test_a_loader_of_a_subset_is_that_subset_and_says_what_it_ignores():
    frame = read(DataLoader(TensorDataset(X, Y), sampler=SubsetRandomSampler([7, 2])))
    np.testing.assert_array_equal(table(frame), X[[2, 7]])
    assert "its data set is read in order" in frame.notes[0]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(X)


class Endless(Dataset):
    def __getitem__(self, place):
        return X[0]


REFUSED = {
    "an iterable": (Stream(), "Stream: a data set without a length or without places"),
    "a loader of one": (DataLoader(Stream()), "Stream: a data set without a length"),
    "no length": (Endless(), "Endless: a data set without a length"),
    "three things": (Items((1, 2, 3), (1, 2, 3)), "an item holds 3 things, expected x or"),
    "a dict": (Items({"image": X}), r"item 0: holds a dict, expected a tensor x or a tuple \(x, y\)"),
    "unequal shapes": (Items(X[0], X[0], X[0, :5]), r"item 2: shapes \[\(5,\)\], expected those of item 0, \[\(6,\)\]"),
    "unequal items": (Items((X[0], 1), X[0]), r"item 1: shapes \[\(6,\)\], expected those of item 0, \[\(6,\), \(\)\]"),
    "nothing": (Items(), "Items: 0 examples"),
}  # fmt: skip


@pytest.mark.parametrize(("source", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_by_its_name(source, message):
    with pytest.raises(DataError, match=message):
        read(source)
