"""vael interpolate as a person uses it."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import vael
from vael.cli.app import run


def test_a_table_says_which_rows_it_lies_between_and_ends_at_their_reconstructions(
    people_run, people, tmp_path, capsys
):
    out = tmp_path / "way.csv"
    assert (
        run(["interpolate", str(people_run.folder), "--rows", "8,3,120", "--steps", "4", "-o", str(out), "--json"]) == 0
    )
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["rows"], told["steps"], told["file"]) == ([8, 3, 120], 4, str(out))
    way, own = pd.read_csv(out), pd.read_csv(people)
    assert list(way.columns) == ["from_row", "to_row", "step", *own.columns]
    assert way["from_row"].tolist() == [8] * 4 + [3] * 4
    assert way["to_row"].tolist() == [3] * 4 + [120] * 4
    assert way["step"].tolist() == [1, 2, 3, 4] * 2
    assert (way[own.columns].dtypes == own.dtypes).all()
    ends = pd.DataFrame(people_run.reconstruct(people)).iloc[[7, 2, 2, 119]]  # row 8 is the eighth below the header
    pd.testing.assert_frame_equal(
        way.loc[[0, 3, 4, 7], own.columns].reset_index(drop=True), ends.reset_index(drop=True), check_dtype=False
    )


def test_rows_of_the_runs_own_data_are_counted_in_their_source(digits_run):
    own = digits_run.interpolate([1, 1797], steps=3)["x"]
    handed = digits_run.interpolate([1, 1797], "digits", steps=3)["x"]
    assert own.dtype == np.uint8
    np.testing.assert_array_equal(own, handed)


def test_a_sheet_has_the_originals_at_the_ends_of_each_line(digits_run, tmp_path):
    from sklearn.datasets import load_digits

    out = tmp_path / "way.png"
    assert run(["interpolate", str(digits_run.folder), "--rows", "3,8,12", "--steps", "5", "-o", str(out)]) == 0
    sheet = np.asarray(Image.open(out))
    assert sheet.shape == (2 + 2 * 50, 2 + 7 * 50 + 2 * 6)  # two lines of seven, the ends 6 pixels further off
    images = load_digits().images
    for line, (first, last) in enumerate([(2, 7), (7, 11)]):
        for left, row in ((2, first), (2 + 6 * 50 + 12, last)):
            tile = sheet[2 + 50 * line : 50 + 50 * line, left : left + 48][::6, ::6]
            np.testing.assert_array_equal(tile, np.rint(images[row] * 255 / 16))


def test_a_data_column_called_step_stays_what_it_is(tmp_path):
    table = {"step": np.random.default_rng(0).normal(size=40), "y": np.random.default_rng(1).normal(size=40)}
    pd.DataFrame(table).to_csv(tmp_path / "t.csv", index=False)
    vael.fit(tmp_path / "t.csv", latent=2, steps=3, output=tmp_path / "run")
    assert run(["interpolate", str(tmp_path / "run"), "--rows", "1,2", "-o", str(tmp_path / "way.csv")]) == 0
    assert list(pd.read_csv(tmp_path / "way.csv").columns) == ["from_row", "to_row", "step_", "step", "y"]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("0,3", "row 0: is not there; the data have 300 rows, counted from 1"),
        ("3,301", "row 301: is not there"),
        ("3", "needs at least two rows"),
        ("3;8", "expected the numbers of rows"),
    ],
)
def test_rows_that_are_none_are_refused_in_words(people_run, tmp_path, capsys, rows, told):
    assert run(["interpolate", str(people_run.folder), "--rows", rows, "-o", str(tmp_path / "x.csv")]) == 1
    assert told in capsys.readouterr().err
    assert not (tmp_path / "x.csv").exists()


def test_pictures_of_a_table_are_refused(people_run, tmp_path, capsys):
    assert run(["interpolate", str(people_run.folder), "--rows", "3,8", "-o", str(tmp_path / "x.png")]) == 1
    assert "these data are no pictures" in capsys.readouterr().err
