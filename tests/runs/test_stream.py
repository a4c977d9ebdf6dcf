"""A streamed run is a run like any other: the same verbs, and resumed to the same end bit for bit."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

import vael
from vael.data.dataset import Split
from vael.data.streamed import Streamed
from vael.errors import DataError, Interrupted, RecipeError
from vael.runs import auto, resume

ROWS, GROUP = 3000, 200


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Two files of rows on a plane in five dimensions, and noise."""
    folder = tmp_path_factory.mktemp("table") / "plane"
    folder.mkdir()
    rng = np.random.default_rng(0)
    slopes = rng.normal(size=(2, 5))
    for number in range(2):
        x = rng.normal(size=(ROWS // 2, 2)) @ slopes + 0.3 * rng.normal(size=(ROWS // 2, 5))
        columns = {f"c{column}": x[:, column].astype(np.float32) for column in range(5)}
        parquet.write_table(pa.table(columns), folder / f"{number}.parquet", row_group_size=GROUP)
    return folder


ASKED = {"stream": True, "latent": 2, "steps": 60, "settings": {"training.evaluate_every": 13}}


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    return vael.fit(table, output=tmp_path_factory.mktemp("runs") / "whole", **ASKED)


def test_the_recipe_says_so_and_the_data_are_found_again(run):
    assert run.recipe["data"]["stream"] is True
    assert run.recipe["data"]["fingerprint"].startswith("footers:")
    again = vael.load(run.folder.path)
    assert isinstance(again.data.splits["train"], Streamed)
    assert type(again.data.splits["test"]) is Split
    assert torch.equal(again.data.splits["test"].x, run.data.splits["test"].x)


def test_a_stopped_run_resumes_to_the_same_bits(run, table, tmp_path):
    def stop(event):
        if event["event"] == "line" and event["line"]["step"] >= 26:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        vael.fit(table, output=tmp_path / "stopped", watch=stop, **ASKED)
    resume(tmp_path / "stopped")
    for name in ("model.safetensors", "checkpoint/last.safetensors"):
        assert (tmp_path / "stopped" / name).read_bytes() == (run.folder.path / name).read_bytes()
    lines = [
        [{**line, "seconds": 0} for line in folder.lines() if "resumed_at" not in line]
        for folder in (vael.load(tmp_path / "stopped").folder, run.folder)
    ]
    assert lines[0] == lines[1]


def test_it_learns_what_a_run_in_memory_learns(table, tmp_path):
    """400 updates on the same data in another order; the seed of the order alone moves their bound by 0.03 nats."""
    runs = [vael.fit(table, output=tmp_path / str(on), stream=on, latent=2, steps=400) for on in (True, False)]
    here, there = (run.evaluate(table, draws=1, max_examples=1).elbo.value for run in runs)
    assert abs(here - there) < 0.15


def test_a_streamed_label_teaches_its_classifier(tmp_path):
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 600)
    columns = {"a": np.where(kind == 1, 3.0, -3.0) + rng.normal(size=600), "kind": np.array(["no", "yes"])[kind]}
    parquet.write_table(pa.table(columns), tmp_path / "all.parquet", row_group_size=50)
    run = vael.fit(
        tmp_path / "all.parquet", output=tmp_path / "run", stream=True, label=["kind"], learn_label=True, latent=1,
        steps=200, split={"test": 0.2},
    )  # fmt: skip
    assert run.model.posterior.classifier == 1
    assert run.classify()[1].value > 0.95


def test_changed_files_are_noticed(run, table, tmp_path):
    copy = tmp_path / "plane"
    copy.mkdir()
    for file in table.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert len(resume_data(run, copy)) == len(run.data.splits["train"])
    parquet.write_table(parquet.read_table(copy / "0.parquet").slice(1), copy / "0.parquet", row_group_size=GROUP)
    with pytest.raises(DataError, match="not those the run was fitted on"):
        resume_data(run, copy)


def resume_data(run, path):
    from vael.runs.run import reread

    return reread(run.recipe, run.schema, path).splits["train"]


def test_the_verbs_work_on_what_is_in_memory(run):
    assert run.encode().shape == (600, 2)
    assert np.isfinite(run.evaluate(max_examples=5, draws=10).elbo.value)
    assert len(run.rows([1, ROWS])) == 2
    assert run.doctor(draws=10, examples=10) is not None
    with pytest.raises(DataError, match="2,000 training rows are streamed"):
        run.encode(split="train")


def test_what_does_not_go_with_streaming_is_refused(table, tmp_path):
    for asked, told in [
        ({"by": "em", "prior": "gaussian"}, "looks at all examples in every step"),
        ({"split": "kind"}, "split by whole groups of rows"),
        ({"features": 3}, "--features: does not go with --stream"),
        ({"labels": 30}, "--labels 30: does not go with --stream"),
    ]:
        with pytest.raises(RecipeError, match=told):
            vael.fit(table, output=tmp_path / "none", stream=True, steps=5, **asked)
    assert not (tmp_path / "none").exists()


def test_a_column_that_says_the_split_is_not_passed_over_in_silence(tmp_path):
    columns = {"x": np.random.default_rng(0).normal(size=400), "split": ["train", "test"] * 200}
    parquet.write_table(pa.table(columns), tmp_path / "s.parquet", row_group_size=50)
    with pytest.raises(DataError, match="has a column 'split'"):
        vael.fit(tmp_path / "s.parquet", output=tmp_path / "r", stream=True, steps=5)
    run = vael.fit(tmp_path / "s.parquet", output=tmp_path / "r", stream=True, steps=5, ignore=["split"])
    assert [field.name for field in run.schema.modelled] == ["x"]


def test_a_folder_of_pictures_is_streamed_and_resumed_like_a_table(tmp_path, monkeypatch):
    from PIL import Image

    from vael.data.sources import blocks

    monkeypatch.setattr(blocks, "BLOCK", 20)
    rng = np.random.default_rng(0)
    (tmp_path / "faces").mkdir()
    for number in range(120):
        side = 8 if number % 2 else 10
        Image.fromarray(rng.integers(0, 256, (side, side)).astype(np.uint8)).save(tmp_path / "faces" / f"{number}.png")
    asked = {"stream": True, "resize": 8, "latent": 2, "steps": 20, "settings": {"training.evaluate_every": 6}}
    whole = vael.fit(tmp_path / "faces", output=tmp_path / "whole", **asked)
    assert whole.recipe["data"]["fingerprint"].startswith("sizes:")
    assert {name: len(split) for name, split in whole.data.splits.items()} == {
        "train": 60, "validation": 20, "test": 40,
    }  # fmt: skip

    def stop(event):
        if event["event"] == "line" and event["line"]["step"] >= 12:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        vael.fit(tmp_path / "faces", output=tmp_path / "stopped", watch=stop, **asked)
    resume(tmp_path / "stopped")
    for name in ("model.safetensors", "checkpoint/last.safetensors"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_on_the_command_line(table, tmp_path, monkeypatch, capsys):
    from vael.cli.app import run as command

    monkeypatch.chdir(tmp_path)
    assert command(["data", str(table), "--stream", "-o", "schema.json", "--json"]) == 0
    out = capsys.readouterr().out
    assert '"splits": {"train": 2000, "validation": 400, "test": 600}' in out
    assert "sample      2000 of the training examples" in out
    fit = ["fit", str(table), "--stream", "--schema", "schema.json", "-o", "run", "--steps", "3", "--json"]
    assert command(fit) == 0
    assert "schema and views from 2,000 of the training rows" in capsys.readouterr().err
    assert command(["fit", "--resume", "--stream", "-o", "run"]) == 1
    assert "leave out --stream" in capsys.readouterr().err


def test_a_model_built_by_hand_and_trials_of_laws_are_streamed_too(run, table, tmp_path, monkeypatch):
    monkeypatch.setattr(auto, "STEPS", 5)
    found = vael.fit(table, output=tmp_path / "auto", stream=True, steps=3, latent=2, likelihood="auto", ignore=["c4"])
    assert isinstance(found.data.splits["train"], Streamed)
    again = vael.fit(table, output=tmp_path / "hand", stream=True, steps=3, model=run.model)
    assert isinstance(again.data.splits["train"], Streamed)
