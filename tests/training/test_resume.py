"""A run that was stopped, killed or ran out of disk goes on to the same end, bit for bit."""

import errno
import importlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import vael
from vael import files
from vael.errors import DamagedFile, Interrupted, RecipeError, TrainingError, WriteError
from vael.files import read_lines
from vael.objectives import AdversarialMatching, Score
from vael.training import Engine

# Pictures binarised anew at every step under a warm-up; and a likelihood with running statistics of its own.
SMALL = {"likelihood.network.hidden": [8], "posterior.network.hidden": [8]}
PICTURES = {"likelihood": "bernoulli", "latent": 3, "batch": 48, "warm_up": 25, "objective": vael.Beta(2.0)}
PICTURES |= {"settings": SMALL}
CONVOLUTIONS = {
    "likelihood.network.kind": "conv_decoder",
    "likelihood.network.channels": [4],
    "posterior.network.kind": "conv_encoder",
    "posterior.network.channels": [4],
}
CONVOLVED = {**PICTURES, "settings": CONVOLUTIONS}
ROWS = {"settings": {"likelihood.scale": "optimal", **SMALL}, "latent": 2, "batch": 32, "patience": 9}
BITS = {"prior": "bernoulli", "posterior": "bernoulli", "objective": Score(draws=2), "warm_up": 25}
BITS |= {"latent": 3, "batch": 48, "settings": SMALL}
CASES = {"pictures": ("digits", PICTURES), "convolutions": ("digits", CONVOLVED), "rows": ("iris", ROWS)}
CASES |= {"bits": ("iris", BITS)}
CRITIC = {"posterior": "deterministic", "objective": AdversarialMatching(hidden=[8]), "warm_up": 25}
CASES |= {"critic": ("iris", {**CRITIC, "latent": 2, "batch": 32, "settings": {**SMALL, "posterior.sparse": 0.1}})}
SCHEDULE = {"steps": 40, "evaluate_every": 10}


def lines_of(folder):
    """History without what a clock and an interruption leave in it."""
    kept = [line for line in read_lines(folder / "history.jsonl") if "resumed_at" not in line]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in kept]


