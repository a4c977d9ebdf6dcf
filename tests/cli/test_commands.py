"""Every verb as a person uses it: run, read what is printed, open what was written."""

import gzip
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import vael
from vael.cli.app import VERBS, run

QUICK = ["--steps", "6", "--latent", "2"]


@pytest.fixture
def vael_(capsys):
    """Run a command; its exit code and what it printed on stdout and stderr."""

    def command(*arguments):
        code = run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


@pytest.fixture
def good(vael_):
    """Run a command that must succeed; what it printed on stdout."""

    def command(*arguments):
        code, out, err = vael_(*arguments)
        assert code == 0, err
        return out

    return command


@pytest.fixture
def digits(digits_run):
    return digits_run.folder.path


@pytest.fixture
def table(people_run):
    return people_run.folder.path


def last_line(out):
    return json.loads(out.splitlines()[-1], parse_constant=pytest.fail)


# ── fit and evaluate ─────────────────────────────────────────────────────────────────────────────────────────

NUMBERS = {
    "run", "split", "examples", "unit", "dims", "latent", "parameters", "seconds",
    "elbo", "evidence", "rate", "distortion", "bits_per_dim", "active_units", "rate_per_unit", "code_perplexity",
    "warnings",
}  # fmt: skip
EVIDENCE = {
    "value", "standard_error", "monte_carlo_error", "method", "bound", "draws", "examples", "effective_sample_size"
}  # fmt: skip


def test_fit_prints_the_run_last_and_everything_else_as_progress(vael_, tmp_path):
    code, out, err = vael_("fit", "digits", *QUICK, "-o", tmp_path / "run")
    assert (code, out) == (0, f"run         {tmp_path / 'run'}\n")
    for word in (
        "data ",
        "train 1258",
        "discretized_logistic",
        "posterior",
        "β",
        "seed 0",
        "parameters",
        "−ELBO",
        "done",
    ):
        assert word in err


def test_a_quiet_fit_says_no_more_than_where_the_run_lies(vael_, tmp_path):
    _, out, err = vael_("fit", "iris", *QUICK, "-o", tmp_path / "run", "--quiet")
    assert out == f"run         {tmp_path / 'run'}\n"
    assert "−ELBO" not in err


@pytest.mark.parametrize("data", ["digits", "iris"])
def test_the_last_line_of_fit_is_json_with_every_documented_key(good, tmp_path, data):
    found = last_line(good("fit", data, *QUICK, "-o", tmp_path / "run", "--json"))
    assert found.keys() >= NUMBERS
    assert (found["run"], found["split"], found["latent"]) == (str(tmp_path / "run"), "validation", 2)
    assert found["elbo"].keys() >= {"value", "standard_error", "draws"}
    assert found["elbo"]["value"] == pytest.approx(-found["rate"]["value"] - found["distortion"]["value"])
    best = [line for line in vael.load(tmp_path / "run").history if line.get("best")][-1]
    assert found["elbo"]["value"] == pytest.approx(best["validation"]["elbo"], abs=1e-4)
    assert found["evidence"] is None
    assert "vael evaluate" in found["reasons"]["evidence"]


@pytest.mark.parametrize("name", ["digits", "table"])
def test_the_last_line_of_evaluate_is_json_with_every_documented_key(good, name, request):
    folder = request.getfixturevalue(name)
    found = last_line(good("evaluate", folder, "--draws", 40, "--json"))
    assert found.keys() >= NUMBERS
    assert found["evidence"].keys() >= EVIDENCE
    assert found["evidence"]["draws"] == 40
    assert found["evidence"]["effective_sample_size"].keys() == {"median", "min"}
    assert len(found["rate_per_unit"]) == found["latent"]
    assert sum(found["rate_per_unit"]) == pytest.approx(found["rate"]["value"], abs=1e-3)
    kept = json.loads((folder / "evaluation.json").read_text())
    assert {key: value for key, value in kept.items() if key in found} == found
    assert kept["weights"] == sha256((folder / "model.safetensors").read_bytes()).hexdigest()  # whose numbers they are


