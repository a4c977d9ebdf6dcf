"""What breaks other toolkits must not break this one: the table of peers, row by row.

P rows come from an image-model zoo, T rows from a table synthesiser, O rows from an anomaly detector. Rows about
damaged files (P27 – P32) and custom modules (P33) stand with the files, the resumption and the runs they concern.
"""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import vael
from vael.data.outputs import picture_sheet
from vael.errors import DataError, RecipeError, ShapeError
from vael.likelihoods import Bernoulli
from vael.networks import MLP
from vael.posteriors import GaussianPosterior
from vael.priors import GaussianPrior
from vael.runs import Run

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 17, (70, 8, 8)).astype(np.uint8)
ROWS = RNG.normal(size=(70, 3)) @ RNG.normal(size=(3, 3))
SOURCES = sorted(Path(vael.__file__).parent.rglob("*.py"))


@pytest.fixture
def fit(tmp_path):
    """A short fit into a fresh folder."""
    made = iter(range(100))
    return lambda data, **options: vael.fit(
        data, output=tmp_path / str(next(made)), **{"steps": 6, "latent": 2, **options}
    )


def finite(run, **options):
    found = run.evaluate(draws=8, **options)
    return all(np.isfinite([found.elbo.value, found.rate.value, found.distortion.value, found.evidence.value]))


def with_hole(array, value, *place):
    spoiled = array.astype(float)
    spoiled[place] = value
    return spoiled


# ── P: pictures and arrays ───────────────────────────────────────────────────────────────────────────────────


def test_p5_a_nan_in_pictures_is_refused_with_row_and_position(fit):
    with pytest.raises(DataError, match=r"row 4, position \(0, 2, 5\): the value is missing \(NaN\)"):
        fit(with_hole(GREY, np.nan, 3, 2, 5))


def test_p6_a_nan_among_data_to_measure_is_refused_with_row_and_position(fit):
    with pytest.raises(DataError, match=r"row 2, position \(0, 0, 1\)"):
        fit(GREY).evaluate(with_hole(GREY, np.nan, 1, 0, 1))


@pytest.mark.parametrize("infinity", [np.inf, -np.inf])
def test_p7_an_infinity_is_refused_with_its_place(fit, infinity):
    with pytest.raises(DataError, match=r"column 'x1', row 3: -?inf is not a number"):
        fit(with_hole(ROWS, infinity, 2, 1))
    with pytest.raises(DataError, match=r"row 3, position \(0, 1, 4\): -?inf"):
        fit(with_hole(GREY, infinity, 2, 1, 4))


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_p8_flat_rows_for_a_model_of_pictures_are_refused(fit, dtype):
    with pytest.raises(ShapeError, match=r"the model was fitted on (arrays of shape )?\(1, 8, 8\)\.\n  Res"):
        fit(GREY).evaluate(GREY.reshape(70, 64).astype(dtype))


def test_p9_pictures_of_another_size_are_refused_with_both_shapes(fit):
    with pytest.raises(ShapeError, match=r"each example has shape \(1, 9, 9\), the model was fitted on \(1, 8, 8\)"):
        fit(GREY).evaluate(np.zeros((5, 9, 9)))


def test_p9_a_model_of_another_shape_is_refused_before_training(fit):
    model = vael.VAE(GaussianPrior(2), Bernoulli(MLP(2, [], (1, 9, 9))), GaussianPosterior(MLP((1, 9, 9), [], 4)))
    with pytest.raises(ShapeError, match=r"x has shape \(1, 1, 8, 8\), expected \(batch, 1, 9, 9\)"):
        fit(GREY, model=model)


@pytest.mark.parametrize("likelihood", [None, "gaussian", "bernoulli", "grey_bernoulli"])
def test_p10_grey_levels_0_to_16_are_scaled_to_whatever_the_likelihood_needs(fit, likelihood):
    run = fit(GREY, likelihood=likelihood)
    assert np.isfinite(run.evaluate(draws=4).elbo.value)
    assert run.evaluate(draws=4).distortion.value < 64 * np.log(17) * 1.5  # not the 1681 of raw squares
    assert run.sample(9)["x"].max() <= 16


def test_p11_values_below_zero_under_bernoulli_are_refused_with_the_reason(fit):
    with pytest.raises(RecipeError, match=r"Bernoulli needs zeros and ones[\s\S]*--column x=KIND"):
        fit(GREY / 8.0 - 1.0 + 1e-3 * RNG.random(GREY.shape), likelihood="bernoulli")


