"""vael doctor, as a person uses it."""

import dataclasses
import json
import shlex

import numpy as np
import pytest
import torch

import vael
from vael import VAE, RecipeError
from vael.cli.app import run
from vael.diagnostics import diagnose, examine
from vael.distributions.spike_slab import SpikeSlab
from vael.likelihoods import Gaussian
from vael.networks import MLP
from vael.numbers import Number
from vael.posteriors import SpikeSlabPosterior
from vael.priors import SpikeSlabPrior
from vael.runs.doctor import case_of, scoring


@pytest.fixture
def good(capsys):
    def command(*arguments):
        code = run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert code == 0, said.err
        return said.out

    return command


def test_the_diagnosis_of_a_short_run_has_a_finding_with_all_its_parts(good, digits_run):
    out = good("doctor", digits_run.folder.path, "--draws", "20", "--examples", "20", "--json")
    text, last = out.rsplit("\n", 2)[0], json.loads(out.splitlines()[-1], parse_constant=pytest.fail)
    assert text.startswith("verdict      ")
    assert last["run"] == str(digits_run.folder)
    assert last["examples"] == 359
    for finding in last["findings"]:
        assert set(finding) == {"name", "what", "why", "evidence", "remedy", "cost"}
        assert finding["what"][:30] in text
        assert finding["remedy"][0].startswith("vael fit digits --latent 4 ") or "vael evaluate" in finding["remedy"][0]
    assert last["healthy"] == (not last["findings"])
    rate = last["numbers"]["mutual_information"]["value"] + last["numbers"]["marginal_kl"]["value"]
    assert last["numbers"]["rate"]["value"] == pytest.approx(rate, abs=1e-4)


def test_a_table_of_every_kind_of_column_with_holes_is_looked_at_too(good, people_run, people):
    out = good("doctor", people_run.folder.path, "--draws", "20", "--examples", "20", "--json")
    last = json.loads(out.splitlines()[-1], parse_constant=pytest.fail)
    assert any("linear theory" in text for text in last["unknown"])
    assert last["numbers"]["predicted_active_units"] is None
    others = good("doctor", people_run.folder.path, people, "--draws", "20", "--examples", "20")
    assert "by 300 examples of given data" in others


def test_the_same_seed_gives_the_same_diagnosis(digits_run):
    first, second = (digits_run.doctor(draws=10, examples=10, seed=4) for _ in range(2))
    assert first == second
    assert digits_run.doctor(draws=10, examples=10, seed=5) != first


def test_training_rows_can_be_looked_at(digits_run):
    found = digits_run.doctor(split="train", draws=10, examples=10)
    assert found.examples == len(digits_run.data.split("train"))
    assert found.numbers["held_out"] is None


def test_data_without_a_density_are_diagnosed_without_log_p(tmp_path):
    grey = np.random.default_rng(0).random((60, 5)).astype(np.float32)
    made = vael.fit(grey, likelihood="grey_bernoulli", output=tmp_path / "run", steps=10, latent=2)
    found = made.doctor()
    assert any("x has no density" in text for text in found.unknown)


def test_a_model_of_bits_is_looked_at(tmp_path):
    bits = (np.random.default_rng(0).random((80, 6)) > 0.5).astype(np.float32)
    settings = {"posterior.enumerates": True}
    made = vael.fit(
        bits, output=tmp_path / "run", steps=10, latent=3, prior="bernoulli", posterior="bernoulli", settings=settings
    )
    found = made.doctor(draws=2, examples=10)
    assert any("z is discrete" in text for text in found.unknown)
    assert found.numbers["total_correlation"] is not None
    # All states are summed, so log p(x) is no estimate that could lie below the bound.
    assert found.numbers["held_out"]["gap"]["value"] >= 0
    assert found.numbers["effective_sample_size"] is None
    split = made.split_of(None)
    elbo, log_px, _ = scoring(made.model, 2, 0)(split)
    states = made.model.prior().every().expand(-1, len(split), -1)
    with torch.inference_mode():
        truth = made.model.log_joint(split.batch(torch.arange(len(split))), states).double().logsumexp(0)
    torch.testing.assert_close(log_px, truth, atol=1e-4, rtol=0)  # sums in single precision
    assert (log_px >= elbo - 1e-4).all()