def end_of(folder):
    tensors = ("model.safetensors", "checkpoint/last.safetensors")
    return [(folder / name).read_bytes() for name in tensors], lines_of(folder)


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    """Data, settings and end of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    data, settings = CASES[request.param]
    vael.fit(data, output=folder, **settings, **SCHEDULE)
    return data, settings, end_of(folder)


@pytest.fixture(scope="module")
def rows_end(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows") / "run"
    vael.fit("iris", output=folder, **ROWS, **SCHEDULE)
    return end_of(folder)


class Killed(BaseException):
    """The process is gone: no handler of ours gets to run."""


def stop_at(monkeypatch, step, how):
    plain = Engine.advance

    def advance(engine):
        plain(engine)
        if engine.step == step:
            monkeypatch.undo()
            how()

    monkeypatch.setattr(Engine, "advance", advance)


def kill():
    raise Killed


@pytest.mark.parametrize(
    ("step", "number"), [(1, signal.SIGINT), (13, signal.SIGTERM), (20, signal.SIGTERM), (39, signal.SIGINT)]
)
def test_stopped_at_any_step_and_resumed_it_ends_as_if_nothing_had_been(case, step, number, monkeypatch, tmp_path):
    data, settings, whole = case
    stop_at(monkeypatch, step, lambda: signal.raise_signal(number))
    with pytest.raises(
        Interrupted, match=rf"after step {step} of 40; nothing is lost\.\n  Go on with: vael fit --resume"
    ):
        vael.fit(data, output=tmp_path, **settings, **SCHEDULE)
    assert files.load_json(tmp_path / "manifest.json")["state"] == "interrupted"
    vael.resume(tmp_path)
    assert end_of(tmp_path) == whole
    assert [line["resumed_at"] for line in read_lines(tmp_path / "history.jsonl") if "resumed_at" in line] == [step]


@pytest.mark.parametrize("steps", [[13], [20], [4, 27, 39]])
def test_killed_any_number_of_times_it_ends_as_if_nothing_had_been(case, steps, monkeypatch, tmp_path):
    data, settings, whole = case
    for turn, step in enumerate(steps):
        stop_at(monkeypatch, step, kill)
        with pytest.raises(Killed):
            vael.fit(data, output=tmp_path, **settings, **SCHEDULE) if turn == 0 else vael.resume(tmp_path)
    vael.resume(tmp_path)
    assert end_of(tmp_path) == whole
    assert files.load_json(tmp_path / "manifest.json")["state"] == "finished"


@pytest.mark.parametrize("calls", range(1, 7))
def test_a_kill_between_any_two_files_of_an_evaluation_loses_nothing(calls, rows_end, monkeypatch, tmp_path):
    """Weights, history line and checkpoint are three files: a kill may come after any of them."""
    left = [calls]

    def then_kill(plain):
        def write(*arguments, **options):
            plain(*arguments, **options)
            left[0] -= 1
            if not left[0]:
                monkeypatch.undo()
                raise Killed

        return write

    for name in ("keep_best", "keep_line", "keep_checkpoint"):
        monkeypatch.setattr(vael.runs.RunFolder, name, then_kill(getattr(vael.runs.RunFolder, name)))
    with pytest.raises(Killed):
        vael.fit("iris", output=tmp_path / "run", **ROWS, **SCHEDULE)
    vael.resume(tmp_path / "run")
    assert end_of(tmp_path / "run") == rows_end


def test_a_kill_before_the_first_checkpoint_starts_again_and_says_so(rows_end, monkeypatch, tmp_path):
    module = importlib.import_module("vael.runs.fit")  # the package names the function like its file
    monkeypatch.setattr(module, "_train", lambda *arguments, **options: kill())
    with pytest.raises(Killed):
        vael.fit("iris", output=tmp_path / "run", **ROWS, **SCHEDULE)
    monkeypatch.undo()
    vael.resume(tmp_path / "run")
    assert end_of(tmp_path / "run") == rows_end
    assert read_lines(tmp_path / "run" / "history.jsonl")[0] == {"resumed_at": 0}


@pytest.mark.parametrize("written", [1, 2])
def test_a_kill_while_the_folder_is_laid_out_is_no_dead_end(written, monkeypatch, tmp_path):
    """Schema, recipe, manifest: without the manifest the folder is no run yet, and the same command works again."""
    plain, left = files.write_bytes, [written]

    def write(path, content):
        if not left[0]:
            raise Killed
        left[0] -= 1
        plain(path, content)

    monkeypatch.setattr(files, "write_bytes", write)
    monkeypatch.setattr("vael.runs.folder.write_bytes", write)
    with pytest.raises(Killed):
        vael.fit("iris", output=tmp_path, **ROWS, **SCHEDULE)
    monkeypatch.undo()
    assert vael.fit("iris", output=tmp_path, **ROWS, **SCHEDULE).history[-1]["step"] == 40


def test_a_full_disk_stops_the_run_and_it_goes_on_when_there_is_room(case, monkeypatch, tmp_path):
    data, settings, whole = case
    plain = files.write_bytes

    def full(path, content):
        if path.name == "last.safetensors" and (tmp_path / "history.jsonl").exists() and len(lines_of(tmp_path)) == 2:
            raise WriteError(f"{path}: could not be written ({os.strerror(errno.ENOSPC)}).")
        plain(path, content)

    monkeypatch.setattr(files, "write_bytes", full)
    with pytest.raises(WriteError, match="No space left on device"):
        vael.fit(data, output=tmp_path, **settings, **SCHEDULE)
    monkeypatch.undo()
    vael.resume(tmp_path)
    assert end_of(tmp_path) == whole


def test_a_torn_line_of_history_is_cut_when_the_run_goes_on(case, monkeypatch, tmp_path):
    data, settings, whole = case
    stop_at(monkeypatch, 25, kill)
    with pytest.raises(Killed):
        vael.fit(data, output=tmp_path, **settings, **SCHEDULE)
    with (tmp_path / "history.jsonl").open("ab") as file:
        file.write(b'{"step": 30, "epo')
    vael.resume(tmp_path)
    assert end_of(tmp_path) == whole


def test_an_interrupted_run_is_usable_from_its_first_evaluation_on(monkeypatch, tmp_path):
    stop_at(monkeypatch, 5, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(Interrupted):
        vael.fit("iris", output=tmp_path, **ROWS, **SCHEDULE)
    with pytest.raises(RecipeError, match=r"stopped before its first evaluation\. Go on with: vael fit --resume"):
        vael.load(tmp_path)
    stop_at(monkeypatch, 15, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(Interrupted):
        vael.resume(tmp_path)
    found = vael.load(tmp_path).evaluate(split="validation", draws=2)
    assert found.elbo.value == pytest.approx(lines_of(tmp_path)[0]["validation"]["elbo"], abs=1e-4)


def test_a_run_that_broke_keeps_its_best_weights_and_says_that_it_failed(tmp_path):
    rows = np.random.default_rng(0).normal(size=(60, 3))
    with pytest.raises(TrainingError, match="Lower the learning rate"):
        vael.fit(rows, output=tmp_path, learning_rate=1e30, steps=20, evaluate_every=5)
    assert files.load_json(tmp_path / "manifest.json")["state"] == "failed"
    tensors, _ = files.load_tensors(tmp_path / "checkpoint" / "last.safetensors")
    assert all(np.isfinite(value.numpy()).all() for value in tensors.values())


def test_a_stop_after_a_number_broke_keeps_the_last_good_state(rows_end, monkeypatch, tmp_path):
    """What is not finite is not kept: the run would never leave it again."""
    plain = Engine.advance

    def advance(engine):
        plain(engine)
        if engine.step == 13:
            monkeypatch.undo()
            engine.parameters[0].data[0] = np.nan
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Engine, "advance", advance)
    with pytest.raises(Interrupted):
        vael.fit("iris", output=tmp_path / "run", **ROWS, **SCHEDULE)
    vael.resume(tmp_path / "run")
    assert end_of(tmp_path / "run") == rows_end


# ── what cannot be resumed ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def stopped(monkeypatch, tmp_path):
    stop_at(monkeypatch, 25, kill)
    with pytest.raises(Killed):
        vael.fit("iris", output=tmp_path, **ROWS, **SCHEDULE)
    return tmp_path


def test_a_finished_run_is_not_resumed(stopped):
    vael.resume(stopped)
    with pytest.raises(RecipeError, match="is finished; there is nothing to resume"):
        vael.resume(stopped)


def test_a_damaged_checkpoint_is_refused_by_name_and_not_started_from_zero(stopped):
    path = stopped / "checkpoint" / "last.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DamagedFile, match=r"last\.safetensors: damaged"):
        vael.resume(stopped)


def test_a_checkpoint_of_another_model_is_refused_by_name(stopped, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "run"
    vael.fit("iris", output=other, latent=5, steps=10)
    path = "checkpoint/last.safetensors"
    (stopped / path).write_bytes((other / path).read_bytes())
    with pytest.raises(DamagedFile, match="does not belong to this model"):
        vael.resume(stopped)


def test_a_missing_checkpoint_beside_history_is_refused_and_not_started_from_zero(stopped):
    (stopped / "checkpoint" / "last.safetensors").unlink()
    with pytest.raises(DamagedFile, match=r"last\.safetensors: is missing"):
        vael.resume(stopped)


# ── real processes ───────────────────────────────────────────────────────────────────────────────────────────

LONG = {"latent": 2, "steps": 300, "evaluate_every": 5}
OPTIONS = ["iris", "--latent=2", "--steps=300", "--set=training.evaluate_every=5"]


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long") / "run"
    vael.fit("iris", output=folder, settings=SMALL, **LONG)
    return end_of(folder)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_real_process_stopped_by_a_signal_leaves_a_run_that_resumes_bit_for_bit(number, code, long_run, tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "vael", "fit", *OPTIONS, "-o", str(folder)]
    command += [f"--set={key}={value}" for key, value in SMALL.items()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while len(read_lines(folder / "history.jsonl")) < 2 and time.monotonic() < until:
            time.sleep(0.005)
        process.send_signal(number)
        out, told = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    if number != signal.SIGKILL:
        assert f"Go on with: vael fit --resume -o {folder}" in told
    vael.resume(folder)
    resumed = [line["resumed_at"] for line in read_lines(folder / "history.jsonl") if "resumed_at" in line]
    assert len(resumed) == 1
    assert 0 < resumed[0] < 300
    assert end_of(folder) == long_run


def test_two_processes_cannot_train_one_run(stopped):
    program = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(stopped / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(WriteError, match="another process is writing this run"):
            vael.resume(stopped)
        other.kill()


def test_history_is_strict_json_with_a_check_in_every_line(stopped):
    vael.resume(stopped)
    for line in (stopped / "history.jsonl").read_text().splitlines():
        assert "crc" in json.loads(line, parse_constant=pytest.fail)
