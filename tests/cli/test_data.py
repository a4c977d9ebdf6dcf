"""What a person meets first: `vael data`, and the options of reading that it shares with `vael fit`."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from PIL import Image

import vael
from vael.cli.app import run

RNG = np.random.default_rng(0)
QUICK = ["--steps", "6", "--latent", "2", "--quiet"]


@pytest.fixture
def said(capsys):
    """Run a command that must succeed; what it printed on stdout."""

    def command(*arguments):
        assert run([str(argument) for argument in arguments]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return command


@pytest.fixture
def refused(capsys):
    """Run a command that must fail for a stated reason; the reason."""

    def command(*arguments):
        assert run([str(argument) for argument in arguments]) == 1
        found = capsys.readouterr()
        assert found.out == ""
        return found.err

    return command


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures of two sizes and two classes."""
    for i in range(12):
        path = tmp_path / "faces" / ("sad" if i % 2 else "happy") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (10, 10 if i % 3 else 14)).astype(np.uint8)).save(path)
    return tmp_path / "faces"


@pytest.fixture
def counts(tmp_path):
    sp.save_npz(tmp_path / "counts.npz", sp.csr_matrix(RNG.poisson(np.linspace(0.1, 2.0, 40), (60, 40))))
    return tmp_path / "counts.npz"


# ── what is shown ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_picture_set_is_told_by_its_size_splits_and_classes(said, folder):
    lines = said("data", folder, "--resize", "8").splitlines()
    assert lines[0] == "data        faces: 12 examples; train 9, validation 1, test 2"
    assert lines[1] == "example     a picture of 8×8 pixels, grey; 64 numbers"
    assert lines[2].startswith("  x      image, 256 levels (whole numbers from")
    assert lines[3].rstrip() == "  label  label: classes, 2 values"
    assert lines[4] == "note        12 pictures resized to 8×8, after a centred crop to that ratio"


def test_a_table_with_holes_is_told_by_its_columns_and_what_is_missing(said, people):
    out = said("data", people)
    own = pd.read_csv(people)
    missing = int(own.isna().sum().sum())
    assert "data        people.csv: 300 examples; train 210, validation 30, test 60" in out
    assert "example     a row of 6 modelled columns, of 7" in out
    assert f"missing     {missing} values in 2 columns, {100 * missing / 1800:.2g} % of all" in out


def test_sparse_counts_are_told_by_what_was_kept(said, counts):
    out = said("data", counts, "--features", "7")
    assert "example     a row of 7 modelled columns" in out
    assert "count (sparse counts) → negative_binomial" in out
    assert "note        kept the 7 of 40 columns with the largest totals" in out


def test_a_text_is_shown_and_said_to_have_no_likelihood(said, tmp_path):
    (tmp_path / "t.txt").write_text("".join(f"line {i}\n" for i in range(30)))
    out = said("data", tmp_path / "t.txt")
    assert "a row of 0 modelled columns, of 1" in out
    assert "warning     t.txt: no field is left to model; 'text' is text" in out


def test_the_json_line_holds_splits_notes_and_fields(said, folder):
    found = json.loads(said("data", folder, "--resize", "8", "--json").splitlines()[-1])
    assert found["splits"] == {"train": 9, "validation": 1, "test": 2}
    assert found["notes"] == ["12 pictures resized to 8×8, after a centred crop to that ratio"]
    assert [field["name"] for field in found["fields"]] == ["x", "label"]


def test_the_sizes_shown_are_those_that_fit_trains_on(said, people, tmp_path):
    shown = json.loads(said("data", people, "--split", "test=0.3", "--json").splitlines()[-1])["splits"]
    said("fit", people, "--split", "test=0.3", *QUICK, "-o", tmp_path / "run")
    assert {name: len(split) for name, split in vael.load(tmp_path / "run").data.splits.items()} == shown


