"""There and back: what the model sees turns into the user's values again."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from vael.data.dataset import encode
from vael.data.frame import Frame
from vael.data.infer import infer
from vael.data.schema import Field, Schema
from vael.data.transforms import fit_view, log_jacobian, to_model, to_user
from vael.errors import DataError


def view(column: np.ndarray, **changes) -> Field:
    """The column's inferred field with its view fitted."""
    schema = infer(Frame("t", {"a": column}))
    return fit_view(schema.with_fields({"a": changes})["a"], column)


@settings(deadline=None)
@given(
    places=st.lists(st.integers(-10_000, 10_000), min_size=3, max_size=50, unique=True),
    decimals=st.integers(0, 4),
)
def test_a_standardised_grid_comes_back_exactly(places, decimals):
    column = np.asarray(places) / 10**decimals
    field = view(column, view="standard", kind="real", role="data")
    np.testing.assert_array_equal(to_user(field, to_model(field, column, "t")), column)


@settings(deadline=None)
@given(values=st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=50, unique=True))
def test_a_continuous_column_comes_back_to_rounding(values):
    column = np.asarray(values)
    field = Field("a", "real", view="standard", loc=3.0, scale=7.0)
    np.testing.assert_allclose(to_user(field, to_model(field, column, "t")), column, rtol=1e-12, atol=1e-12)


@settings(deadline=None)
@given(words=st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=40))
def test_texts_become_codes_and_texts_again(words):
    column = np.asarray(words, dtype=object)
    field = Field("a", "category", values=("a", "b", "c"), levels=3)
    codes = to_model(field, column, "t")
    there = ~np.isnan(codes)
    assert (there == np.asarray([word is not None for word in words])).all()
    assert to_user(field, codes[there]).tolist() == [word for word in words if word is not None]


@pytest.mark.parametrize("column", [np.asarray([1, 2, 1]), np.asarray([True, False, True]), np.asarray([0.5, 1.0])])
def test_two_values_come_back_in_their_own_type(column):
    field = Field("a", "binary", values=tuple(np.unique(column).tolist()), levels=2, dtype=str(column.dtype))
    again = to_user(field, to_model(field, column, "t"))
    assert again.dtype == column.dtype
    np.testing.assert_array_equal(again, column)


def test_pictures_come_back_as_bytes_and_never_wrap():
    column = np.arange(256, dtype=np.uint8).reshape(4, 1, 8, 8)
    field = view(column, view="unit")
    seen = to_model(field, column, "t")
    assert (seen.min(), seen.max()) == (0.0, 1.0)
    np.testing.assert_array_equal(to_user(field, seen), column)
    assert to_user(field, np.asarray([-0.5, 1.5])).tolist() == [0, 255]


def test_a_value_the_model_never_saw_is_named_with_its_row():
    field = Field("a", "category", values=("x", "y"), levels=2)
    with pytest.raises(DataError, match=r"people, column 'a', row 2: 'z' is not one of its 2 values \('x', 'y'\)"):
        to_model(field, np.asarray(["x", "z"], dtype=object), "people")
    with pytest.raises(DataError, match="row 3: 7 is not one of its 2 values"):
        to_model(Field("a", "binary", values=(0, 1), levels=2), np.asarray([0, 1, 7]), "people")


def test_missing_values_stay_missing_and_leave_the_fit_alone():
    column = np.asarray([1.5, np.nan, 4.25])
    field = fit_view(Field("a", "real", view="standard"), column)
    assert (field.loc, field.scale) == (2.875, 1.375)
    assert np.isnan(to_model(field, column, "t")).tolist() == [False, True, False]


def test_the_log_jacobian_is_that_of_the_view():
    field = Field("a", "real", view="standard", loc=3.0, scale=4.0)
    step = (to_model(field, np.asarray([1.5]), "t") - to_model(field, np.asarray([0.5]), "t"))[0]
    assert log_jacobian(field) == pytest.approx(np.log(step), abs=1e-12)
    assert log_jacobian(Field("a", "real", view="standard", scale=4.0, resolution=0.5)) == 0.0


