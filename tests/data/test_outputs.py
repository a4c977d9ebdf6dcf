"""What people get back reads as what was meant."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vael.data.frame import Frame
from vael.data.infer import infer
from vael.data.outputs import picture_sheet, write_columns
from vael.data.schema import Field, Schema
from vael.data.sources import read
from vael.errors import RecipeError, ShapeError

NOTHING = Schema(())
COLUMNS = {
    "age": np.asarray([31, 4, 55]),
    "height": np.asarray([1.8, np.nan, 0.1 + 0.2]),
    "word": np.asarray(['a, "quoted"\nword', None, "ß;\t'"], dtype=object),
    "flag": np.asarray([True, False, True]),
}


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet", "t.npz"])
def test_a_written_table_reads_back_as_it_was(tmp_path, name):
    write_columns(tmp_path / name, COLUMNS, NOTHING)
    again = read(tmp_path / name).columns
    assert list(again) == list(COLUMNS)
    for key, column in COLUMNS.items():
        np.testing.assert_array_equal(again[key], column)
        assert again[key].dtype.kind == column.dtype.kind


@settings(deadline=None)
@given(
    words=st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1), min_size=1),
    numbers=st.lists(st.floats(allow_infinity=False), min_size=1),
)
def test_csv_keeps_any_text_and_every_digit(tmp_path_factory, words, numbers):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    n = min(len(words), len(numbers))
    meant = [f"_{word}_" for word in words[:n]]  # spaces at the ends are trimmed, and a "?" alone is missing
    write_columns(path, {"w": np.asarray(meant, dtype=object), "v": np.asarray(numbers[:n])}, NOTHING)
    again = read(path).columns
    assert again["w"].tolist() == meant
    np.testing.assert_array_equal(again["v"].astype(float), np.asarray(numbers[:n]))


def test_missing_cells_are_empty_and_whole_numbers_have_no_decimals(tmp_path):
    schema = Schema((Field("age", "real", resolution=1.0),))
    write_columns(tmp_path / "t.csv", {"age": np.asarray([31.0, 4.0])}, schema)
    assert (tmp_path / "t.csv").read_text() == "age\n31\n4\n"
    write_columns(tmp_path / "t.csv", {"age": np.asarray([31.0, np.nan]), "b": np.asarray([0.5, 1.0])}, schema)
    assert (tmp_path / "t.csv").read_text() == "age,b\n31,0.5\n,1.0\n"


def test_float32_is_written_with_its_own_digits(tmp_path):
    write_columns(tmp_path / "t.csv", {"a": np.asarray([0.1, 2.5], dtype=np.float32)}, NOTHING)
    assert (tmp_path / "t.csv").read_text() == "a\n0.1\n2.5\n"


def test_a_field_of_several_numbers_is_spread_over_columns(tmp_path):
    write_columns(tmp_path / "t.csv", {"z": np.asarray([[1, 2], [3, 4]])}, NOTHING)
    assert (tmp_path / "t.csv").read_text() == "z0,z1\n1,2\n3,4\n"


def test_equal_data_make_equal_bytes(tmp_path):
    for name in ("a.csv.gz", "b.csv.gz"):
        write_columns(tmp_path / name, COLUMNS, NOTHING)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()


def test_one_array_goes_to_npy_and_several_are_refused(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (5, 1, 4, 4)).astype(np.uint8)
    write_columns(tmp_path / "x.npy", {"x": pictures}, NOTHING)
    np.testing.assert_array_equal(read(tmp_path / "x.npy").columns["x"], pictures)
    with pytest.raises(RecipeError, match="a single array, there are 4"):
        write_columns(tmp_path / "x.npy", COLUMNS, NOTHING)


def test_an_unknown_ending_is_answered_with_those_that_work(tmp_path):
    with pytest.raises(RecipeError, match=r"\.csv, \.csv\.gz, \.parquet, \.npz, \.npy"):
        write_columns(tmp_path / "t.xlsx", COLUMNS, NOTHING)
    with pytest.raises(RecipeError, match="unequal length"):
        write_columns(tmp_path / "t.csv", {"a": np.zeros(2), "b": np.zeros(3)}, NOTHING)
    assert list(tmp_path.iterdir()) == []


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────


def sheet(*arguments, **options) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture_sheet(*arguments, **options))))


def test_a_sheet_of_digits_is_near_square_and_enlarged():
    pixels = sheet(np.full((100, 1, 8, 8), 16), 17)
    assert pixels.ndim == 2
    assert pixels.shape[0] == pixels.shape[1] >= 100**0.5 * 8 * 4
    assert (pixels == 255).sum() >= 100 * (8 * 4) ** 2


def test_values_beyond_the_range_are_clipped_never_wrapped():
    pixels = sheet(np.asarray([[[-3.0, 0.0], [255.4, 300.0]]]), 256)
    assert pixels[5, 5] == pixels[5, -5] == 0
    assert pixels[-5, 5] == pixels[-5, -5] == 255


def test_colours_stay_in_their_channels():
    pictures = np.zeros((1, 3, 8, 8))
    pictures[:, 0] = 255
    assert sheet(pictures, 256)[20, 20].tolist() == [255, 0, 0]


def test_a_pair_stands_side_by_side():
    pixels = sheet(np.zeros((4, 8, 8)), 2, columns=1, pairs=np.ones((4, 8, 8)))
    height, width = pixels.shape
    assert height > width
    assert pixels[20, width // 4] == 0
    assert pixels[20, 3 * width // 4] == 255


def test_columns_set_apart_leave_their_pictures_whole():
    near, far = sheet(np.ones((6, 8, 8)), 2, columns=3), sheet(np.ones((6, 8, 8)), 2, columns=3, apart=(2,))
    assert (far.shape[0], far.shape[1]) == (near.shape[0], near.shape[1] + 6)
    assert (far == 255).sum() == (near == 255).sum()


def test_clear_gutters_show_the_page_and_the_pictures_do_not():
    pixels = sheet(np.zeros((2, 3, 8, 8)), 2, columns=2, clear=True)
    assert pixels.shape[2] == 4
    assert (pixels[..., 3] == 255).sum() == 2 * 48 * 48
    assert pixels[0, 0, 3] == 0
    grey = sheet(np.zeros((2, 1, 8, 8)), 2, clear=True)
    assert grey.shape[2] == 2


def test_what_are_no_pictures_are_refused_by_shape():
    with pytest.raises(ShapeError, match=r"\(5, 64\), expected \(N, H, W\)"):
        picture_sheet(np.zeros((5, 64)), 2)
    with pytest.raises(ShapeError, match=r"pairs have shape \(4, 8, 8\)"):
        picture_sheet(np.zeros((5, 8, 8)), 2, pairs=np.zeros((4, 8, 8)))
    with pytest.raises(ShapeError, match="levels must be at least 2"):
        picture_sheet(np.zeros((5, 8, 8)), 1)


def test_samples_of_a_schema_write_and_infer_alike(tmp_path):
    columns = {"n": np.arange(40) % 7 * 3, "w": np.asarray(list("abcd") * 10, dtype=object)}
    schema = infer(Frame("t", columns))
    write_columns(tmp_path / "t.csv", columns, schema)
    assert infer(read(tmp_path / "t.csv")) == schema