# ── a schema by hand ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", ["file", "json line"])
def test_a_schema_is_written_edited_and_fitted(said, people, tmp_path, form):
    path = tmp_path / "people.json"
    out = said("data", people, "-o", path, "--json")
    assert f"wrote       {path}; edit it, then: vael fit {people} --schema {path}" in out
    value = json.loads(path.read_text() if form == "file" else out.splitlines()[-1])
    for field in value["fields"]:
        field |= {"age": {"kind": "count", "unit": "years"}, "visits": {"role": "ignored"}}.get(field["name"], {})
    path.write_text(json.dumps(value))
    assert "count, years (as" in said("data", people, "--schema", path)
    said("fit", people, "--schema", path, "--column", "height=real", *QUICK, "-o", tmp_path / "run")
    schema = vael.load(tmp_path / "run").schema
    assert [schema[name].kind for name in ("age", "height", "city")] == ["count", "real", "category"]
    assert schema["visits"].role == "ignored"


def test_an_id_comes_back_when_its_kind_is_edited(said, tmp_path):
    (tmp_path / "t.csv").write_text("row,a\n" + "".join(f"{i},{RNG.normal():.6f}\n" for i in range(40)))
    said("data", tmp_path / "t.csv", "-o", tmp_path / "s.json")
    text = (tmp_path / "s.json").read_text()
    (tmp_path / "s.json").write_text(text.replace('"id"', '"real"'))
    assert "2 modelled columns" in said("data", tmp_path / "t.csv", "--schema", tmp_path / "s.json")


def test_a_run_is_its_own_schema_file(said, people, people_run):
    out = said("data", people, "--schema", people_run.folder.schema)
    assert "a row of 6 modelled columns, of 7" in out


# ── options, in every verb that reads ────────────────────────────────────────────────────────────────────────


def test_options_of_reading_reach_the_recipe(said, folder, counts, tmp_path):
    said("fit", folder, "--resize", "8x6", "--split", "validation=0.2", *QUICK, "-o", tmp_path / "a")
    assert vael.load(tmp_path / "a").recipe["data"].items() >= {"resize": [8, 6], "split": {"validation": 0.2}}.items()
    said("fit", counts, "--features", "7", *QUICK, "-o", tmp_path / "b")
    assert vael.load(tmp_path / "b").recipe["data"]["features"] == 7
    said("evaluate", tmp_path / "a", folder, "--draws", "2")
    said("encode", tmp_path / "b", counts, "-o", tmp_path / "codes.npy")
    assert np.load(tmp_path / "codes.npy").shape == (60, 2)


def test_notes_are_said_before_training_starts(folder, tmp_path, capsys):
    assert run(["fit", str(folder), "--resize", "8", *QUICK[:-1], "-o", str(tmp_path / "run")]) == 0
    assert "note        12 pictures resized to 8×8" in capsys.readouterr().err


def test_a_column_to_split_by_stands_beside_shares(said, tmp_path):
    rows = "".join(f"{RNG.normal():.6f},{'test' if i % 4 == 0 else 'train'}\n" for i in range(40))
    (tmp_path / "t.csv").write_text("a,fold\n" + rows)
    out = said("data", tmp_path / "t.csv", "--split", "fold", "--split", "validation=0.2")
    assert "40 examples; train 24, validation 6, test 10" in out
    assert "fold  split: says which rows train" in out


REFUSED = {
    "mixed sizes": (["data", "FACES"], "2 sizes, and a model takes one: 8 of 10×10, 4 of 14×10"),
    "no size": (["data", "FACES", "--resize", "8y8"], "resize '8y8': expected a side such as 64"),
    "no number of columns": (["data", "iris", "--features", "0"], "features 0: expected how many columns to keep"),
    "no such column": (["data", "iris", "--split", "fold"], "iris: no column 'fold' to split by"),
    "no split": (["fit", "iris", "--split", "species"], "column 'species', row 1: 'setosa' names no split"),
    "two columns": (["fit", "iris", "--split", "a", "--split", "b"], "is the second column to split by, after 'a'"),
    "no schema": (["fit", "iris", "--schema", "s.json"], "schema s.json: cannot be read (No such file or directory)"),
    "pictures of a table": (["fit", "iris", "--resize", "8"], "resize: iris holds no pictures. Leave it out."),
    "resuming": (["fit", "--resume", "--resize", "8", "--features", "3"], "leave out --features, --resize"),
}


@pytest.mark.parametrize(("arguments", "told"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused_before_anything_is_written(
    refused, folder, tmp_path, monkeypatch, arguments, told
):
    monkeypatch.chdir(tmp_path)
    assert told in refused(*(folder if word == "FACES" else word for word in arguments))
    assert not (tmp_path / "runs").exists()