def test_spikes_are_looked_at_without_ranks(tmp_path, monkeypatch):
    monkeypatch.setattr(SpikeSlab, "atomic", True, raising=False)
    rows = np.random.default_rng(0).normal(size=(80, 4))
    model = VAE(SpikeSlabPrior(2), Gaussian(MLP(2, [], 4), scale="shared"), SpikeSlabPosterior(2))
    made = vael.fit(rows, model=model, output=tmp_path / "run", steps=10)
    found = made.doctor(draws=10, examples=10)
    assert any("calibration: z has point masses" in text for text in found.unknown)
    assert found.numbers["coverage"] is None


@pytest.mark.parametrize("examples", [0, -1])
def test_no_examples_are_refused_in_words(digits_run, capsys, examples):
    with pytest.raises(RecipeError, match=f"doctor: examples must be at least 1, .* got {examples}"):
        digits_run.doctor(examples=examples)
    assert run(["doctor", str(digits_run.folder.path), "--examples", str(examples)]) == 1
    assert "examples must be at least 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        {"prior": "bernoulli", "posterior": "bernoulli", "objective": "vimco"},
        {"prior": "bernoulli", "posterior": "bernoulli", "objective": "wake_wake"},
        {"prior": "bernoulli", "posterior": "bernoulli", "objective": "score", "settings": {"prior.learned": True}},
        {"prior": "bernoulli", "posterior": "bernoulli", "settings": {"posterior.temperature": 0.5}},
        {"prior": "bernoulli", "posterior": "bernoulli", "settings": {"posterior.enumerates": True}},
        {"prior": "categorical", "posterior": "categorical", "objective": "vimco", "settings": {"prior.groups": 2}},
    ],
    ids=str,
)
def test_every_remedy_for_a_discrete_run_is_one_that_fit_takes(tmp_path, options):
    """Symptoms of every kind, each remedy's command run for three steps."""
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(80, 4)))
    made = vael.fit(
        str(tmp_path / "rows.npy"), output=tmp_path / "run", steps=3, latent=4, likelihood="laplace", **options
    )
    case = case_of(made.recipe, made.history, made.schema)
    s = examine(
        made.model, made.split_of(None), made.data.split("train"), case, score=scoring(made.model, 5, 0), draws=5
    )
    sick = dataclasses.replace(
        s,
        effective=(1.0, 200),
        marginal=20.0,
        fit=dataclasses.replace(s.fit, model=Number(9.0, 0.1), encoder=Number(9.0, 0.1)),
        course=dataclasses.replace(s.course, best_last=True, late_gain=5.0, whole_gain=9.0),
    )
    lost = dataclasses.replace(
        s, active=0, use=dataclasses.replace(s.use, of_z=Number(0.0, 0.1), of_x=Number(0.0, 0.1))
    )
    found = [*diagnose(sick, case).findings, *diagnose(lost, case).findings]
    assert {"loose_evidence", "overfitting", "z_not_found"} <= {finding.name for finding in found}
    for number, finding in enumerate(found):
        assert "full_gaussian" not in str(finding.remedy)
        verb, *words = shlex.split(finding.remedy[0])[1:]
        if "--steps" in words:
            at = words.index("--steps")
            words = words[:at] + words[at + 2 :]
        if "--warm-up" in words:
            words[words.index("--warm-up") + 1] = "2"
        folder = tmp_path / str(number)
        assert run([verb, *words, "--steps", "3", "-o", str(folder), "--quiet"]) == 0, finding.remedy[0]
        again = vael.load(folder).recipe
        for room in ("prior", "likelihood", "posterior", "objective"):
            assert again[room]["kind"] == made.recipe[room]["kind"]
        assert again["prior"] == made.recipe["prior"]
