"""The run folder: never overwritten, verified file by file, found by name."""

import os
import shutil

import numpy as np
import pytest
import torch

import vael
from vael.errors import DamagedFile, DataError, RecipeError, WriteError
from vael.files import load_tensors
from vael.runs import RunFolder, latest_folder, next_folder

QUICK = {"steps": 4, "latent": 2}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    vael.fit("iris", output=folder, **QUICK)
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


def weights(folder):
    return load_tensors(folder / "model.safetensors")[0]


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_runs_are_named_after_the_data_and_numbered(home):
    names = [str(vael.fit("iris", **QUICK).folder) for _ in range(2)]
    assert names == ["runs/iris-1", "runs/iris-2"]


@pytest.mark.parametrize(
    ("name", "folder"),
    [("people.csv", "people-1"), ("a b/my x.csv.gz", "my-x-1"), ("...", "run-1"), ("array", "array-1")],
)
def test_a_folder_name_is_made_of_the_data_name_without_its_ending(home, name, folder):
    assert str(next_folder(name)) == os.path.join("runs", folder)


def test_the_latest_run_is_the_one_written_last(home):
    with pytest.raises(RecipeError, match="fit one first"):
        latest_folder()
    first, second = vael.fit("iris", **QUICK), vael.fit("wine", **QUICK)
    assert latest_folder() == second.folder.path
    os.utime(first.folder.recipe, (2e9, 2e9))
    assert latest_folder() == first.folder.path
    assert str(vael.load().folder) == "runs/iris-1"


def test_the_latest_is_one_with_weights_and_the_latest_to_resume_one_without_an_end(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    done = vael.fit("iris", **QUICK)
    broken = RunFolder("runs/iris-2")
    broken.begin(done.recipe, done.schema)
    assert latest_folder() == done.folder.path
    assert latest_folder(unfinished=True) == broken.path
    with pytest.raises(RecipeError, match="has no weights yet; it was stopped before its first evaluation"):
        vael.load(broken.path)
    broken.write_manifest("failed", seed=0)
    with pytest.raises(RecipeError, match="Fit again with a lower --learning-rate"):
        vael.load(broken.path)


def test_a_run_is_never_overwritten(copy):
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    with pytest.raises(WriteError, match=r"holds a run already\. Choose another folder"):
        vael.fit("wine", output=copy, **QUICK)
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_a_folder_that_is_no_run_is_left_as_it_was_and_the_runs_there_are_named(home):
    vael.fit("iris", **QUICK)
    (home / "other").mkdir()
    for use in (vael.load, vael.resume):
        with pytest.raises(RecipeError, match=r"is no run folder[\s\S]*Runs here: iris-1"):
            use("other")
    assert list((home / "other").iterdir()) == []


# ── verified ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_loaded_run_is_the_run_that_was_fitted(finished):
    loaded = vael.load(finished)
    assert same(loaded.model.state_dict(), weights(finished))
    found = [run.evaluate(draws=8).to_json() for run in (loaded, vael.load(finished))]
    assert all(numbers.pop("seconds") >= 0 for numbers in found)
    assert found[0] == found[1]
    assert repr(loaded) == f"Run({str(finished)!r}, latent 2, {loaded.model.parameters_count:,} parameters)"


def edit(path):
    path.write_text(path.read_text().replace("seed", "seeed", 1))


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [truncate, empty, flip, os.unlink])
@pytest.mark.parametrize("name", ["recipe.toml", "schema.json", "model.safetensors", "manifest.json"])
def test_p29_p30_a_spoiled_file_of_a_run_is_refused_by_name(copy, name, spoil):
    spoil(copy / name)
    with pytest.raises(DamagedFile, match=rf"copy/{name}: .*\.(\n  |$)"):
        vael.load(copy)


def test_an_edited_recipe_is_refused_and_says_what_to_do(copy):
    edit(copy / "recipe.toml")
    with pytest.raises(DamagedFile, match=r"recipe\.toml: is not the file[\s\S]*Put the original back, or fit again"):
        vael.load(copy)


def test_weights_of_another_run_are_refused(copy, digits_run):
    shutil.copy(digits_run.folder.model, copy / "model.safetensors")
    with pytest.raises(DamagedFile, match=r"model\.safetensors: is not the file this run finished with"):
        vael.load(copy)


def test_a_run_of_a_later_format_is_refused_with_both_numbers(copy):
    from vael.files import load_json, save_json

    save_json(copy / "manifest.json", {**load_json(copy / "manifest.json"), "format": 99})
    with pytest.raises(DamagedFile, match="has format 99, this vael reads 1"):
        vael.load(copy)


def test_everything_in_a_run_folder_is_text_or_numbers(finished):
    names = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    texts = {"manifest.json", "recipe.toml", "schema.json", "history.jsonl"}
    assert names - {"evaluation.json"} == {*texts, ".lock", "model.safetensors", "checkpoint/last.safetensors"}


# ── data ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_on_data_in_memory_asks_for_them_again(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 3))
    vael.fit(x, output=tmp_path, **QUICK)
    loaded = vael.load(tmp_path)
    with pytest.raises(DataError, match=r"in memory, which a run folder does not keep\.\n  Hand the data over again"):
        loaded.evaluate(draws=2)
    assert loaded.evaluate(x, draws=2).examples == 60


def test_changed_data_are_noticed_before_a_number_is_given(people, tmp_path):
    path = shutil.copy(people, tmp_path / "people.csv")
    vael.fit(path, output=tmp_path / "run", **QUICK)
    path.write_text(path.read_text().replace("Oslo", "Bern", 1))
    with pytest.raises(DataError, match="the data are not those the run was fitted on"):
        vael.load(tmp_path / "run").evaluate(draws=2)
    assert vael.load(tmp_path / "run").evaluate(path, draws=2).split == "given data"
