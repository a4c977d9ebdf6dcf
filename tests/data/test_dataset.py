"""Splits: their rows found again, and their examples as the user knows them."""

import numpy as np
import pandas as pd
import pytest
import torch

from vael.data import Frame, originals, prepare, source_rows
from vael.data.infer import infer
from vael.data.sources import read
from vael.defaults import choose, with_views
from vael.errors import DataError


def prepared(frame: Frame):
    schema = infer(frame)
    return prepare(frame, with_views(schema, choose(schema), None))


def test_originals_are_the_users_own_values_with_their_holes(people):
    data, own = prepared(read(people)), pd.read_csv(people)
    for split in data.splits.values():
        found = pd.DataFrame(originals(split, data.schema))
        wanted = own.iloc[split.index.numpy()].reset_index(drop=True)
        pd.testing.assert_frame_equal(found, wanted[found.columns], check_dtype=False, rtol=1e-6)  # float32 in between
    assert sum(int(pd.DataFrame(originals(s, data.schema))["height"].isna().sum()) for s in data.splits.values()) > 10


def test_rows_are_found_by_their_number_in_whatever_split_they_are():
    table = Frame("t", {"a": np.arange(60) ** 2 / 7, "b": np.sin(np.arange(60))})
    data = prepared(table)
    wanted = [1, 60, 17, 17, 33]
    found = source_rows(list(data.splits.values()), wanted)
    assert (found.index + 1).tolist() == wanted
    np.testing.assert_allclose(originals(found, data.schema)["b"], np.sin(np.asarray(wanted) - 1), atol=1e-6)
    held = {name: set(split.index.tolist()) for name, split in data.splits.items()}
    assert len({next(name for name, rows in held.items() if row - 1 in rows) for row in range(1, 61)}) == 3


@pytest.mark.parametrize("row", [0, -1, 61])
def test_a_row_that_is_not_there_is_refused(row):
    data = prepared(Frame("t", {"a": np.arange(60) ** 2 / 7, "b": np.sin(np.arange(60))}))
    with pytest.raises(DataError, match=rf"row {row}: is not there; the data have 60 rows"):
        source_rows(list(data.splits.values()), [3, row])


def test_grey_pictures_of_a_binary_model_are_cut_before_they_are_shown():
    frame = Frame("t", {"x": np.random.default_rng(0).integers(0, 256, (30, 1, 4, 4)).astype(np.uint8)})
    schema = infer(frame)
    data = prepare(frame, with_views(schema, choose(schema, "bernoulli"), None))
    train = data.split("train")
    shown = originals(train, data.schema)["x"]
    np.testing.assert_array_equal(shown, frame.columns["x"][train.index.numpy()] > 127.5)
    assert torch.equal(train.x, data.split("train").x)  # the split itself keeps its grey