def test_a_column_constant_on_the_training_rows_keeps_a_scale():
    assert fit_view(Field("a", "real", view="standard", resolution=0.5), np.full(4, 2.0)).scale == 0.5
    assert fit_view(Field("a", "real", view="standard"), np.full(4, 2.0)).scale == 1.0


def test_a_grid_that_misses_zero_comes_back_on_its_own_points():
    field = dataclasses.replace(Field("x", "real", resolution=0.5, offset=0.2), view="standard", loc=1.3, scale=0.7)
    own = np.array([0.2, 0.7, -1.3, 5.2])
    assert np.array_equal(to_user(field, to_model(field, own, "test") + 0.1), own)


def test_a_spike_takes_no_part_in_the_scale_and_is_not_rescaled():
    """Off the grid a spike is a mass, so its row has no log-Jacobian; the others have −log of the geometric mean."""
    from vael.data import prepare
    from vael.data.sources import read

    amounts = np.exp(np.linspace(-1, 3, 60)) + 1e-4 * np.pi * np.arange(60)
    values = np.concatenate([np.zeros(40), amounts])
    frame = read({"a": values})
    schema = infer(frame)
    assert schema["a"].spike == 0.0
    data = prepare(frame, schema.with_fields({"a": {"view": "scaled"}}), fractions={}, seed=0)
    field = data.schema["a"]
    train = data.splits["train"]
    above = values[train.index.numpy()][values[train.index.numpy()] > 0]
    assert field.scale == pytest.approx(float(np.exp(np.log(above).mean())), rel=1e-12)
    zero = torch.from_numpy(values[train.index.numpy()] == 0)
    assert (train.log_jacobian[zero] == 0).all()
    assert_close(
        train.log_jacobian[~zero], torch.full((int((~zero).sum()),), -math.log(field.scale), dtype=torch.float64)
    )


def test_a_spiked_run_finds_the_density_of_a_known_column(tmp_path):
    """40 % zeros and a log-normal: −∫ p log p is H(0.4) + 0.6 · (μ + ½ log 2πeσ²), which no model beats."""
    import vael

    rng = np.random.default_rng(0)
    values = np.where(rng.random(4000) < 0.4, 0.0, np.exp(rng.normal(2.0, 0.5, 4000)))
    run = vael.fit({"a": values}, latent=1, steps=600, output=tmp_path / "run")
    assert run.recipe["likelihood"]["kind"] == "spiked"
    entropy = -(0.4 * math.log(0.4) + 0.6 * math.log(0.6)) + 0.6 * (2.0 + 0.5 * math.log(2 * math.pi * math.e * 0.25))
    found = run.evaluate(draws=50)
    assert found.evidence.value == pytest.approx(-entropy, abs=4 * found.evidence.standard_error)
    assert found.bits_per_dim is None
    drawn = run.sample(2000)["a"]
    assert float((drawn == 0).mean()) == pytest.approx(0.4, abs=4 * math.sqrt(0.24 / 2000))
    assert drawn.min() >= 0


def test_under_a_law_without_an_atom_the_spikes_rows_are_rescaled_like_the_rest(tmp_path):
    import vael

    values = np.where(np.random.default_rng(0).random(400) < 0.4, 0.0, np.random.default_rng(1).normal(5.0, 50.0, 400))
    run = vael.fit({"a": values}, likelihood="gaussian", latent=1, steps=5, output=tmp_path / "run")
    assert run.schema["a"].spike is None
    assert run.data.split("train").log_jacobian.unique().numel() == 1


