"""Everything data can come from, and how each is refused when it is broken."""

import gzip
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import vael
from vael.data import Reading
from vael.data.infer import infer
from vael.data.sources import BUILTIN, read
from vael.data.understand import understand
from vael.errors import DataError, RecipeError


@pytest.fixture
def write(tmp_path):
    def put(name, content):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return put


@pytest.fixture
def savez(tmp_path):
    def put(**arrays):
        np.savez(tmp_path / "some.npz", **arrays)
        return tmp_path / "some.npz"

    return put


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", BUILTIN)
def test_every_builtin_set_reads_and_has_something_to_model(name):
    frame = read(name)
    assert frame.origin == frame.name == name
    assert infer(frame).modelled


def test_digits_are_pictures_of_seventeen_levels_with_their_label():
    schema = infer(read("digits"))
    assert (schema["x"].kind, schema["x"].levels, schema.event_shape) == ("image", 17, (1, 8, 8))
    assert schema.label is not None
    assert schema.label.values == tuple(range(10))


def test_a_bare_name_is_sought_in_the_data_folder(write, monkeypatch, tmp_path):
    write("people.csv.gz", gzip.compress(b"age\n1\n2\n"))
    monkeypatch.setenv("VAEL_DATA", str(tmp_path))
    frame = read("people")
    assert (frame.name, frame.origin) == ("people", str(tmp_path / "people.csv.gz"))
    with pytest.raises(DataError, match=r"Did you mean 'people'[\s\S]*Put peple.npz or peple.csv.gz"):
        read("peple")


def test_without_a_data_folder_the_error_says_which_file_to_put_where(monkeypatch, tmp_path):
    monkeypatch.delenv("VAEL_DATA", raising=False)
    monkeypatch.setenv("VAEL_CACHE", str(tmp_path))
    with pytest.raises(DataError, match=r"VAEL_DATA is not set[\s\S]*omniglot28.npz with arrays x_train"):
        read("omniglot28")
    with pytest.raises(DataError, match="Did you mean 'digits'"):
        read("digit")


def test_a_missing_file_is_answered_with_its_neighbour(write, tmp_path):
    write("people.csv", "a\n1\n")
    with pytest.raises(DataError, match=r"no such file\. Did you mean .*people\.csv"):
        read(tmp_path / "peopel.csv")
    with pytest.raises(DataError, match=r"unknown kind; vael reads \.csv"):
        read(write("people.xlsx", "a"))
    with pytest.raises(DataError, match="a folder"):
        read(tmp_path)


def test_mnist_has_its_own_split():
    if not os.environ.get("VAEL_DATA"):
        pytest.skip("VAEL_DATA is unset: the real data sets are not at hand")
    frame = read("mnist")
    assert frame.columns["x"].shape == (70_000, 1, 28, 28)
    assert [(frame.split == word).sum() for word in ("train", "test")] == [60_000, 10_000]


# ── arrays in memory ─────────────────────────────────────────────────────────────────────────────────────────

SHAPES = {
    "rows": ((6,), None),
    "a table": ((6, 3), None),
    "grey pictures": ((6, 8, 9), (1, 8, 9)),
    "channel last": ((6, 8, 9, 3), (3, 8, 9)),
    "one channel last": ((6, 8, 9, 1), (1, 8, 9)),
    "channel first": ((6, 3, 8, 9), (3, 8, 9)),
}


@pytest.mark.parametrize(("shape", "event"), SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor, np.ndarray.tolist], ids=["numpy", "torch", "list"])
def test_arrays_tensors_and_lists_become_columns_or_pictures(shape, event, make):
    frame = read(make(np.random.default_rng(0).normal(size=shape)))
    if event is None:
        assert list(frame.columns) == [f"x{i}" for i in range(shape[1] if len(shape) > 1 else 1)]
    else:
        assert frame.columns["x"].shape == (6, *event)
    assert (frame.origin, len(frame)) == (None, 6)


