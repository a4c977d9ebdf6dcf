"""`torchrun -m vael fit`: one folder, one voice, and a lost rank that costs a few steps."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import vael
from vael.errors import Interrupted, RecipeError, WriteError
from vael.runs.folder import RunFolder
from vael.runs.shared import standing
from vael.training import Ranks

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--monitor-interval", "0.2"]
FIT = ["-m", "vael", "fit", "digits", "--latent", "3", "--set", "training.evaluate_every=50", "--patience", "0"]
FILES = ("model.safetensors", "checkpoint/last.safetensors", "recipe.toml", "schema.json")


def started(folder, *options, restarts=0, steps=600):
    command = [*TORCHRUN, "--nproc-per-node", "2", "--max-restarts", str(restarts), *FIT, "--steps", str(steps)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, "-o", str(folder), *options],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def lines(folder):
    path = folder / "history.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def ranks_of(agent):
    """Process numbers of the agent's workers, by rank."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(entry.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            if parent == agent.pid:
                words = dict(word.partition("=")[::2] for word in entry.joinpath("environ").read_text().split("\0"))
                found[int(words["RANK"])] = int(entry.name)
        except (OSError, KeyError):
            continue  # it has ended, or is none of the ranks
    return found


def once_evaluated(agent, folder, times):
    """Wait until the history has as many lines; the ranks' process numbers."""
    until = time.monotonic() + 60
    while len(lines(folder)) < times:
        assert agent.poll() is None, agent.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.02)
    return ranks_of(agent)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two ranks that nothing happened to: its folder and what was printed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    agent = started(folder, "--json")
    out, err = agent.communicate(timeout=120)
    assert agent.returncode == 0, err
    return folder, out, err


def test_two_ranks_keep_one_run_and_speak_once(whole):
    folder, out, err = whole
    assert out.count("run         ") == 1
    assert json.loads(out.splitlines()[-1])["steps"] == 600
    assert err.count("done        all steps done") == 1
    run = vael.load(folder)
    assert run.folder.state == "finished"
    assert [line["step"] for line in run.history] == list(range(50, 601, 50))


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for the ranks in /proc")
@pytest.mark.parametrize("lost", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_killed_rank_is_restarted_and_the_run_ends_as_if_nothing_had_been(lost, whole, tmp_path):
    folder = tmp_path / "run"
    agent = started(folder, restarts=1)
    os.kill(once_evaluated(agent, folder, 3)[lost], signal.SIGKILL)
    _, err = agent.communicate(timeout=120)
    assert agent.returncode == 0, err
    resumed = [line["resumed_at"] for line in lines(folder) if "resumed_at" in line]
    assert len(resumed) == 1
    assert resumed[0] >= 100
    for name in FILES:
        assert (folder / name).read_bytes() == (whole[0] / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for the ranks in /proc")
def test_a_spread_model_is_kept_whole_and_goes_on_after_a_kill(tmp_path):
    folder, calm = tmp_path / "run", tmp_path / "calm"
    agent = started(folder, "--shard", restarts=1)
    os.kill(once_evaluated(agent, folder, 3)[1], signal.SIGKILL)
    _, err = agent.communicate(timeout=120)
    assert agent.returncode == 0, err
    assert [line for line in lines(folder) if "resumed_at" in line]
    agent = started(calm, "--shard")
    agent.communicate(timeout=120)
    assert agent.returncode == 0
    for name in FILES:
        assert (folder / name).read_bytes() == (calm / name).read_bytes(), name
    assert vael.load(folder).model.parameters_count > 100_000


def test_nothing_is_spread_over_one_process(tmp_path):
    with pytest.raises(RecipeError, match="--shard: spreads a model over several processes"):
        vael.fit("iris", output=tmp_path / "run", shard=True, **OPTIONS)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for the ranks in /proc")
def test_a_stop_asked_of_the_agent_stops_all_at_one_step_with_a_checkpoint(whole, tmp_path):
    folder = tmp_path / "run"
    agent = started(folder, steps=100_000)
    once_evaluated(agent, folder, 1)
    agent.send_signal(signal.SIGTERM)
    _, err = agent.communicate(timeout=60)
    assert agent.returncode != 0
    assert "nothing is lost" in err
    assert RunFolder(folder).state == "interrupted"


# ── what stands in the folder, without processes ─────────────────────────────────────────────────────────────


@pytest.fixture
def torchrun(monkeypatch):
    """The environment of a world of one."""
    for name, text in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, text)
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT", raising=False)
    return monkeypatch


def stop_at(step):
    def watch(event):
        if event["event"] == "line" and event["line"]["step"] == step:
            signal.raise_signal(signal.SIGTERM)

    return watch


OPTIONS = {"latent": 2, "steps": 60, "evaluate_every": 20}


def test_the_same_command_goes_on_with_an_unfinished_run(torchrun, tmp_path):
    with pytest.raises(Interrupted):
        vael.fit("iris", output=tmp_path / "run", watch=stop_at(20), **OPTIONS)
    run = vael.fit("iris", output=tmp_path / "run", **OPTIONS)
    assert {"resumed_at": 20} in run.history
    alone = vael.fit("iris", output=tmp_path / "alone", **OPTIONS)
    assert run.folder.model.read_bytes() == alone.folder.model.read_bytes()


def test_another_recipe_does_not_go_on_with_it(torchrun, tmp_path):
    with pytest.raises(Interrupted):
        vael.fit("iris", output=tmp_path / "run", watch=stop_at(20), **OPTIONS)
    with pytest.raises(WriteError, match="holds a run already"):
        vael.fit("iris", output=tmp_path / "run", **{**OPTIONS, "latent": 3})


def test_without_torchrun_nothing_goes_on_by_itself(tmp_path):
    with pytest.raises(Interrupted):
        vael.fit("iris", output=tmp_path / "run", watch=stop_at(20), **OPTIONS)
    with pytest.raises(WriteError, match="Add --resume"):
        vael.fit("iris", output=tmp_path / "run", **OPTIONS)


def test_a_restart_after_the_end_finds_the_end(torchrun, tmp_path):
    run = vael.fit("iris", output=tmp_path / "run", **OPTIONS)
    with pytest.raises(WriteError, match="holds a run already"):
        vael.fit("iris", output=tmp_path / "run", **OPTIONS)
    assert standing(run.folder, run.recipe, Ranks()) == "new"
    torchrun.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    again = vael.fit("iris", output=tmp_path / "run", **OPTIONS)
    assert again.history == run.history


def test_torchrun_without_a_named_folder_is_refused(torchrun):
    with pytest.raises(RecipeError, match="name the run folder with -o"):
        vael.fit("iris", **OPTIONS)