BEYOND = [  # field, values that a law without its ends may say, what they become
    (Field("a", "unit", view="standard"), [-0.3, 0.4, 1.2], [0.0, 0.4, 1.0]),
    (Field("a", "unit", resolution=0.25, offset=0.125), [-0.3, 0.1, 1.2], [0.125, 0.125, 0.875]),
    (Field("a", "count", resolution=1.0, dtype="int64"), [-3.2, 2.0, 1e9], [0, 2, 2**24 - 1]),
    (Field("a", "positive", ends=(0.5, 9.0)), [-1.0, 0.0, 0.2], [0.5, 0.5, 0.2]),
    (Field("a", "positive", ends=(0.5, 9.0), dtype="float32"), [1e-60, 0.25, 3.0], [0.5, 0.25, 3.0]),
    (Field("a", "positive", ends=(1.0, 9.0), resolution=1.0), [-1.0, 0.3, 2.2], [0.0, 0.0, 2.0]),
    (Field("a", "positive", ends=(0.7, 9.7), resolution=1.0, offset=0.7), [-1.0, 0.1, 2.0], [0.7, 0.7, 1.7]),
    (Field("a", "positive", ends=(0.0, 9.0), spike=0.0), [-1.0, 0.0, 2.0], [0.0, 0.0, 2.0]),
]


@pytest.mark.parametrize(("field", "said", "kept"), BEYOND)
def test_what_a_law_says_beyond_a_fields_range_comes_back_within_it(field, said, kept):
    found = to_user(field, np.array(said))
    assert found.tolist() == pytest.approx(kept, abs=1e-12)
    encode(Frame("back", {"a": found}), Schema((field,)))  # the field's own reader takes it


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_steps_of_a_tenth_are_places_of_an_ordinal_column(dtype, tmp_path):
    import vael

    values = np.round(np.random.default_rng(0).integers(1, 10, 300) * 0.1, 1).astype(dtype)
    values[values == np.asarray(0.5, dtype)] = 0.6  # a place that no row has
    run = vael.fit({"a": values}, kinds={"a": "ordinal"}, latent=1, steps=5, output=tmp_path / "run")
    assert run.schema["a"].levels == 9
    assert run.schema["a"].values == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], abs=1e-7)
    (tmp_path / "other.csv").write_text("a\n0.3\n0.5\n0.9\n")
    assert run.split_of(tmp_path / "other.csv").x.flatten().tolist() == [2.0, 4.0, 8.0]
    with pytest.raises(vael.DataError, match=r"row 2: 0\.35 is not one of its 9 values"):
        run.split_of({"a": np.array([0.3, 0.35])})


def test_a_fraction_of_0_or_1_is_new_to_a_beta_that_saw_none(tmp_path):
    import vael

    values = np.random.default_rng(0).beta(0.3, 0.3, 300) * 0.998 + 0.001
    run = vael.fit({"a": values}, latent=1, steps=20, output=tmp_path / "run")
    with pytest.raises(vael.DataError, match="row 2: 1 cannot be; expected numbers from 0 to 1 but not 0 or 1"):
        run.evaluate({"a": np.array([0.5, 1.0])})
    near = run.evaluate({"a": np.array([0.5, 1 - 1e-12])}, draws=5)  # 1 in float32
    assert math.isfinite(near.elbo.value)
    assert to_user(run.schema["a"], np.array([0.0, 1.0])).tolist() == [values.min(), values.max()]


def test_a_gaussian_takes_fractions_of_0_and_1_that_are_new(tmp_path):
    import vael

    values = np.random.default_rng(0).beta(2, 2, 300) * 0.96 + 0.02
    values[:2] = 0.01, 0.99
    run = vael.fit({"a": values}, likelihood="gaussian", latent=1, steps=5, output=tmp_path / "run")
    assert math.isfinite(run.evaluate({"a": np.array([0.0, 1.0])}, draws=5).elbo.value)


def test_what_is_the_spike_in_float32_is_rescaled_like_the_spike():
    """The law takes 1e-60 for the spike at 0, a mass; a log-Jacobian would make a density of it."""
    field = Field("a", "positive", view="scaled", scale=3.0, spike=0.0, ends=(0.0, 9.0))
    split = encode(Frame("t", {"a": np.array([0.0, 1e-60, 3.0])}), Schema((field,)))
    assert split.log_jacobian.tolist() == [0.0, 0.0, -math.log(3.0)]