def test_channel_last_pixels_land_where_they_belong():
    pictures = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3)).astype(np.uint8)
    np.testing.assert_array_equal(read(pictures).columns["x"][:, 2, 1, 4], pictures[:, 1, 4, 2])


def test_a_wide_table_of_bytes_is_a_flattened_picture():
    assert read(np.zeros((5, 16), np.uint8)).columns["x"].shape == (5, 16)
    assert len(read(np.zeros((5, 15), np.uint8)).columns) == 15


def test_a_tensor_that_carries_gradients_or_half_precision_reads():
    tensor = torch.ones(3, 2, requires_grad=True)
    assert read(tensor).columns["x1"].tolist() == [1.0, 1.0, 1.0]
    assert read(torch.ones(3, 2, dtype=torch.bfloat16)).columns["x0"].dtype == np.float32


def test_masked_values_are_missing_values():
    column = read(np.ma.masked_array([1, 2, 3], [False, True, False])).columns["x0"]
    assert np.isnan(column).tolist() == [False, True, False]


def test_a_sparse_tensor_is_read_dense():
    assert read(torch.eye(3).to_sparse()).columns["x1"].tolist() == [0.0, 1.0, 0.0]


def test_a_dict_of_columns_keeps_names_and_texts():
    frame = read({"age": [1, 2, 3], "name": ["a", None, "c"], "w": np.asarray([0.5, np.nan, 1])})
    assert frame.columns["name"].tolist() == ["a", None, "c"]
    assert frame.columns["age"].dtype.kind == "i"


def test_objects_that_are_numbers_are_numbers():
    assert read(np.asarray([[1, None], [2.5, 3]], dtype=object)).columns["x1"].tolist()[1] == 3.0


REFUSED = {
    "object strings": (np.asarray([["a"], ["b"]], dtype=object), "'a' is a str, not a number"),
    "objects": (np.asarray([[object()]], dtype=object), "is a object, not a number"),
    "text": (["a", "b"], "it holds text"),
    "ragged lists": ([[1, 2], [3]], "differ in length"),
    "complex": (np.zeros((3, 2), complex), "complex numbers"),
    "five axes": (np.zeros((2, 1, 3, 4, 5)), r"shape \(2, 1, 3, 4, 5\), expected a table"),
    "two channels": (np.zeros((2, 2, 8, 8)), "1 or 3 channels"),
    "no columns": (np.zeros((5, 0)), "hold no values"),
    "one number": (np.float64(3), "a single number"),
    "nothing": (None, "cannot read data from a NoneType"),
    "a function": (len, "cannot read data from a builtin_function_or_method"),
    "unequal columns": ({"a": [1, 2], "b": [1]}, "column 'b' has 1 rows, column 'a' has 2"),
    "numbers among texts": ({"a": np.asarray(["x", 3], dtype=object)}, "row 2: 3 is a int among texts"),
}