def test_p12_standardised_values_get_a_likelihood_that_reaches_below_zero(fit):
    run = fit((ROWS - ROWS.mean(0)) / ROWS.std(0), steps=60)
    assert run.recipe["likelihood"]["kind"] == "gaussian"
    assert all((values < 0).any() and (values > 0).any() for values in run.sample(100).values())


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_p13_grey_values_0_to_255_are_recognised_in_any_type_and_come_back_in_it(fit, dtype):
    pictures = RNG.integers(0, 256, (70, 4, 4))
    pictures[0, 0] = [0, 255, 1, 254]
    run = fit(pictures.astype(dtype))
    assert (run.schema["x"].kind, run.schema["x"].levels) == ("image", 256)
    assert finite(run)
    assert run.sample(5)["x"].dtype == dtype


@pytest.mark.parametrize("factor", [1e-9, 1e6, 1e12])
def test_p14_the_unit_of_a_column_shifts_the_figures_by_its_logarithm_and_nothing_else(fit, factor):
    plain, scaled = (fit(ROWS * unit, steps=30).evaluate(draws=8) for unit in (1.0, factor))
    assert scaled.evidence.value == pytest.approx(plain.evidence.value - 3 * np.log(factor), abs=0.01)
    assert scaled.rate.value == pytest.approx(plain.rate.value, abs=0.01)


@pytest.mark.parametrize("shape", [(0, 4), (0, 8, 8)])
def test_p15_an_empty_array_is_told_as_zero_rows(fit, shape):
    with pytest.raises(DataError, match="0 rows"):
        fit(np.zeros(shape))
    with pytest.raises(DataError, match="0 rows"):
        fit(GREY).evaluate(np.zeros((0, 8, 8)))


def test_p16_one_row_is_a_warning(fit):
    plans = []
    run = fit(GREY[:1], watch=lambda event: plans.append(event) if event["event"] == "plan" else None)
    assert "one training row: the model can only learn it by heart" in plans[0]["plan"].notes
    with pytest.raises(DataError, match="the test split has 0 rows of 1"):
        run.evaluate()


@pytest.mark.parametrize("convert", [np.ndarray.tolist, torch.from_numpy, np.asfortranarray])
def test_p17_lists_and_tensors_are_data_like_arrays(fit, convert):
    plain, other = fit(ROWS), fit(convert(ROWS))
    assert np.array_equal(plain.encode(ROWS), other.encode(convert(ROWS)))
    assert np.array_equal(plain.reconstruct(ROWS)["x0"], plain.reconstruct(convert(ROWS))["x0"])


def test_p17_a_frame_with_numbered_columns_is_data(fit):
    run = fit(pd.DataFrame(ROWS))
    assert list(run.reconstruct(pd.DataFrame(ROWS))) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (np.array([["a", "b"], ["c", "d"]], dtype=object), "'a' is a str, not a number"),
        (object(), "cannot read data from a object"),
        ([[1.0, 2.0], [3.0]], "rows differ in length"),
        (np.zeros((3, 2), complex), "holds complex numbers"),
        (lambda: 0, "cannot read data from a function"),
    ],
)
def test_p17_what_is_no_data_is_refused_by_its_type(fit, data, told):
    with pytest.raises(DataError, match=told):
        fit(data)


@pytest.mark.parametrize("wrap", [lambda x: DataLoader(TensorDataset(x)), TensorDataset], ids=["loader", "dataset"])
def test_p18_a_data_loader_is_data_like_its_array(fit, wrap):
    plain, wrapped = fit(ROWS), fit(wrap(torch.from_numpy(ROWS)))
    assert np.array_equal(plain.encode(ROWS), wrapped.encode(wrap(torch.from_numpy(ROWS))))


@pytest.mark.parametrize("latent", [0, -1, 2.5])
def test_p19_a_latent_size_that_is_none_is_refused(fit, latent):
    with pytest.raises(RecipeError, match=f"latent must be a whole number of at least 1, got {latent}"):
        fit(ROWS, latent=latent)


@pytest.mark.parametrize("length", [{"epochs": 0, "steps": None}, {"steps": 0}, {"steps": -5}])
def test_p20_training_of_no_length_is_refused(fit, length):
    with pytest.raises(RecipeError, match=r"(epochs must be above 0, got 0|steps must be at least 1, got (0|-5))"):
        fit(ROWS, **length)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"learning_rate": -0.1}, "learning_rate must be above 0, got -0.1"),
        ({"likelihood": "gausian"}, "unknown kind 'gausian'.*Did you mean 'gaussian'"),
    ],
)
def test_p21_a_negative_learning_rate_and_an_unknown_likelihood_are_refused_before_training(fit, options, told):
    with pytest.raises(RecipeError, match=told):
        fit(ROWS, **options)


