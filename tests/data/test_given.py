"""What p(x | given) is told: fields as numbers, holes as flags, parts of pictures, and who may say what."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.testing import assert_close

import vael
from vael import DataError, RecipeError
from vael.data import Field, Frame, Reading, Schema, prepare
from vael.data.given import boxes, encode_given, given_row, numbers_of, part_of, part_weight, with_part
from vael.data.sources import read
from vael.data.understand import understand

TABLE = pd.DataFrame(
    {
        "height": [1.5, 1.7, 1.9, 1.6, 1.8, 1.75],
        "town": ["A", "B", "C", "A", "B", "A"],
        "left": [0, 1, 0, 0, 1, 1],
        "age": [20.5, np.nan, 41.25, 33.5, 28.75, 30.125],
    }
)


def told(given: list[str], table: pd.DataFrame = TABLE, fractions: dict[str, float] | None = None):
    reading = Reading.asked(given=given, kinds={"left": "binary", "town": "category", "age": "real"})
    frame = read(table, reading)
    return prepare(frame, understand(frame, reading), fractions=fractions or {"validation": 0.0, "test": 0.0})


def test_a_category_is_a_one_among_zeros_a_bit_itself_and_a_number_standardised_with_a_flag_for_holes():
    data = told(["town", "left", "age"])
    assert [numbers_of(field) for field in data.schema.given] == [3, 1, 2]
    (split,) = [split for split in data.splits.values() if len(split)]
    order = split.index.numpy()
    age = TABLE.age.to_numpy()
    scaled = (age - np.nanmean(age)) / np.nanstd(age)
    wanted = np.column_stack(
        [
            np.eye(3)[[["A", "B", "C"].index(town) for town in TABLE.town]],
            TABLE.left,
            np.nan_to_num(scaled),
            np.isnan(age),
        ]
    )
    assert_close(split.given.double(), torch.from_numpy(wanted[order]), atol=1e-6, rtol=0)
    assert [field.name for field in data.schema.modelled] == ["height"]
    assert torch.equal(split.batch(torch.tensor([2, 0])).given, split.given[[2, 0]])


def test_the_numbers_said_by_name_are_those_of_a_row_that_holds_them():
    data = told(["town", "left", "age"])
    (split,) = [split for split in data.splits.values() if len(split)]
    row = split.given[split.index == 2]
    assert_close(given_row(data.schema, {"town": "C", "left": 0, "age": 41.25}), row)
    hole = split.given[split.index == 1]
    assert_close(given_row(data.schema, {"town": "B", "left": 1}), hole)  # a hole may be left out


@pytest.mark.parametrize(
    ("said", "error", "told_of"),
    [
        ({"town": "D", "left": 0}, DataError, r"'D' is not one of its 3 values"),
        ({"town": "A"}, RecipeError, r"conditioned on 'left' too"),
        ({"town": "A", "left": 1, "hat": 2}, RecipeError, r"given 'hat': the model is conditioned on town, left, age"),
        ({"town": "A", "left": "x"}, DataError, r"given left='x': is not a number"),
    ],
)
def test_what_cannot_be_given_is_refused_in_words(said, error, told_of):
    with pytest.raises(error, match=told_of):
        given_row(told(["town", "left", "age"]).schema, said)


def test_a_hole_where_there_was_none_is_refused_with_its_row():
    schema = told(["town"]).schema
    frame = Frame("other", {"height": np.array([1.0, 2.0]), "town": np.array(["A", None], dtype=object)})
    with pytest.raises(DataError, match=r"other, column 'town', row 2: is empty"):
        encode_given(frame, schema)


@pytest.mark.parametrize("name", ["flat", "name"])
def test_nothing_can_be_conditioned_on_a_constant_or_an_id(name):
    many = pd.concat([TABLE] * 8, ignore_index=True)
    table = many.assign(flat=1.0, name=[f"row {i}" for i in range(len(many))])
    with pytest.raises(RecipeError, match=rf"given '{name}': is of kind (constant|id)"):
        told([name], table)


# ── parts of a picture ───────────────────────────────────────────────────────────────────────────────────────

PICTURE = Field("x", "image", (1, 4, 6), levels=17, part=((2, 4, 0, 3), (0, -1, 5, 6)))


def test_a_part_is_the_boxes_that_were_named():
    seen = np.zeros((4, 6), bool)
    seen[2:4, 0:3] = True
    seen[:, 5] = True
    assert np.array_equal(part_of(PICTURE).numpy().reshape(4, 6), seen)
    assert boxes(["2:4,:3", ":,5"]) == ((2, 4, 0, 3), (0, -1, 5, 6))
    assert_close(part_weight(PICTURE), torch.from_numpy(seen.ravel() / 16).float())


@pytest.mark.parametrize("text", ["2:4", "a,b", "1:2:3,4", "1,2,3", ""])
def test_a_part_that_is_no_box_is_refused(text):
    with pytest.raises(RecipeError, match="expected ROWS,COLUMNS"):
        boxes([text])


@pytest.mark.parametrize(("box", "which"), [((0, -1, 0, -1), "every"), ((9, 12, 0, 2), "no")])
def test_a_part_of_everything_or_nothing_is_refused(box, which):
    with pytest.raises(RecipeError, match=f"{which} pixel of pictures of 4 × 6 is given"):
        part_of(Field("x", "image", (1, 4, 6), levels=17, part=(box,)))


def test_the_given_part_is_told_and_not_scored_and_stands_in_samples_as_it_was(tmp_path):
    run = vael.fit("digits", part=["4:8,0:4"], prior="conditional", latent=4, steps=3, output=tmp_path / "run")
    split = run.data.split("test")
    batch = split.batch(torch.arange(5))
    seen = part_of(run.schema.modelled[0])
    assert_close(batch.given, batch.x.flatten(1) * seen / 16)
    assert torch.equal(batch.observed, (~seen).expand(5, 64))
    noise = run.model.noise(1, 5, seed=0)
    other = torch.where(seen.reshape(1, 8, 8), 16 - batch.x, batch.x)
    z = run.model.terms(batch, noise).latents[0].z
    one, two = (run.model.likelihood.log_prob(x, z, batch.given, batch.observed) for x in (batch.x, other))
    assert torch.equal(one, two)  # the score does not look at the given pixels of x
    made = run.sample(3, rows=[7, 9, 11], mean=True)["x"]
    own = np.stack([run.rows([row]).x[0].numpy() for row in (7, 9, 11)])
    assert np.array_equal(made[:, :, 4:8, 0:4], own[:, :, 4:8, 0:4])
    assert not np.array_equal(made, own)
    with pytest.raises(RecipeError, match="conditioned on a part of each picture"):
        run.sample(1, given={})
    again = vael.load(str(run.folder))
    assert np.array_equal(again.sample(3, rows=[7, 9, 11], mean=True)["x"], made)


def test_with_part_puts_back_what_was_told():
    schema = Schema((PICTURE,))
    x = torch.arange(48.0).reshape(2, 1, 4, 6) % 17
    told_pixels = torch.full((5, 24), 0.5) * (part_weight(PICTURE) > 0)
    made = with_part(x, told_pixels, 3, schema)
    seen = part_of(PICTURE).reshape(4, 6)
    assert (made[:, 0, seen] == 8).all()
    assert torch.equal(made[:, 0, ~seen], x[:, 0, ~seen])


# ── through fit ──────────────────────────────────────────────────────────────────────────────────────────────


def test_samples_follow_what_is_given(tmp_path):
    """Two clusters told apart by a bit: under each bit the samples' mean is that cluster's, to 4 standard errors."""
    rng = np.random.default_rng(0)
    bit = rng.integers(0, 2, 2000)
    table = pd.DataFrame({"a": 4.0 * bit + rng.normal(size=2000), "b": rng.normal(size=2000) - bit, "bit": bit})
    run = vael.fit(table, given=["bit"], latent=2, steps=400, output=tmp_path / "run", seed=1)
    for value in (0, 1):
        made = run.sample(2000, given={"bit": value}, seed=3)
        assert set(made) == {"a", "b"}
        for name in ("a", "b"):
            own = table[name][table.bit == value]
            error = np.hypot(made[name].std(), own.std()) / np.sqrt(1000)
            assert abs(made[name].mean() - own.mean()) < 4 * error + 0.1  # a short fit's own bias
    mixed = run.sample(2000, seed=3)["a"]
    assert abs(mixed.mean() - table.a.mean()) < 0.3
    found = run.evaluate(draws=50)
    assert found.evidence is not None
    assert found.evidence.method == "importance"  # an affine decoder of z and given has no closed form here
    run.report()
    run.doctor(draws=20, examples=40)
