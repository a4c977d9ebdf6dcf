"""vael curve: a linear sweep lands on the analytic curve, a stopped one goes on, the picture holds what it measured."""

import json
import math
import re

import numpy as np
import pytest
from PIL import Image

import vael
from vael import DataError, RecipeError
from vael.cli.app import run as command
from vael.files import load_json
from vael.report.tradeoff import pictures
from vael.runs import RunFolder
from vael.runs.curve import curve

LINEAR = {"likelihood.network.hidden": [], "posterior.network.hidden": [], "likelihood.scale": 0.5}
QUICK = {"steps": 20, "latent": 2, "likelihood": "gaussian"}


def rows(examples=4000, seed=0):
    """Linear-Gaussian rows, their two factors plain to see."""
    rng = np.random.default_rng(seed)
    weight = np.array([[1.0, 1, 1, 0, 0, 1], [0, 0, 1, 1, 1, -1]])
    return rng.normal(size=(examples, 2)) @ weight + 0.5 * rng.normal(size=(examples, 6))


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A folder of one finished run."""
    folder = tmp_path_factory.mktemp("swept") / "sweep"
    curve(rows(120), betas=[1], output=folder, **QUICK)
    return folder


@pytest.mark.parametrize(("scale", "betas"), [(0.5, [0.5, 3]), ("shared", [0.5, 1.5])])
def test_linear_networks_end_on_the_analytic_curve(tmp_path, scale, betas):
    settings = {**LINEAR, "likelihood.scale": scale}
    found = curve(
        rows(), betas=betas, output=tmp_path / "sweep", latent=2, likelihood="gaussian", settings=settings,
        steps=1500, learning_rate=1e-2,
    )  # fmt: skip
    assert found.examples == 800
    for place in found.places:
        # Test rows are not training rows: four standard errors; and what 1500 steps leave.
        assert place.distortion.standard_error < 0.12
        assert abs(place.rate.value - place.predicted.rate) < 4 * place.rate.standard_error + 0.05, place.beta
        assert abs(place.distortion.value - place.predicted.distortion) < 4 * place.distortion.standard_error + 0.05
        assert place.active_units == place.predicted.active_units
        assert place.elbo.value == pytest.approx(-place.rate.value - place.distortion.value)
    rates = [place.rate.value for place in found.places]
    assert rates == sorted(rates, reverse=True)
    assert found.theory.points[0].beta == pytest.approx(0.25)


def test_the_curve_speaks_of_the_users_own_units(tmp_path):
    """Ten times the numbers: log 10 more distortion for each feature, the same rate, the analytic curve as well."""
    near = curve(rows(200), betas=[1], output=tmp_path / "a", **QUICK)
    far = curve(10 * rows(200), betas=[1], output=tmp_path / "b", **QUICK)
    assert far.places[0].rate.value == pytest.approx(near.places[0].rate.value, abs=1e-3)
    for one, other in ((near.places[0].distortion.value, far.places[0].distortion.value),
                       (near.places[0].predicted.distortion, far.places[0].predicted.distortion)):  # fmt: skip
        assert other - one == pytest.approx(6 * math.log(10), abs=1e-3)


def test_values_on_a_grid_are_masses_on_both_sides(tmp_path):
    """Rounded to hundredths, a cell holds its width times the density: both curves fall by the same."""
    plain = curve(rows(2000), betas=[1], output=tmp_path / "a", latent=2, settings=LINEAR, steps=600)
    grid = curve(rows(2000).round(2), betas=[1], output=tmp_path / "b", latent=2, settings=LINEAR, steps=600)
    shift = -6 * math.log(0.01)
    assert grid.places[0].distortion.value - plain.places[0].distortion.value == pytest.approx(shift, abs=0.05)
    assert grid.places[0].predicted.distortion - plain.places[0].predicted.distortion == pytest.approx(shift, abs=0.05)


def test_a_sweep_is_taken_up_where_it_ended(tmp_path):
    data, fitted = rows(120), []

    def watch(event):
        if event["event"] == "finished":
            fitted.append(event["run"])

    first = curve(data, betas=[1, 2], output=tmp_path / "sweep", **QUICK)
    again = curve(data, betas=[1, 2, 4], output=tmp_path / "sweep", watch=watch, **QUICK)
    assert fitted == ["beta-4"]
    assert [place.rate for place in again.places[:2]] == [place.rate for place in first.places]


def test_a_killed_run_is_resumed(tmp_path):
    data = rows(120)

    def stop(event):
        if event["event"] == "line":
            raise KeyboardInterrupt

    with pytest.raises(vael.Interrupted):
        curve(data, betas=[1, 2], output=tmp_path / "sweep", watch=stop, evaluate_every=5, **QUICK)
    found = curve(data, betas=[1, 2], output=tmp_path / "sweep", evaluate_every=5, **QUICK)
    whole = curve(data, betas=[1, 2], output=tmp_path / "whole", evaluate_every=5, **QUICK)
    # One member stood at a checkpoint, the other at its beginning: the last steps are taken alone, not as one batch.
    for one, other in zip(found.places, whole.places, strict=True):
        assert one.elbo.value == pytest.approx(other.elbo.value, rel=1e-5)


def test_runs_of_other_data_or_another_recipe_are_not_taken_up(tmp_path):
    curve(rows(120), betas=[1], output=tmp_path / "sweep", **QUICK)
    with pytest.raises(DataError, match="not those the run was fitted on"):
        curve(rows(120, seed=1), betas=[1], output=tmp_path / "sweep", **QUICK)
    with pytest.raises(RecipeError, match=r"holds a run with prior\.latent 2, this curve needs 3"):
        curve(rows(120), betas=[1], output=tmp_path / "sweep", **{**QUICK, "latent": 3})


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"likelihood": "student_t"}, "likelihood.kind 'gaussian', this curve needs 'student_t'"),
        ({"steps": None, "epochs": 30}, "training.steps 20, this curve needs 30"),
        ({"split": {"test": 0.3}}, r"data.split the default, this curve needs {'test': 0.3}"),
        ({"kinds": {"x0": "real"}}, "data.kinds the default, this curve needs {'x0': 'real'}"),
        ({"posterior": "full_gaussian"}, "posterior.kind 'gaussian', this curve needs 'full_gaussian'"),
        ({"learning_rate": 0.01}, "training.learning_rate 0.001, this curve needs 0.01"),
        ({"settings": {"likelihood.scale": 0.5}}, "likelihood.scale 'per_example', this curve needs 0.5"),
        ({"latent": None}, "prior.latent 2, this curve needs 16"),
        ({"seed": 1}, "seed 0, this curve needs 1"),
    ],
    ids=str,
)
def test_whatever_the_arguments_decide_is_compared_with_the_run_that_stands_there(swept, changed, told):
    """Not the numbers of another model under the name of the one asked for."""
    with pytest.raises(RecipeError, match=re.escape(f"holds a run with {told}")):
        curve(rows(120), betas=[1], output=swept, **{**QUICK, **changed})


def test_a_few_of_many_differences_are_named(swept):
    with pytest.raises(RecipeError) as told:
        curve(rows(120), betas=[1], output=swept, seed=1, **QUICK)  # another split, so each column's mean and spread
    _, also, remedy = str(told.value).splitlines()
    places = [f"column x{column}.{what}" for column in range(3) for what in ("loc", "scale")]
    assert also == f"  Also different: {', '.join(places[:5])} and 7 more."
    assert remedy == "  Choose another folder with -o."


def test_how_pictures_are_binarised_is_compared_though_only_the_schema_says_it(tmp_path):
    grey = np.random.default_rng(0).integers(0, 17, (60, 1, 4, 4)).astype(np.uint8)
    asked = {"betas": [1], "output": tmp_path / "sweep", "steps": 5, "latent": 2, "likelihood": "bernoulli"}
    curve(grey, binarize="dynamic", **asked)
    curve(grey, **asked)  # dynamic when left out
    with pytest.raises(RecipeError, match=r"binarization 'dynamic', this curve needs 'threshold'"):
        curve(grey, binarize="threshold", **asked)


def test_the_same_recipe_in_other_words_is_the_same(swept):
    """A constructor's default said aloud, and Training's own."""
    settings = {"likelihood.network.activation": "relu", "training.clip": 1000.0}
    found = curve(rows(120), betas=[1], output=swept, settings=settings, **QUICK)
    assert found.places[0].run == str(swept / "beta-1")


def test_an_interrupted_run_of_other_data_is_not_gone_on_with(tmp_path):
    def stop(event):
        if event["event"] == "line":
            raise KeyboardInterrupt

    for name, seed in (("full", 0), ("other", 1)):
        np.save(tmp_path / f"{name}.npy", rows(120, seed))
    asked = {"betas": [1], "output": tmp_path / "sweep", "evaluate_every": 5, **QUICK}
    with pytest.raises(vael.Interrupted):
        curve(tmp_path / "full.npy", watch=stop, **asked)
    before = RunFolder(tmp_path / "sweep" / "beta-1").lines()
    with pytest.raises(DataError, match="not those the run was fitted on"):
        curve(tmp_path / "other.npy", **asked)
    with pytest.raises(RecipeError, match=r"training\.steps 20, this curve needs 40"):
        curve(tmp_path / "full.npy", **{**asked, "steps": 40})
    assert RunFolder(tmp_path / "sweep" / "beta-1").lines() == before
    assert RunFolder(tmp_path / "sweep" / "beta-1").state == "interrupted"
    (tmp_path / "full.npy").rename(tmp_path / "moved.npy")  # the same data elsewhere are the same
    assert curve(tmp_path / "moved.npy", **asked).places[0].rate.value > 0


@pytest.mark.parametrize(
    ("betas", "told"),
    [
        ([], "none"), ([0.0, 1.0], "0, 1"), ([-1.0], "-1"), ([1.0, 1.0], "1, 1"),
        ([math.nan, 1.0], "nan, 1"), ([1.0, math.nan], "1, nan"), ([math.inf], "inf"),
    ],
)  # fmt: skip
def test_betas_are_above_zero_finite_and_given_once(tmp_path, betas, told):
    with pytest.raises(RecipeError, match=f"betas must be above 0, finite and each be given once, got {told}\\."):
        curve(rows(50), betas=betas, output=tmp_path / "sweep", **QUICK)


def test_another_objective_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="the objective is beta"):
        curve(rows(50), output=tmp_path / "sweep", settings={"objective.draws": 3}, **QUICK)


def test_data_without_a_linear_curve_say_so(tmp_path):
    bits = (rows(100) > 0).astype(np.float32)
    found = curve(bits, betas=[1], output=tmp_path / "sweep", steps=10, latent=2)
    assert found.theory is None
    assert "the likelihood is bernoulli, not gaussian" in found.note
    assert found.places[0].predicted is None
    holed = rows(100)
    holed[3, 2] = np.nan
    found = curve(holed, betas=[1], output=tmp_path / "holes", **QUICK)
    assert "values are missing" in found.note
    assert set(pictures(found.to_json())) == {"svg", "png"}


def test_the_command_writes_numbers_and_pictures(tmp_path, capsys):
    out = tmp_path / "sweep"
    arguments = ["--betas", "1,4", "--steps", "30", "--latent", "2", "--likelihood", "gaussian"]
    scale = ["--set", "likelihood.scale=shared"]
    assert command(["curve", "wine", *arguments, *scale, "-o", str(out), "--quiet", "--json"]) == 0
    said = capsys.readouterr().out
    last = json.loads(said.splitlines()[-1], parse_constant=pytest.fail)
    kept = load_json(out / "curve.json")
    kept.pop("sha256", None)
    assert {key: last[key] for key in kept} == kept
    assert [place["beta"] for place in last["places"]] == [1, 4]
    assert last["places"][0]["run"] == str(out / "beta-1")
    assert "one σ learned at each β" in last["theory"]["about"]
    with Image.open(out / "curve.png") as picture:
        assert picture.size == (896, 640)
        assert len(picture.convert("RGB").getcolors(100_000)) > 20
    drawn = (out / "curve.svg").read_text()
    assert "<svg" in drawn
    assert command(["curve", "wine", *arguments, *scale, "--split", "test=0.3", "-o", str(out), "--quiet"]) == 1
    assert "data.split the default, this curve needs {'test': 0.3}" in capsys.readouterr().err
    assert command(["curve", "wine", *arguments, "--split", "test=0.3", "-o", str(tmp_path / "b"), "--quiet"]) == 0
    assert load_json(tmp_path / "b" / "curve.json")["examples"] == 53  # of 178
    assert command(["curve", "wine", "--betas", "nan,1", "-o", str(tmp_path / "no")]) == 1
    assert "finite and each be given once, got nan, 1" in capsys.readouterr().err
    assert command(["curve", "wine", "--betas", "1,x", "-o", str(tmp_path / "no")]) == 1
    assert "--betas 1,x: expected numbers" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_the_picture_shows_every_beta_and_the_best_bound(tmp_path):
    from vael.report.drawing import drawing
    from vael.report.tradeoff import plot

    found = curve(rows(200), betas=[0.5, 2], output=tmp_path / "sweep", **QUICK).to_json()
    with drawing():
        (axes,) = plot(found).axes
    assert [text.get_text() for text in axes.texts] == ["β = 0.5", "β = 2"]
    measured = axes.containers[0].lines[0].get_xydata()
    expected = [(place["rate"]["value"], place["distortion"]["value"]) for place in found["places"]]
    np.testing.assert_allclose(measured, expected)
    bound = next(line for line in axes.lines if str(line.get_label()).startswith("best bound"))
    best = min(place["rate"]["value"] + place["distortion"]["value"] for place in found["places"])
    np.testing.assert_allclose(bound.get_xydata().sum(1), best, atol=1e-4)