@pytest.mark.parametrize(("source", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_data_is_refused_by_name(source, message):
    with pytest.raises(DataError, match=message):
        read(source)


# ── .npy and .npz ────────────────────────────────────────────────────────────────────────────────────────────


def test_train_and_test_arrays_carry_their_split_and_labels(savez):
    frame = read(savez(x_train=np.zeros((4, 2)), x_val=np.ones((3, 2)), x_test=np.ones((2, 2)),
                       y_train=np.arange(4), y_val=np.arange(3), y_test=np.arange(2)))  # fmt: skip
    assert frame.split.tolist() == ["train"] * 4 + ["validation"] * 3 + ["test"] * 2
    assert frame.labels == ("y",)
    assert frame.columns["x0"].tolist() == [0.0] * 4 + [1.0] * 5


def test_big_x_with_y_is_a_table_with_a_label(savez):
    frame = read(savez(X=np.zeros((4, 2)), y=np.asarray([0, 1, 0, 1])))
    assert list(frame.columns) == ["x0", "x1", "y"]
    assert infer(frame)["y"].role == "label"


def test_several_unknown_arrays_are_listed(savez):
    with pytest.raises(DataError, match=r"which array are the data\? It holds: notes \(4, 2\), lengths \(3,\)"):
        read(savez(notes=np.zeros((4, 2)), lengths=np.zeros(3)))


def test_what_is_neither_x_nor_y_is_left_out_aloud(savez):
    frame = read(savez(x=np.zeros((4, 2)), y=np.arange(4), names=np.asarray(["a", "b"])))
    assert frame.notes == ("left out, being neither x nor y: names",)


def test_an_array_file_never_opens_python_objects(tmp_path):
    np.save(tmp_path / "a.npy", np.asarray([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="can run code"):
        read(tmp_path / "a.npy")


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.parquet", "a.feather", "a.csv.gz"])
@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00v\x00", b"PK\x03\x04garbage", b"PAR1"])
def test_a_damaged_file_is_called_damaged_in_our_words(write, name, content):
    with pytest.raises(DataError, match=name + r": (damaged|the file is empty)"):
        read(write(name, content))


def test_a_truncated_npz_is_called_damaged(savez):
    path = savez(x=np.random.default_rng(0).normal(size=(500, 4)))
    whole = path.read_bytes()
    for part in (10, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:part])
        with pytest.raises(DataError, match="damaged"):
            read(path)


# ── text tables ──────────────────────────────────────────────────────────────────────────────────────────────

CELLS = {
    "whole": ("1\n-2\n3\n", np.int64, [1, -2, 3]),
    "fractions": ("1\n2.5\n1e3\n", np.float64, [1.0, 2.5, 1000.0]),
    "spaces": (" 1\n2 \n 3 \n", np.int64, [1, 2, 3]),
    "plus": ("+1\n2\n3\n", np.float64, [1.0, 2.0, 3.0]),
    "booleans": ("True\nFalse\nTrue\n", np.bool_, [True, False, True]),
    "texts": ("a\n b\nc c\n", np.object_, ["a", "b", "c c"]),
    "half numbers": ("a\n1\n2\n", np.object_, ["a", "1", "2"]),
    "postcodes": ("01067\n10115\n99998\n", np.object_, ["01067", "10115", "99998"]),
    "hexadecimal": ("0x1\n0x2\n0x3\n", np.object_, ["0x1", "0x2", "0x3"]),
}


@pytest.mark.parametrize(("cells", "dtype", "values"), CELLS.values(), ids=CELLS)
def test_cells_are_typed_by_what_they_all_are(write, cells, dtype, values):
    column = read(write("t.csv", "a\n" + cells)).columns["a"]
    assert column.dtype == dtype
    assert column.tolist() == values


def test_missing_marks_are_recognised_and_reported(write):
    frame = read(write("t.csv", "a,b,c\n1,x,-9\n?,NA,1\n , nan,2\n4,None,3\n"), missing=["-9"])
    assert np.isnan(frame.columns["a"]).tolist() == [False, True, True, False]
    assert frame.columns["b"].tolist() == ["x", None, None, None]
    assert np.isnan(frame.columns["c"]).tolist() == [True, False, False, False]
    assert frame.marks == {"a": ("?", ""), "b": ("NA", "nan", "None"), "c": ("-9",)}
    assert infer(frame)["b"].marks == ("NA", "nan", "None")


def test_a_stray_text_among_numbers_is_refused_with_its_row(write):
    path = write("people.csv", "age\n" + "30\n" * 16 + "n/x\n" + "40\n" * 20)
    with pytest.raises(DataError, match=r"people.csv, column 'age', row 17: 'n/x' is not a number[\s\S]*--missing n/x"):
        read(path)
    assert np.isnan(read(path, missing=["n/x"]).columns["age"][16])
    assert read(path, kinds={"age": "category"}).columns["age"][16] == "n/x"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_separator_is_found(write, separator):
    path = write("t.csv", separator.join("ab") + "\n" + separator.join(["1", '"x, y; z"']) + "\n")
    assert read(path).columns["b"].tolist() == ["x, y; z"]


def test_a_table_without_a_header_keeps_its_first_row(write):
    frame = read(write("t.csv", "3.5,1\n4.5,2\n"))
    assert frame.columns["x0"].tolist() == [3.5, 4.5]
    assert read(write("u.csv", "0,1\n4.5,2\n")).columns["1"].tolist() == [2]


def test_a_nameless_first_column_is_the_index(write):
    frame = read(write("t.csv", ",a\n" + "".join(f"{i},{i % 7}\n" for i in range(30))))
    assert infer(frame)["index"].role == "ignored"


BROKEN = {
    "empty": ("", "the file is empty"),
    "blank": ("\n\n", "the file is empty"),
    "ragged": ("a,b\n1,2\n3\n4,5\n", "row 2: 1 values, expected 2"),
    "too long": ("a,b\n1,2\n3,4,5\n", "row 2: 3 values, expected 2"),
    "twins": ("a,a\n1,2\n", "two columns are named 'a'"),
    "binary": (b"a\0b\n1\n", "no text"),
    "latin": ("naïve\n1\nna\n".encode("latin-1") + b"\xff\n" * 3, "UTF-8"),
    "open quote": ('a,b\n1,2\n3,"4\n5,6\n', "a quote is opened and never closed"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_table_is_refused_in_our_words(write, content, message):
    with pytest.raises(DataError, match=r"t\.csv.*" + message):
        read(write("t.csv", content))


def test_a_header_without_rows_has_no_rows(write):
    with pytest.raises(DataError, match="0 rows"):
        infer(read(write("t.csv", "a,b\n")))


def test_infinity_in_a_text_table_is_found_by_its_row(write):
    with pytest.raises(DataError, match=r"t\.csv, column 'a', row 2: inf"):
        infer(read(write("t.csv", "a\n1.5\ninf\n2.5\n")))


# ── splits ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_split_column_is_honoured_in_its_three_words():
    frame = read({"a": [1, 2, 3, 4], "split": ["train", "val", "Test", "valid"]})
    assert frame.split.tolist() == ["train", "validation", "test", "validation"]
    assert "split" in frame.columns


def test_a_column_that_happens_to_be_called_split_is_data():
    assert read({"split": ["ends", "wood", "ends"]}).split is None
    assert read({"split": ["train", "test"]}, split="").split is None


def test_a_named_split_column_outranks_the_sources_own(savez):
    path = savez(x_train=np.zeros((2, 2)), x_test=np.ones((2, 2)), y_train=["test", "train"], y_test=["train", "val"])
    assert read(path).split.tolist() == ["train", "train", "test", "test"]
    assert read(path, split="y").split.tolist() == ["test", "train", "train", "validation"]


def test_a_column_called_split_that_is_named_as_such_is_not_excused():
    with pytest.raises(DataError, match="row 1: 'ends' names no split"):
        read({"split": ["ends", "wood"]}, split="split")


def test_a_named_split_column_must_exist_and_hold_splits():
    with pytest.raises(RecipeError, match="no column 'fold'"):
        read({"a": [1, 2]}, split="fold")
    with pytest.raises(DataError, match="row 2: 'lost' names no split"):
        read({"fold": ["train", "lost"]}, split="fold")


# ── data frames ──────────────────────────────────────────────────────────────────────────────────────────────

TABLE = pd.DataFrame(
    {
        "whole": pd.array([1, None, 3], dtype="Int64"),
        "plain": np.asarray([1, 2, 3], dtype=np.int32),
        "real": [0.5, np.nan, 1.5],
        "flag": [True, False, True],
        "word": ["a", None, "c"],
        "kind": pd.Categorical(["u", "v", None]),
    }
)


@pytest.mark.parametrize("make", [lambda t: t, pa.Table.from_pandas], ids=["pandas", "pyarrow"])
def test_data_frames_keep_numbers_flags_texts_and_holes(make):
    columns = read(make(TABLE)).columns
    np.testing.assert_array_equal(columns["whole"], [1, np.nan, 3])
    assert columns["plain"].dtype == np.int32
    assert np.isnan(columns["real"]).tolist() == [False, True, False]
    assert columns["flag"].dtype == np.bool_
    assert columns["word"].tolist() == ["a", None, "c"]
    assert columns["kind"].tolist() == ["u", "v", None]


def test_a_series_is_a_table_of_one_column():
    assert list(read(pd.Series([1.0, 2.0], name="height")).columns) == ["height"]


def test_labels_that_are_numbers_or_tuples_become_names():
    assert list(read(pd.DataFrame(np.zeros((2, 2)))).columns) == ["0", "1"]
    nested = pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")])
    assert list(read(pd.DataFrame(np.zeros((2, 2)), columns=nested)).columns) == ["('a', 'b')", "('a', 'c')"]


def test_dates_become_texts_and_lists_are_refused():
    days = pd.DataFrame({"day": pd.to_datetime(["2020-01-01", "2020-01-02"])})
    assert read(days).columns["day"][0].startswith("2020-01-01")
    with pytest.raises(DataError, match="column 'a', row 1: a list is neither number nor text"):
        read(pd.DataFrame({"a": [[1], [2]]}))


@pytest.mark.parametrize("suffix", ["parquet", "feather"])
@pytest.mark.parametrize("compression", ["snappy", None, "zstd"])
def test_parquet_and_feather_read_as_the_frame_they_were(tmp_path, suffix, compression):
    path = tmp_path / f"t.{suffix}"
    save = {"parquet": TABLE.to_parquet, "feather": TABLE.to_feather}[suffix]
    save(path, compression={"snappy": "lz4", None: "uncompressed"}.get(compression, compression)
         if suffix == "feather" else compression)  # fmt: skip
    found, own = read(path), read(TABLE)
    assert list(found.columns) == list(own.columns)
    for name, column in own.columns.items():
        assert found.columns[name].dtype == column.dtype
        np.testing.assert_array_equal(found.columns[name], column)


# ── text in lines ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old mac"])
def test_a_text_file_has_a_row_for_each_line(write, end):
    lines = ["CCO", " c1ccccc1 ", "a\x1cb\u2028c", "ü"]
    for content in (end.join(lines), end.join(lines) + end):
        assert read(write("t.txt", content)).columns["text"].tolist() == lines


def test_blank_lines_are_left_out_aloud(write):
    frame = read(write("t.txt", "\ufeffa\n\n  \nb\n"))
    assert (frame.columns["text"].tolist(), frame.notes) == (["a", "b"], ("left out 2 blank lines",))


def test_lines_are_not_fitted_and_the_reason_is_given(write):
    path = write("t.txt", "".join(f"line {i % 3}\n" for i in range(60)))
    with pytest.raises(
        DataError, match=r"'text' is text .* no likelihood of sequences yet[\s\S]*--column text=category"
    ):
        vael.fit(path)
    assert understand(read(path), Reading.asked(kinds={"text": "category"}))["text"].levels == 3


def test_texts_of_a_table_are_not_fitted_and_the_reason_is_given():
    with pytest.raises(DataError, match="'smiles' is text that differs from row to row"):
        vael.fit({"smiles": ["C" * i for i in range(1, 60)]})


def test_bytes_are_no_text(write):
    with pytest.raises(DataError, match=r"t\.txt: is not UTF-8 text"):
        read(write("t.txt", "naïve".encode("latin-1")))
    with pytest.raises(DataError, match=r"t\.txt: the file is empty"):
        read(write("t.txt", "\n\n"))


def test_a_folder_of_the_same_name_does_not_hide_a_named_set(tmp_path, monkeypatch):
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "people.csv").write_text("age,size\n1,2.5\n3,4.5\n")
    (tmp_path / "people").mkdir()
    monkeypatch.setenv("VAEL_DATA", str(tmp_path / "sets"))
    monkeypatch.chdir(tmp_path)
    assert list(read("people").columns) == ["age", "size"]