def test_p22_no_validation_rows_are_said_at_the_start_and_when_asked_for(fit):
    plans = []
    run = fit(ROWS, split={"validation": 0.0}, watch=lambda event: plans.append(event))
    assert "no validation rows among 70" in plans[0]["plan"].notes[0]
    assert finite(run)
    with pytest.raises(
        DataError, match=r"the validation split has 0 rows of 70\.\n  Choose another split, or fit with"
    ):
        run.evaluate(split="validation")


@pytest.mark.parametrize("batch", [1, 33, 64, 65, 66, 1000])
@pytest.mark.parametrize("objective", [vael.ELBO(), vael.Beta(4.0), vael.IWAE(3)], ids=str)
def test_p23_any_remainder_of_rows_by_batch_works(fit, batch, objective):
    assert finite(
        fit(ROWS[:65], split={"validation": 0.0, "test": 0.0}, batch=batch, objective=objective), data=ROWS[65:]
    )


def test_p24_the_same_seed_twice_is_the_same_result(fit):
    numbers = [fit(ROWS, steps=40).evaluate(draws=20, seed=1).to_json() for _ in range(2)]
    assert all(found.pop("seconds") >= 0 for found in numbers)
    assert numbers[0] == numbers[1]


def test_p25_encoding_twice_gives_identical_means_without_a_gradient(fit):
    run = fit(GREY, likelihood="bernoulli")
    first, again = run.encode(GREY), run.encode(GREY)
    assert np.array_equal(first, again)
    assert type(first) is np.ndarray
    assert all(parameter.grad is None for parameter in run.model.parameters())
    np.testing.assert_allclose(run.encode(GREY[::-1]), first[::-1], atol=1e-6)  # a row's latent is its own


@pytest.mark.parametrize("draws", [1, 10, 150, 300])
def test_p26_exactly_as_many_draws_as_asked_for_are_used(fit, draws, monkeypatch):
    run, used = fit(ROWS), []
    plain = vael.VAE.log_px_z
    monkeypatch.setattr(
        vael.VAE, "log_px_z", lambda model, batch, z: used.append(len(z) * len(batch)) or plain(model, batch, z)
    )
    found = run.evaluate(ROWS[:5], draws=draws, max_examples=5, method="importance")
    assert sum(used) == 5 + 5 * draws  # one draw of the bound, and these
    assert found.evidence.draws == draws
    assert found.evidence.standard_error > 0


def test_p26_one_draw_says_nothing_of_its_own_monte_carlo_error(fit):
    """The delta-method error 1/ESS − 1/K would be 0 there, which claims certainty."""
    found = fit(ROWS).evaluate(ROWS[:5], draws=1, method="importance")
    assert found.evidence.monte_carlo_error is None
    assert "Monte Carlo error unknown" in str(found)


def test_p31_no_source_file_can_run_code_from_a_file():
    """Loading cannot execute anything: what could do so is imported and called nowhere."""
    modules = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    calls = {"eval", "exec", "compile", "__import__"}
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{path.name}: {name}" for name in names if name.split(".")[0] in modules]
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in calls:
                found.append(f"{path.name}: {node.func.id}()")
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("torch.load", "torch.save", "torch.jit.load"):
                found.append(f"{path.name}: {ast.unparse(node)}")
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert ast.unparse(node.value) == "False", path
    assert len(SOURCES) > 50
    assert found == []


