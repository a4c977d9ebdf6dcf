"""vael doctor, as a person uses it."""

import json

import numpy as np
import pytest

import vael
from vael.cli.app import run


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
    found = made.doctor(draws=10, examples=10)
    assert any("z is discrete" in text for text in found.unknown)
    assert found.numbers["total_correlation"] is not None
