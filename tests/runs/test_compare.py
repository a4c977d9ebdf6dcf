"""Runs side by side: paired errors against independent ones, and what may not be compared."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import multivariate_normal, norm

import vael
from vael import DataError, RecipeError, compare
from vael.cli.app import run as command
from vael.data import Field
from vael.files import dump_json
from vael.likelihoods import Gaussian
from vael.networks import MLP
from vael.posteriors import GaussianPosterior
from vael.priors import GaussianPrior
from vael.runs.compare import unlike


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Fit once for each set of arguments; a short run."""
    home, kept = tmp_path_factory.mktemp("compared"), {}

    def fit(data, **options):
        key = (str(data) if isinstance(data, str) else id(data), tuple(sorted(map(str, options.items()))))
        if key not in kept:
            options = {"steps": 30, "latent": 2, **options}
            kept[key] = data, vael.fit(data, output=home / f"run{len(kept)}", **options)  # keeps the id in use
        return kept[key][1]

    return fit


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """A table of continuous numbers with a test split of its own."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2)) @ rng.normal(size=(2, 4)) * [1, 10, 0.1, 3] + rng.normal(size=(400, 4))
    table = pd.DataFrame(x, columns=list("abcd"))
    table["split"] = np.where(np.arange(400) % 4 == 0, "test", "train")
    path = tmp_path_factory.mktemp("numbers") / "numbers.csv"
    table.to_csv(path, index=False)
    return str(path)


def linear(latent: int, seed: int) -> vael.VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder, encoder = MLP(latent, [], 4), MLP(4, [], 2 * latent)
        return vael.VAE(GaussianPrior(latent), Gaussian(decoder, scale=0.7), GaussianPosterior(encoder))


def by_hand(run):
    """log p(x), rate and distortion of every test example from the weights and the raw file, by numpy and scipy."""
    table = pd.read_csv(run.recipe["data"]["source"])
    rows = np.flatnonzero(table.pop("split") == "test")
    loc, scale = (np.asarray([getattr(field, name) for field in run.schema.modelled]) for name in ("loc", "scale"))
    x = (table.to_numpy()[rows] - loc) / scale
    weights = {name: value.double().numpy() for name, value in run.model.state_dict().items()}
    w, b = weights["likelihood.network.layers.0.weight"], weights["likelihood.network.layers.0.bias"]
    out = x @ weights["posterior.network.layers.0.weight"].T + weights["posterior.network.layers.0.bias"]
    means, log_scales = np.split(out, 2, axis=1)
    rate = 0.5 * (means**2 + np.exp(2 * log_scales) - 1 - 2 * log_scales).sum(1)
    eps = run.model.noise_for(rows.tolist(), range(1), seed=0).latents[0][0].double().numpy()
    z = means + np.exp(log_scales) * eps
    jacobian = np.log(scale).sum()
    distortion = -norm(z @ w.T + b, 0.7).logpdf(x).sum(1) + jacobian
    log_px = multivariate_normal(b, w @ w.T + 0.49 * np.eye(4)).logpdf(x) - jacobian
    return {"elbo": -rate - distortion, "rate": rate, "distortion": distortion, "evidence": log_px}


def test_differences_and_their_paired_errors_are_those_computed_by_hand(fitted, numbers):
    """Closed forms by scipy on the raw table; float32 weights and rows leave 1e-4 nats of rounding."""
    runs = [fitted(numbers, model=linear(latent, seed), latent=None) for latent, seed in ((2, 0), (1, 1))]
    a, b = map(by_hand, runs)
    found = compare(*runs).runs[1]
    assert found.reason is None
    assert found.evidence.bound == "exact"
    for name in ("elbo", "rate", "distortion", "evidence"):
        apart = b[name] - a[name]
        assert found.difference[name].value == pytest.approx(apart.mean(), abs=1e-4)
        assert found.difference[name].standard_error == pytest.approx(apart.std(ddof=1) / 10, rel=1e-4)
        assert getattr(found, name).value == pytest.approx(b[name].mean(), abs=1e-4)
        assert getattr(found, name).standard_error == pytest.approx(b[name].std(ddof=1) / 10, rel=1e-4)


def test_the_numbers_of_a_run_are_those_of_evaluate(fitted, numbers):
    runs = [fitted(numbers), fitted(numbers, latent=3)]
    for run, found in zip(runs, compare(*runs, draws=40, max_examples=30).runs, strict=True):
        alone = run.evaluate(draws=40, max_examples=100)
        assert found.elbo.value == pytest.approx(alone.elbo.value, abs=1e-5)
        assert found.evidence.value == pytest.approx(alone.evidence.value, abs=4 * alone.evidence.standard_error)
        assert (found.active_units, found.latent) == (alone.active_units, run.model.latent)
        assert found.parameters == run.model.parameters_count


def test_pairing_sharpens_the_difference_of_two_like_runs(fitted):
    first, second = (fitted("digits", latent=latent, steps=200) for latent in (3, 4))
    _, found = compare(first, second, draws=10, max_examples=50).runs
    alone = np.hypot(*(run.elbo.standard_error for run in compare(first, second, draws=10, max_examples=50).runs))
    assert found.difference["elbo"].standard_error < 0.7 * alone
    assert found.difference["evidence"].standard_error < 0.7 * alone


def test_a_run_differs_from_itself_by_nothing(fitted, numbers):
    run = fitted(numbers)
    found = compare(run, run, draws=5, max_examples=10)
    assert {(number.value, number.standard_error) for number in found.runs[1].difference.values()} == {(0.0, 0.0)}
    assert "+0.00 ± 0.00" in str(found)
    assert "−0.00" not in str(found)


def test_one_split_in_two_orders_is_the_same_split(fitted, numbers):
    """Another seed shuffles the test rows that the file names; examples are paired by row, not by place."""
    first, second = fitted(numbers), fitted(numbers, seed=5)
    a, b = (run.data.split("test") for run in (first, second))
    assert not torch.equal(a.index, b.index)
    found = compare(first, second, draws=5, max_examples=10).runs[1]
    assert found.reason is None
    by_row = [
        dict(zip(split.index.tolist(), vael.evaluation.bounds(run.model, split).elbo.tolist(), strict=True))
        for run, split in ((first, a), (second, b))
    ]
    apart = np.asarray([by_row[1][row] - by_row[0][row] for row in by_row[0]])
    assert found.difference["elbo"].value == pytest.approx(apart.mean(), abs=1e-5)
    assert found.difference["elbo"].standard_error == pytest.approx(apart.std(ddof=1) / 10, rel=1e-4)


def test_a_part_of_the_split_is_shared_by_all_and_carried_to_the_whole(fitted):
    runs = [fitted("digits", latent=latent, steps=200) for latent in (3, 4)]
    whole, part = (compare(*runs, draws=50, max_examples=most).runs[1] for most in (None, 60))
    assert (whole.evidence.examples, part.evidence.examples) == (359, 60)
    assert whole.difference["evidence"].value == pytest.approx(
        part.difference["evidence"].value, abs=4 * part.difference["evidence"].standard_error
    )
    assert part.difference["evidence"].standard_error < 2 * whole.difference["evidence"].standard_error


# ── what may not be compared ─────────────────────────────────────────────────────────────────────────────────


def reason(*runs, **options):
    found = compare(*runs, draws=2, max_examples=3, **options)
    assert (found.runs[1].difference is None) == (found.runs[1].reason is not None)
    if found.runs[1].reason:
        assert f"no difference to {runs[0].folder}; {found.runs[1].reason}." in str(found)
    return found.runs[1].reason


def test_other_data_have_no_difference(fitted, numbers):
    assert "fitted on other data (iris)" in reason(fitted(numbers), fitted("iris"))


def test_another_split_has_no_difference(fitted):
    assert "its split holds other rows" in reason(fitted("iris"), fitted("iris", seed=1))


def test_a_mass_and_a_density_have_no_difference(fitted):
    plain, dense = fitted("digits"), fitted("digits", likelihood="gaussian", settings={"likelihood.step": 0.0})
    assert "field 'x' is scored by a density there, a probability mass here" in reason(plain, dense)


def test_a_spike_and_none_have_no_common_measure_off_the_grid():
    plain = Field("a", "real", view="standard")
    spiked = dataclasses.replace(plain, spike=0.0)
    words = "a density everywhere there, a mass at one value and a density beside it here"
    assert words in unlike(spiked, plain)
    assert unlike(spiked, spiked) is None
    on_grid = [dataclasses.replace(field, resolution=1.0) for field in (spiked, plain)]
    assert unlike(*on_grid) is None  # masses of cells either way
    assert "grid of 0.5 there, 1 here" in unlike(on_grid[0], dataclasses.replace(spiked, resolution=0.5))


def test_two_laws_of_one_measure_have_one(fitted):
    assert reason(fitted("digits"), fitted("digits", likelihood="categorical")) is None
    assert reason(fitted("digits"), fitted("digits", likelihood="gaussian")) is None  # masses of cells


def test_grey_values_and_zeros_and_ones_have_no_difference(fitted):
    binary = fitted("digits", likelihood="bernoulli")
    assert "as drawn zeros and ones there, as it is here" in reason(fitted("digits"), binary)
    cut = fitted("digits", likelihood="bernoulli", binarize="threshold")
    assert "cut at one half there, as drawn zeros and ones here" in reason(binary, cut)
    assert reason(binary, fitted("digits", likelihood="bernoulli", binarize="static")) is None


def test_a_grey_score_compares_with_itself_alone(fitted):
    grey = fitted("digits", likelihood="grey_bernoulli")
    assert "no density" in reason(fitted("digits"), grey)
    again = compare(grey, fitted("digits", likelihood="grey_bernoulli", latent=3)).runs[1]
    assert again.difference.keys() == {"elbo", "rate", "distortion"}
    assert (again.evidence, again.bits_per_dim) == (None, None)


def test_a_column_left_out_is_named(fitted, numbers):
    assert "only one of them models 'b'" in reason(fitted(numbers), fitted(numbers, ignore=["b"]))


def test_runs_on_data_in_memory_are_compared_on_what_is_handed_over(fitted):
    x = np.random.default_rng(0).normal(size=(120, 3))
    first, second = (vael.load(fitted(x, latent=latent).folder.path) for latent in (1, 2))
    with pytest.raises(DataError, match="Hand the data over again"):
        compare(first, second)
    found = compare(first, second, data=x[:50], draws=2, max_examples=3)
    assert (found.split, found.examples, found.runs[1].reason) == ("given data", 50, None)


def test_one_run_is_no_comparison(fitted, numbers):
    with pytest.raises(RecipeError, match="at least two runs, got 1"):
        compare(fitted(numbers))


# ── as a command ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_command_prints_the_table_and_the_same_as_json(fitted, numbers, capsys):
    runs = [fitted(numbers), fitted(numbers, latent=3)]
    words = [str(run.folder) for run in runs]
    assert command(["compare", *words, "--draws", "5", "--max-examples", "9", "--json"]) == 0
    *table, last = capsys.readouterr().out.splitlines()
    wanted = compare(*runs, draws=5, max_examples=9)
    assert "\n".join(table) == str(wanted)
    assert json.loads(last) == json.loads(dump_json(wanted.to_json()))
    assert table[0].split() == words
    apart = wanted.runs[1].difference["elbo"]
    assert next(line for line in table if "difference" in line).split("difference")[1].strip() == (
        f"{-apart.value:+.2f} ± {apart.standard_error:.2f}".replace("-", "−")  # of −ELBO: less is better
    )


def test_the_command_needs_two_runs_and_names_one_that_is_none(fitted, numbers, capsys, tmp_path):
    assert command(["compare", str(fitted(numbers).folder)]) == 1
    assert "at least two runs" in capsys.readouterr().err
    assert command(["compare", str(fitted(numbers).folder), str(tmp_path)]) == 1
    assert "is no run folder" in capsys.readouterr().err


def test_every_number_of_the_json_is_finite_or_null(fitted):
    few = pd.DataFrame({"a": np.random.default_rng(0).normal(size=12), "b": np.arange(12) % 3})
    runs = [fitted(few, split={"test": 0.1}, latent=latent) for latent in (1, 2)]
    found = compare(*runs, draws=1)
    assert found.examples == 1
    assert found.runs[1].difference["elbo"].standard_error is None
    parsed = json.loads(dump_json(dataclasses.asdict(found)), parse_constant=pytest.fail)
    assert parsed["runs"][1]["evidence"]["monte_carlo_error"] is None  # one draw says nothing of its spread
