"""What a column is, read off its values."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vael.data.facts import grid
from vael.data.frame import Frame
from vael.data.infer import infer
from vael.data.schema import Field
from vael.data.sources import read
from vael.errors import DataError, RecipeError

rng = np.random.default_rng(0)


def field(values, *, name="a", kind=None, **options) -> Field:
    """The field inferred for one column."""
    column = values if isinstance(values, np.ndarray) else np.asarray(values)
    return infer(Frame("people", {name: column}), kinds={name: kind} if kind else {}, **options)[name]


def text(*values) -> np.ndarray:
    return np.asarray(values, dtype=object)


@pytest.fixture
def real_data() -> Path:
    if not os.environ.get("VAEL_DATA"):
        pytest.skip("VAEL_DATA is unset: the real data sets are not at hand")
    return Path(os.environ["VAEL_DATA"])


# ── the table of rules ───────────────────────────────────────────────────────────────────────────────────────

RULES = {
    "all equal": (np.full(50, 7), "constant"),
    "all equal where observed": (np.asarray([2.5, np.nan, 2.5]), "constant"),
    "zeros and ones": (rng.integers(0, 2, 50), "binary"),
    "ones and twos": (rng.integers(1, 3, 50), "binary"),
    "booleans": (rng.random(50) < 0.5, "binary"),
    "two fractions": (rng.choice([0.5, 1.5], 50), "binary"),
    "two texts": (text(*rng.choice(["no", "yes"], 50)), "category"),
    "few texts": (text(*rng.choice(["a", "b", "c"], 50)), "category"),
    "texts that differ": (text(*(f"name {i}" for i in range(50))), "id"),
    "row numbers": (rng.permutation(50), "id"),
    "a long tail from zero": (rng.negative_binomial(1, 0.05, 500), "count"),
    "a scale of marks to ten": (np.minimum(rng.geometric(0.5, 500), 10), "ordinal"),
    "amounts in steps of fifty": (50 * rng.negative_binomial(1, 0.05, 500), "real"),
    "ages": (rng.integers(17, 90, 500), "real"),
    "negative whole numbers": (rng.integers(-50, 50, 500), "real"),
    "proportions": (rng.random(500), "unit"),
    "small quantities": (rng.random(500) * 0.3, "real"),
    "measurements": (rng.normal(size=500), "real"),
    "whole numbers beyond 2^24": (rng.negative_binomial(1, 1e-8, 500), "positive"),
    "answers on a scale": (rng.integers(-2, 6, 500), "ordinal"),
    "answers among holes": (np.where(rng.random(500) < 0.3, np.nan, rng.integers(1, 6, 500)), "ordinal"),
    "nineteen places": (rng.permutation(np.arange(500) % 19), "ordinal"),
    "twenty places": (rng.permutation(np.arange(500) % 20), "real"),
    "a few rows of marks": (np.array([1, 2, 3, 4, 5]), "real"),
    "incomes": (np.exp(rng.normal(10, 1, 500)), "positive"),
    "incomes in cents": (np.round(np.exp(rng.normal(6, 1, 500)), 2), "positive"),
    "incomes and losses": (np.concatenate([np.exp(rng.normal(3, 1, 400)), -rng.random(100)]), "real"),
    "amounts and zeros": (np.where(rng.random(500) < 0.5, 0.0, np.exp(rng.normal(3, 1, 500))), "positive"),
    "gains of thousands and zeros": (
        np.where(rng.random(500) < 0.9, 0, np.exp(rng.normal(8, 1, 500)).astype(int)),
        "positive",
    ),
    "visits, mostly none": (np.where(rng.random(500) < 0.6, 0, rng.negative_binomial(1, 0.05, 500)), "count"),
    "differences and zeros": (np.where(rng.random(500) < 0.5, 0.0, rng.normal(size=500)), "real"),
}


@pytest.mark.parametrize(("values", "kind"), RULES.values(), ids=RULES)
def test_the_values_choose_the_kind_and_say_why(values, kind):
    found = field(values)
    assert found.kind == kind
    assert found.why


def test_an_id_is_known_by_its_name_if_its_values_differ():
    numbers = rng.choice(10_000, 60, replace=False)
    assert field(numbers, name="customer_id").role == "ignored"
    assert field(numbers, name="liquid").kind == "real"
    assert field(np.repeat(numbers[:5], 12), name="customer_id").kind == "real"


def test_values_stand_in_sorted_order_as_plain_python_values():
    assert field([3, 1, 3, 1]).values == (1, 3)
    assert field([1.0, 0.0, np.nan]).values == (0, 1)
    assert field([True, False]).values == (False, True)
    found = field(text("b", None, "a", "c"))
    assert found.values == ("a", "b", "c")
    assert (found.levels, found.missing, found.dtype) == (3, 1, "str")


def test_a_column_without_any_value_is_left_out_aloud():
    found = field([np.nan] * 30)
    assert (found.kind, found.role, found.missing) == ("constant", "ignored", 30)
    assert "missing" in found.why
    assert field(text(*[None] * 30)).role == "ignored"


def test_whole_numbers_beside_missing_ones_stay_whole():
    found = field([17.0, 30.0, np.nan, 41.0, 55.0])
    assert (found.resolution, found.missing) == (1.0, 1)


def test_a_value_that_stands_out_is_a_spike():
    values = rng.normal(size=100)
    values[:43] = 0.0
    found = field(values)
    assert (found.spike, found.resolution) == (0.0, 0.0)
    assert "43 % are 0" in found.why
    assert "spike at 0" in found.describe()
    assert field(rng.normal(size=100)).spike is None
    assert (
        field(np.where(np.arange(100) < 43, -1.0, np.exp(rng.normal(size=100)))).kind == "real"
    )  # a mark, not an amount


def test_on_a_grid_the_commonest_value_is_no_spike_unless_it_towers():
    ages = np.round(rng.normal(30, 3, 2000))  # 13 % have the commonest of them, its neighbours nearly as many
    assert field(ages).spike is None
    assert field(np.where(np.arange(2000) < 700, 18.0, ages)).spike == 18.0


def test_counts_and_marks_have_no_spike_of_their_own():
    assert field(rng.negative_binomial(1, 0.05, 500) * (rng.random(500) < 0.5)).spike is None
    assert field(np.minimum(rng.geometric(0.5, 500), 10)).spike is None


def test_an_ordinal_column_has_every_place_between_its_ends():
    found = field(np.repeat([2, 4, 8], 20))
    assert (found.kind, found.values, found.levels) == ("ordinal", (2, 4, 6, 8), 4)
    with pytest.raises(DataError, match="an ordinal column takes 2 to 1000 equal steps"):
        field(rng.normal(size=50), kind="ordinal")


def test_a_positive_column_refuses_what_is_not():
    with pytest.raises(DataError, match=r"row 2: -1.5 is below zero"):
        field([3.25, -1.5, 2.125], kind="positive")
    with pytest.raises(DataError, match=r"row 3: 0 is not above zero"):
        field(np.array([0.1, np.pi, 0.0, np.e]), kind="positive")


def test_one_row_is_a_row_of_constants():
    schema = infer(read([[1.5, 2.0, 3.0]]))
    assert {f.kind for f in schema} == {"constant"}
    assert schema.modelled == ()


# ── grids ────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None)
@given(
    decimals=st.integers(0, 6),
    steps=st.integers(1, 40),
    places=st.lists(st.integers(-5000, 5000), min_size=30, max_size=60, unique=True),
)
def test_a_planted_grid_is_found(decimals, steps, places):
    step = steps / 10**decimals
    places = [*places, 5001, 5002]  # two neighbours: the planted step is the largest that fits
    values = np.unique(np.asarray(places) * step)
    assert grid(values, 1e-9) == pytest.approx(step, rel=1e-9)
    # float32 keeps seven digits: the same grid is found in what it stores.
    assert grid(values.astype(np.float32).astype(np.float64), 1e-6) == pytest.approx(step, rel=1e-6)


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(1e-3, 1e6))
def test_continuous_values_have_no_grid(seed, scale):
    values = np.sort(np.random.default_rng(seed).normal(size=200) * scale)
    assert grid(values, 1e-9) == 0.0


@pytest.mark.parametrize("parts", [255, 15, 16, 17, 186])
def test_pictures_scaled_to_one_have_the_grid_of_their_levels(parts):
    pictures = (rng.integers(0, parts + 1, (60, 1, 8, 8)) / parts).astype(np.float32)
    found = field(pictures)
    assert found.kind == "unit"
    assert found.resolution == pytest.approx(1 / parts, rel=1e-6)


@pytest.mark.parametrize("values", [[1e308, -1e308, 3.5, 4.0], [5e-324, 1e-310, 3.0, 4.0], [1e20, 2.5e20, 1.3e19]])
def test_extreme_values_are_continuous_without_a_warning(values):
    assert field(values).resolution == 0.0


def test_large_integers_keep_their_common_step():
    assert field(np.asarray([2**40, 2**40 + 6, 2**40 + 18, 2**41])).resolution == 2.0
    assert field(rng.integers(2**25, 2**30, 100)).resolution == 1.0


# ── arrays ───────────────────────────────────────────────────────────────────────────────────────────────────

PICTURES = {
    "zeros and ones": (rng.integers(0, 2, (20, 1, 4, 4)).astype(np.uint8), "binary", 2),
    "sixteen greys": (rng.integers(0, 17, (20, 1, 4, 4)).astype(np.uint8), "image", 17),
    "sixteen greys in floats": (rng.integers(0, 17, (20, 1, 4, 4)).astype(np.float64), "image", 17),
    "bytes": (rng.integers(0, 256, (20, 3, 4, 4)).astype(np.uint8), "image", 256),
    "zero to one": (rng.random((20, 1, 4, 4)), "unit", 0),
    "minus one to one": (rng.random((20, 1, 4, 4)) * 2 - 1, "real", 0),
    "sixteen bits": (rng.integers(0, 2**16, (20, 1, 4, 4)), "real", 0),
}


@pytest.mark.parametrize(("values", "kind", "levels"), PICTURES.values(), ids=PICTURES)
def test_pictures_are_read_by_their_range(values, kind, levels):
    found = field(values)
    assert (found.kind, found.levels, found.shape) == (kind, levels, values.shape[1:])


def test_pictures_refuse_holes_and_say_where():
    pictures = rng.random((5, 1, 4, 4))
    pictures[2, 0, 3, 1] = np.nan
    with pytest.raises(DataError, match=r"row 3, position \(0, 3, 1\).*pictures cannot have holes"):
        field(pictures)


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
@pytest.mark.parametrize("hole", [1.0, np.nan])
def test_infinity_is_refused_with_its_place_even_beside_missing_values(bad, hole):
    with pytest.raises(DataError, match=r"people, column 'a', row 3: -?inf"):
        field([hole, 2.0, bad, 4.0])


def test_infinity_in_a_picture_is_refused_with_its_pixel():
    pictures = np.zeros((4, 1, 2, 2))
    pictures[1, 0, 1, 0] = np.inf
    with pytest.raises(DataError, match=r"row 2, position \(0, 1, 0\)"):
        field(pictures)


@pytest.mark.parametrize("empty", [np.zeros((0, 3)), [], {}, {"a": []}])
def test_no_rows_are_said_to_be_no_rows(empty):
    with pytest.raises(DataError, match="0 rows"):
        infer(read(empty))


def test_an_unknown_column_or_kind_is_answered_with_the_nearest():
    frame = Frame("people", {"age": np.arange(9.0), "sex": np.arange(9.0)})
    with pytest.raises(RecipeError, match="Did you mean 'age'"):
        infer(frame, kinds={"agee": "real"})
    with pytest.raises(RecipeError, match="Did you mean 'count'"):
        infer(frame, kinds={"age": "counts"})
    with pytest.raises(RecipeError, match="no column 'hat'"):
        infer(frame, ignore=["hat"])
    with pytest.raises(RecipeError, match="no column 'hat'"):
        infer(frame, label=["hat"])


# ── the user's word ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_users_word_overrides_the_rule():
    assert field([1, 2, 2, 3], kind="category").values == (1, 2, 3)
    assert field([1, 2, 2, 3], kind="count").resolution == 1.0
    assert field([1, 2, 2, 3], kind="id").role == "ignored"
    assert field(np.arange(30), kind="real").role == "data"
    assert field(rng.random(50) * 0.2, kind="unit").kind == "unit"


IMPOSSIBLE = {
    "a negative count": ([3, -1, 2], "count", "row 2: -1 is not a count"),
    "half a count": ([3.0, 1.5, 2.0], "count", "row 2: 1.5 is not a count"),
    "a unit above one": ([0.5, 1.5, 0.2], "unit", "row 2: 1.5 is not between 0 and 1"),
    "three values as binary": ([0, 1, 2], "binary", "exactly two different values, it has 3"),
    "two values as constant": ([0, 1], "constant", "takes one different values, it has 2"),
    "numbers of text": (text(None, "tall"), "real", "row 2: 'tall' is text"),
    "too many levels": (np.arange(1001.0), "category", "at most 1000 different values, it has 1001"),
    "grey beyond white": ([[[[0.0, 300.0]]]], "image", "300 is not a grey level"),
}


@pytest.mark.parametrize(("values", "kind", "message"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_a_kind_that_the_values_cannot_be_is_refused_with_the_value(values, kind, message):
    with pytest.raises(DataError, match=message):
        field(values, kind=kind)


def test_ignored_and_label_columns_get_their_roles():
    frame = Frame("t", {"a": rng.normal(size=40), "b": rng.normal(size=40), "y": rng.integers(0, 3, 40)})
    schema = infer(frame, ignore=["b"], label=["y"])
    assert [f.role for f in schema] == ["data", "ignored", "label"]
    assert (schema["y"].kind, schema["y"].values) == ("category", (0, 1, 2))


def test_a_label_of_many_whole_numbers_is_a_quantity_not_classes():
    assert infer(Frame("t", {"y": rng.integers(0, 500, 400)}, labels=("y",)))["y"].kind == "real"


def test_the_column_that_splits_has_that_role():
    words = text("train", "test", "valid", "train")
    frame = read({"a": [1.0, 2.5, 3.0, 4.0], "split": words.tolist()})
    assert infer(frame)["split"].role == "split"
    assert infer(read({"a": [1.0, 2.5, 3.0, 4.0], "split": words.tolist()}, split=""))["split"].role == "data"


# ── speed, and real data ─────────────────────────────────────────────────────────────────────────────────────


def test_wide_binary_and_long_mixed_tables_take_about_a_second():
    wide = read((rng.random((10_000, 784)) < 0.3).astype(np.float64))
    long = read(rng.normal(size=(50_000, 24)))
    start = time.process_time()
    assert {f.kind for f in infer(wide)} == {"binary"}
    assert {f.kind for f in infer(long)} == {"real"}
    assert time.process_time() - start < 3.0  # 0.5 s on a laptop; the rest is for a busy machine


def test_adult_reads_as_a_statistician_would(real_data):
    schema = infer(read(real_data / "adult.csv.gz"))
    kinds = {f.name: f.kind for f in schema}
    spikes = {"capital_gain": 0.0, "capital_loss": 0.0, "hours_per_week": 40.0, "age": None}
    assert {name: schema[name].spike for name in spikes} == spikes
    assert [kinds[name] for name in spikes] == ["positive", "real", "real", "real"]
    assert all(schema[name].resolution == 1 for name in ("age", "hours_per_week", "capital_gain", "fnlwgt"))
    assert (kinds["education_num"], schema["education_num"].values) == ("ordinal", tuple(range(1, 17)))
    assert (schema["workclass"].kind, schema["workclass"].missing) == ("category", 2799)
    assert schema["split"].role == "split"


def test_credit_default_reads_as_a_statistician_would(real_data):
    schema = infer(read(real_data / "credit_default.csv.gz"))
    assert schema["id"].role == "ignored"
    assert {schema[f"bill_amt{i}"].kind for i in range(1, 7)} == {"real"}
    assert {(schema[f"pay_amt{i}"].kind, schema[f"pay_amt{i}"].spike) for i in range(1, 7)} == {("positive", 0.0)}
    assert schema["pay_0"].values == tuple(range(-2, 9))
    assert schema["sex"].values == (1, 2)


def test_wine_quality_and_the_original_breast_cancer_scores_are_whole_not_counts(real_data):
    assert infer(read(real_data / "wine_red.csv.gz"))["quality"].values == (3, 4, 5, 6, 7, 8)
    scores = infer(read(real_data / "breast_cancer_original.csv.gz"))
    assert (scores["mitoses"].kind, scores["bare_nuclei"].missing, scores["id"].kind) == ("ordinal", 16, "id")