def test_evaluate_tells_people_value_error_unit_and_method(good, digits):
    out = good("evaluate", digits, "--draws", 20, "--max-examples", 30)
    for word in (
        "−ELBO",
        "±",
        "nats per example (test, 359 examples",
        "20 draws, 30 of 359 examples",
        "effective sample",
        "bits/dim",
    ):
        assert word in out


def test_other_data_are_one_split_and_leave_the_kept_evaluation_alone(good, table, people, tmp_path):
    kept = (table / "evaluation.json").read_bytes() if (table / "evaluation.json").exists() else None
    pd.read_csv(people).head(40).to_csv(tmp_path / "some.csv", index=False)
    found = last_line(good("evaluate", table, tmp_path / "some.csv", "--draws", 5, "--json"))
    assert (found["split"], found["examples"]) == ("given data", 40)
    assert kept == ((table / "evaluation.json").read_bytes() if kept else None)


def test_set_and_its_kin_reach_the_recipe(good, tmp_path):
    options = [
        "--set",
        "training.batch=32",
        "--set",
        "likelihood.network.hidden=[16]",
        "--objective",
        "beta",
        "--beta",
        "4",
    ]
    options += [
        "--set",
        "training.schedule=constant",
        "--ignore",
        "petal_width_cm",
        "--split",
        "test=0.4",
        "--seed",
        "3",
    ]
    good("fit", "iris", *QUICK, *options, "-o", tmp_path / "run")
    recipe = vael.load(tmp_path / "run").recipe
    assert (recipe["training"]["batch"], recipe["training"]["schedule"]) == (32, "constant")
    assert recipe["likelihood"]["network"]["hidden"] == [16]
    assert recipe["objective"] == {"kind": "beta", "beta": 4.0}
    assert (recipe["data"]["split"], recipe["data"]["ignore"], recipe["seed"]) == ({"test": 0.4}, ["petal_width_cm"], 3)


def test_members_of_the_rooms_are_chosen_by_their_kinds(good, tmp_path):
    options = [
        "--posterior",
        "low-rank-gaussian",
        "--set",
        "posterior.rank=3",
        "--objective",
        "free_bits",
        "--draws",
        "2",
    ]
    good("fit", "iris", *QUICK, *options, "--set", "objective.bits=0.2", "-o", tmp_path / "run")
    recipe = vael.load(tmp_path / "run").recipe
    assert (recipe["posterior"]["kind"], recipe["posterior"]["rank"]) == ("low_rank_gaussian", 3)
    assert recipe["objective"] == {"kind": "free_bits", "bits": 0.2, "draws": 2}


def test_a_new_member_of_a_room_is_an_option_at_once(good, tmp_path, monkeypatch):
    """An export is all it takes: the command line keeps no list of names."""

    class DistantPrior(vael.priors.GaussianPrior):
        pass

    class NarrowGaussianPosterior(vael.posteriors.GaussianPosterior):
        pass

    @dataclass(frozen=True)
    class Halved:
        share: float = 0.5
        draws: int = 1

        def __call__(self, terms):
            return self.share * terms.elbo

    for room, member in (("priors", DistantPrior), ("posteriors", NarrowGaussianPosterior), ("objectives", Halved)):
        module = getattr(vael, room)
        monkeypatch.setattr(module, member.__name__, member, raising=False)
        monkeypatch.setattr(module, "__all__", [*module.__all__, member.__name__])
    options = ["--prior", "distant", "--posterior", "narrow_gaussian", "--objective", "halved", "--draws", "3"]
    good("fit", "iris", *QUICK, *options, "--set", "objective.share=0.25", "-o", tmp_path / "run")
    recipe = vael.load(tmp_path / "run").recipe
    assert [recipe[room]["kind"] for room in ("prior", "posterior", "objective")] == [
        "distant",
        "narrow_gaussian",
        "halved",
    ]
    assert recipe["objective"] == {"kind": "halved", "share": 0.25, "draws": 3}