def test_p31_an_array_file_with_python_objects_is_not_opened(fit, tmp_path):
    np.save(tmp_path / "evil.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="holds Python objects, which can run code when opened; it was not opened"):
        fit(tmp_path / "evil.npy")


def test_p34_a_run_is_told_in_a_line(fit):
    assert repr(fit(ROWS)).count("\n") == 0


def test_p35_sampling_is_a_function_of_its_seed(fit):
    run = fit(ROWS)
    draws = [run.sample(20, seed=seed)["x0"] for seed in (0, 0, 1)]
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    torch.manual_seed(5)
    state = torch.get_rng_state()
    run.sample(3)
    assert torch.equal(state, torch.get_rng_state())


def test_p36_values_beyond_the_range_are_clipped_in_pictures_and_never_wrapped(fit, tmp_path):
    import io

    from PIL import Image

    sheet = np.asarray(Image.open(io.BytesIO(picture_sheet(np.array([[[1.02, 300.0], [-0.1, -9.0]]]), 2))))
    assert [sheet[2, 2], sheet[2, -3], sheet[-3, 2], sheet[-3, -3]] == [255, 255, 0, 0]
    pictures = RNG.random((70, 4, 4)).round(3)
    found = fit(pictures, steps=20).sample(200)["x"]
    assert found.dtype == np.float64


# ── T: tables ────────────────────────────────────────────────────────────────────────────────────────────────


def holes(run: Run):
    return {field.name: field.missing for field in run.schema}


@pytest.fixture
def table():
    rows = 90
    return pd.DataFrame(
        {
            "length": np.where(np.arange(rows) % 7 == 0, np.nan, RNG.normal(10, 2, rows)),
            "kind": np.where(np.arange(rows) % 5 == 0, None, RNG.choice(["a", "b", "c"], rows)),
            "weight": RNG.normal(0, 1, rows),
            "same": 1.00007,
            "unit": "kg",
        }
    )


def test_t2_a_missing_number_is_modelled_as_missing(fit, table):
    run = fit(table[["length", "weight"]], steps=30)
    assert holes(run) == {"length": 13, "weight": 0}
    assert finite(run)
    assert not np.isnan(run.sample(50)["length"]).any()


def test_t2_what_stands_in_a_hole_changes_no_number(fit, table):
    run = fit(table[["length", "weight"]], steps=30)
    split = run.data.split("train")
    hole = ~split.observed
    filled = vael.data.Split(torch.where(hole, 77.0, split.x), split.index, split.log_jacobian, observed=split.observed)
    assert hole.any()
    assert run.evaluate(filled, draws=8).evidence == run.evaluate(split, draws=8).evidence


def test_t3_a_missing_category_is_modelled_as_missing_and_never_invented(fit, table):
    run = fit(table[["kind", "weight"]], steps=30)
    assert holes(run) == {"kind": 18, "weight": 0}
    assert run.schema["kind"].values == ("a", "b", "c")
    assert set(run.sample(100)["kind"]) <= {"a", "b", "c"}
    assert finite(run)


def test_t4_empty_one_row_and_infinite_tables_are_refused_in_our_own_words(fit):
    with pytest.raises(DataError, match="0 rows"):
        fit(pd.DataFrame({"a": [], "b": []}))
    with pytest.raises(DataError, match="no field is left to model; each is constant"):
        fit(pd.DataFrame({"a": [1.0], "b": [2.0]}))
    with pytest.raises(DataError, match="column 'b', row 2: inf"):
        fit(pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, np.inf]}))


def test_t5_a_text_column_is_a_category_without_being_declared(fit, table):
    run = fit(table)
    assert run.schema["kind"].kind == "category"
    assert run.model.likelihood.parts[1].likelihood.levels == 3


def test_t6_a_constant_column_comes_back_exactly(fit, table):
    for found in (fit(table).sample(40), fit(table).reconstruct(table)):
        assert (found["same"] == 1.00007).all()
        assert (found["unit"] == "kg").all()
        assert list(found) == list(table)


def test_t10_a_table_is_sampled_the_same_from_the_same_seeds(fit, table):
    one, two = (pd.DataFrame(fit(table).sample(30, seed=4)) for _ in range(2))
    pd.testing.assert_frame_equal(one, two)


# ── O: detectors ─────────────────────────────────────────────────────────────────────────────────────────────


def test_o5_fewer_rows_than_a_batch_train(fit):
    run = fit(ROWS[:20], batch=32)
    assert run.recipe["training"]["batch"] == len(run.data.split("train"))  # what is done is what is written
    assert finite(run)


@pytest.mark.parametrize("width", [2, 4])
def test_o6_a_wrong_number_of_columns_is_told_with_both_numbers(fit, width):
    with pytest.raises(ShapeError, match=f"each row has {width} numbers, the model was fitted on rows of 3"):
        fit(ROWS).encode(np.zeros((5, width)))


def test_o6_a_missing_column_is_named_and_a_further_one_is_ignored(fit, table):
    run = fit(table[["length", "weight"]])
    with pytest.raises(DataError, match=r"no column 'weight', which the model was fitted on\. There are: length"):
        run.encode(table[["length"]])
    assert np.array_equal(run.encode(table), run.encode(table[["weight", "length"]]))


def test_o7_constant_columns_leave_every_figure_finite(fit):
    data = np.column_stack([ROWS, np.full(70, 3.25), np.zeros(70)])
    run = fit(data)
    assert finite(run)
    assert run.schema.dims == 3
    assert (run.sample(10)["x3"] == 3.25).all()


def test_o7_a_column_constant_in_the_training_rows_alone_leaves_every_figure_finite(fit):
    split = np.where(np.arange(70) < 50, "train", "test").tolist()
    column = np.where(np.arange(70) < 50, 2.0, RNG.normal(size=70))
    assert finite(fit({"a": ROWS[:, 0], "b": column, "split": split}))


def test_importing_the_library_costs_little_more_than_torch():
    program = (
        "import sys, vael; print([m for m in ('sklearn', 'pandas', 'PIL', 'rich', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