def test_runs_without_a_name_are_numbered_and_the_latest_is_meant(good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good("fit", "iris", *QUICK)
    good("fit", "digits", *QUICK)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["digits-1", "iris-1"]
    assert last_line(good("sample", "--json"))["run"] == "runs/digits-1"
    assert (tmp_path / "runs/digits-1/figures/samples.png").exists()


# ── sample and reconstruct ───────────────────────────────────────────────────────────────────────────────────


def tiles(path, width=48):
    """How many tiles of 48 × `width` pixels stand on a sheet, 2 apart, that are not the colour between them."""
    sheet = np.asarray(Image.open(path))
    down, across = (sheet.shape[0] - 2) // 50, (sheet.shape[1] - 2) // (width + 2)
    assert sheet.shape[:2] == (2 + 50 * down, 2 + (width + 2) * across)
    starts = [(2 + 50 * i, 2 + (width + 2) * j) for i in range(down) for j in range(across)]
    return sum(1 for top, left in starts if (sheet[top : top + 48, left : left + width] != 96).any())


@pytest.mark.parametrize("number", [1, 10, 64])
def test_a_sheet_has_a_tile_for_every_picture(good, digits, tmp_path, number):
    good("sample", digits, "-n", number, "-o", tmp_path / "sheet.png")
    assert tiles(tmp_path / "sheet.png") == number


def test_reconstructions_stand_beside_their_originals(good, digits, tmp_path):
    good("reconstruct", digits, "-o", tmp_path / "pairs.png")
    assert tiles(tmp_path / "pairs.png", width=2 * 48 + 1) == 64


def test_p35_the_same_seed_draws_the_same_and_another_seed_something_else(good, digits, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        good("sample", digits, "-n", 16, "--seed", seed, "-o", tmp_path / f"{name}.npz")
    a, b, c = (np.load(tmp_path / f"{name}.npz")["x"] for name in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    assert (a.dtype, a.shape) == (np.uint8, (16, 1, 8, 8))
    assert a.max() <= 16


def test_means_are_smoother_than_draws(good, digits, tmp_path):
    good("sample", digits, "-n", 64, "-o", tmp_path / "draws.npz")
    good("sample", digits, "-n", 64, "--mean", "-o", tmp_path / "means.npz")
    draws, means = (np.load(tmp_path / f"{name}.npz")["x"].astype(float) for name in ("draws", "means"))
    assert np.abs(np.diff(means, axis=-1)).mean() < np.abs(np.diff(draws, axis=-1)).mean()


@pytest.mark.parametrize("verb", ["sample", "reconstruct"])
def test_a_table_comes_back_with_the_columns_types_and_values_of_the_users_own(good, table, people, tmp_path, verb):
    good(verb, table, "-o", tmp_path / "out.csv")
    own, found = pd.read_csv(people), pd.read_csv(tmp_path / "out.csv")
    assert list(found.columns) == list(own.columns)
    assert (found.dtypes == own.dtypes).all()
    assert (found["country"] == "CH").all()
    assert set(found["city"]) <= {"Bern", "Oslo", "Rome, old town"}
    assert set(found["member"]) <= {True, False}
    assert found["visits"].min() >= 0
    assert not found.isna().any().any()
    assert np.allclose(found["height"] * 10, np.rint(found["height"] * 10))  # on the grid the data lie on


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet", "npz"])
def test_every_format_of_a_table_holds_the_same_sample(good, table, tmp_path, suffix):
    path = tmp_path / f"out.{suffix}"
    good("sample", table, "-n", 9, "-o", path)
    if suffix == "npz":
        found = pd.DataFrame(dict(np.load(path).items()))
    elif suffix == "parquet":
        found = pd.read_parquet(path)
    else:
        content = gzip.decompress(path.read_bytes()) if suffix == "csv.gz" else path.read_bytes()
        (tmp_path / "plain.csv").write_bytes(content)
        found = pd.read_csv(tmp_path / "plain.csv")
    wanted = pd.DataFrame(vael.load(table).sample(9, seed=0))
    pd.testing.assert_frame_equal(found, wanted, check_dtype=False)


# ── encode and data ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["digits", "table"])
def test_p25_encoding_twice_gives_the_same_bytes(good, name, request, tmp_path):
    folder = request.getfixturevalue(name)
    for turn in "ab":
        good("encode", folder, "-o", tmp_path / f"{turn}.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    found = pd.read_csv(tmp_path / "a.csv")
    run = vael.load(folder)
    assert list(found.columns) == [f"z{unit + 1}" for unit in range(run.model.latent)]
    assert np.array_equal(found.to_numpy(), run.encode())


def test_other_data_are_encoded_row_by_row_in_their_order(good, table, people, tmp_path):
    good("encode", table, people, "-o", tmp_path / "all.npy")
    pd.read_csv(people).iloc[[7, 3]].to_csv(tmp_path / "two.csv", index=False)
    good("encode", table, tmp_path / "two.csv", "-o", tmp_path / "two.npy")
    whole, two = np.load(tmp_path / "all.npy"), np.load(tmp_path / "two.npy")
    assert whole.shape == (300, 3)
    np.testing.assert_allclose(two, whole[[7, 3]], atol=1e-6)


def test_data_tells_what_each_column_is_and_how_it_is_modelled(good, people):
    out = good("data", people)
    for words in ("300 examples", "always 'CH'", "negative_binomial", "categorical", "bernoulli", "missing"):
        assert words in out
    found = last_line(good("data", people, "--json", "--column", "age=real", "--ignore", "visits"))
    kinds = {field["name"]: field["kind"] for field in found["fields"]}
    assert (kinds["age"], kinds["country"], kinds["city"]) == ("real", "constant", "category")
    assert next(field for field in found["fields"] if field["name"] == "visits")["role"] == "ignored"


def test_the_files_written_are_named_in_the_json(good, digits, tmp_path):
    for verb, name in {"sample": "s.png", "encode": "e.npz", "reconstruct": "r.png"}.items():
        found = last_line(good(verb, digits, "-o", tmp_path / name, "--json"))
        assert found["file"] == str(tmp_path / name)
        assert (tmp_path / name).exists()


# ── failures ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["fit", "digitz"], "Did you mean 'digits'"),
        (["fit"], "DATA is missing"),
        (["fit", "nowhere.csv"], "there is no such file"),
        (["fit", "iris", "--latent", "0"], "latent must be a whole number of at least 1, got 0"),
        (["fit", "iris", "--epochs", "0"], "epochs must be above 0, got 0"),
        (["fit", "iris", "--likelihood", "bernoulli"], "needs zeros and ones"),
        (["fit", "iris", "--beta", "2"], "goes with --objective beta or ciwae or total_correlation"),
        (
            ["fit", "iris", "--objective", "fre_bits"],
            "There are: adversarial_matching, beta, capacity, ciwae, dip, dreg, elbo, factor,",
        ),
        (
            ["fit", "iris", "--posterior", "gausian"],
            "Did you mean 'gaussian'?",
        ),
        (
            ["fit", "iris", "--prior", "gausian"],
            "Did you mean 'gaussian'",
        ),
        (
            ["fit", "iris", "--objective", "free_bits", "--beta", "2"],
            "beta or ciwae or total_correlation, got free_bits",
        ),
        (["fit", "iris", "--cycles", "3"], "each needs a warm_up shorter than that, got 0"),
        (["fit", "iris", "--set", "training.batch"], "expected NAME=VALUE"),
        (["fit", "iris", "--set", "trainig.batch=3"], "Did you mean 'training'"),
        (["fit", "iris", "--column", "species"], "expected NAME=VALUE"),
        (["fit", "iris", "--split", "tset=0.1"], "give a share to validation or test"),
        (["fit", "iris", "--device", "cuda:99"], "cannot be used here"),
        (["evaluate", "nowhere"], "is no run folder"),
        (["evaluate"], "no run in runs/"),
        (["sample", "DIGITS", "-n", "0"], "must be at least 1, got 0"),
        (["sample", "DIGITS", "-o", "x.gif"], "no format is known by that ending"),
        (["evaluate", "DIGITS", "--draws", "0"], "draws must be a whole number of at least 1, got 0"),
        (["evaluate", "DIGITS", "--method", "exact"], "closed form"),
        (["evaluate", "DIGITS", "--method", "guess"], "unknown method 'guess'. There are: auto, annealed, defensive"),
        (["evaluate", "DIGITS", "--method", "prior", "--set", "warm=3"], "prior_sampling: unknown setting 'warm'"),
        (["evaluate", "DIGITS", "iris"], "no column 'x', which the model was fitted on"),
        (["sample", "TABLE", "-o", "x.png"], "these data are no pictures"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_failure_is_one_for_a_stated_reason(vael_, digits, table, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    code, out, err = vael_(*({"DIGITS": digits, "TABLE": table}.get(word, word) for word in arguments))
    assert (code, out) == (1, "")
    assert told in err
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "arguments",
    [["fti"], ["fit", "iris", "--lattent", "3"], ["fit", "iris", "--latent", "many"], ["fit", "iris", "extra"],
     ["sample", "--nummer", "3"]],
)  # fmt: skip
def test_wrong_usage_is_two_and_says_which_word(vael_, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    code, out, err = vael_(*arguments)
    assert (code, list(tmp_path.iterdir())) == (2, [])
    assert next(word for word in arguments[::-1] if word not in ("iris", "3"))[:4].lstrip("-") in out + err


def test_an_interrupt_is_a_hundred_and_thirty_with_the_way_on(vael_, tmp_path, monkeypatch):
    def stop(engine):
        raise KeyboardInterrupt

    monkeypatch.setattr(vael.training.Engine, "advance", stop)
    code, out, err = vael_("fit", "iris", *QUICK, "-o", tmp_path / "run")
    assert (code, out) == (130, "")
    assert f"Go on with: vael fit --resume -o {tmp_path / 'run'}" in err
    monkeypatch.undo()
    code, _, err = vael_("fit", "--resume", "-o", tmp_path / "run")
    assert code == 0
    assert "resumed" in err


def test_a_mistake_of_ours_is_not_taken_for_one_of_the_user(vael_, digits, monkeypatch):
    monkeypatch.setattr(vael.runs.Run, "sample", lambda *arguments, **options: 1 / 0)
    code, _, err = vael_("sample", digits)
    assert code == 1
    assert "ZeroDivisionError" in err
    assert "a mistake in vael itself" in err


def test_a_damaged_run_is_named(vael_, digits, tmp_path):
    copy = shutil.copytree(digits, tmp_path / "copy")
    (copy / "model.safetensors").write_bytes(b"")
    code, out, err = vael_("evaluate", copy)
    assert (code, out) == (1, "")
    assert err.startswith(f"DamagedFile: {copy}/model.safetensors: ")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(good, verb):
    out = good(verb, "--help")
    assert f"vael {verb} " in out
    assert "Example" in out
    assert "--json" in out


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"], ["evaluate", "--help"], ["--version"]])
def test_help_is_given_without_waiting_for_torch(arguments):
    program = "import sys; from vael.cli.app import run; code = run(sys.argv[1:])\n"
    program += "assert 'torch' not in sys.modules; sys.exit(code)"
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


# ── as a process ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_installed_command_keeps_stdout_for_results(tmp_path):
    command = [sys.executable, "-m", "vael", "fit", "iris", *QUICK, "-o", str(tmp_path / "run"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2
    assert last_line(done.stdout)["run"] == str(tmp_path / "run")
    assert "\x1b" not in done.stderr + done.stdout  # no terminal, no colours
    again = subprocess.run([*command[:3], "nonsense"], capture_output=True, text=True, check=False)
    assert (again.returncode, again.stdout) == (2, "")


def test_options_that_a_resumed_run_cannot_heed_are_refused(capsys):
    assert run(["fit", "--resume", "-o", "nowhere", "--objective", "beta"]) == 1
    assert "leave out --objective" in capsys.readouterr().err
    assert run(["fit", "--resume", "-o", "nowhere", "--epochs", "3", "--latent", "2"]) == 1
    assert "goes on with the recipe as it is; leave out --epochs, --latent" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_told_in_words(capsys):
    assert run(["fit", "digits", "-o", "/proc/x", "--steps", "2", "--quiet"]) == 1
    assert "/proc/x: cannot be written" in capsys.readouterr().err
