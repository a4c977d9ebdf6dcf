"""Sparse counts and the choice of columns: what is kept is what the dense matrix says."""

import os

import numpy as np
import pytest
import scipy.sparse as sp

from vael.data import Reading
from vael.data.sources import read, read_like
from vael.data.understand import understand
from vael.errors import DataError, RecipeError

RNG = np.random.default_rng(0)
DENSE = (RNG.random((40, 30)) < 0.3) * RNG.integers(1, 9, (40, 30))
DENSE[:, 3] = 0
TOTALS = DENSE.sum(0)
COUNTS = sp.csr_matrix(DENSE.astype(np.uint16))


def write(path, matrix, **beside):
    parts = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr, "shape": np.asarray(matrix.shape)}
    np.savez(path, **{**parts, **beside})
    return path


@pytest.fixture
def save(tmp_path):
    return lambda matrix=COUNTS, **beside: write(tmp_path / "c.npz", matrix, **beside)


def dense(frame):
    return np.stack([column for name, column in frame.columns.items() if name not in frame.labels], axis=1)


def test_a_sparse_matrix_reads_as_the_dense_one_in_its_own_type(save):
    frame = read(save())
    np.testing.assert_array_equal(dense(frame), DENSE)
    assert list(frame.columns) == [f"x{i}" for i in range(30)]
    assert frame.columns["x5"].dtype == np.uint16


@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_what_scipy_saves_and_holds_reads_the_same(tmp_path, kind):
    matrix = sp.csr_matrix(DENSE).asformat(kind)
    sp.save_npz(tmp_path / "s.npz", matrix)
    for source in (tmp_path / "s.npz", matrix, sp.csr_array(DENSE)):
        np.testing.assert_array_equal(dense(read(source)), DENSE)


def test_numbers_stored_twice_add_up_even_beyond_their_type():
    matrix = sp.csr_matrix((np.asarray([200, 100, 3], np.uint8), [0, 0, 1], [0, 2, 3]), shape=(2, 2))
    frame = read(matrix)
    assert dense(frame).tolist() == [[300, 0], [0, 3]]


def test_columns_are_counts_unless_they_do_not_vary_or_are_not_whole(save):
    schema = understand(read(save()), Reading())
    assert schema["x5"].describe() == "count (sparse counts)"
    assert schema["x3"].kind == "constant"
    halves = read(save(sp.csr_matrix(DENSE / 2)))
    assert halves.kinds == {}


def test_names_are_taken_where_they_are_unique_and_labels_where_they_fit(save):
    names = np.asarray([f"gene{i}" for i in range(30)])
    frame = read(save(gene_names=names, y=np.arange(40), cell_ids=np.asarray([f"c{i}" for i in range(40)])))
    assert list(frame.columns) == [*names, "y"]
    assert frame.labels == ("y",)
    assert frame.notes == ("left out, being neither counts nor labels: cell_ids",)
    twins = read(save(gene_names=np.asarray(["a"] * 30)))
    assert list(twins.columns)[:2] == ["x0", "x1"]


# ── which columns are kept ───────────────────────────────────────────────────────────────────────────────────


def independently_kept(number):
    """The columns with the largest totals by a plain sort, earlier ones first among equals."""
    ranked = sorted(range(30), key=lambda place: (-TOTALS[place], place))
    return sorted(ranked[:number])


@pytest.mark.parametrize("number", [1, 7, 29, 30, 100])
def test_the_columns_with_the_largest_totals_are_kept_in_their_order(save, number):
    kept = independently_kept(number)
    for frame in (read(save(), features=number), read(DENSE, features=number)):
        assert list(frame.columns) == [f"x{place}" for place in kept]
        np.testing.assert_array_equal(dense(frame), DENSE[:, kept])
    share = f"{100 * TOTALS[kept].sum() / TOTALS.sum():.3g} %"
    told = [note for note in read(save(), features=number).notes if "kept" in note]
    assert told == (
        [f"kept the {number} of 30 columns with the largest totals, {share} of the sum of all"] * (number < 30)
    )


def test_columns_can_be_kept_by_their_names_and_a_wrong_one_is_no_column(save):
    for source in (save(y=np.arange(40)), {**{f"x{i}": DENSE[:, i] for i in range(30)}, "y": ["a", "b"] * 20}):
        frame = read(source, features=["x7", "x2"])
        assert list(frame.columns) == ["x2", "x7", "y"]
        np.testing.assert_array_equal(frame.columns["x7"], DENSE[:, 7])
        with pytest.raises(RecipeError, match=r"has no column 'x77'\. Did you mean 'x7'\?"):
            read(source, features=["x77"])


def test_labels_texts_and_columns_spoken_of_are_no_features():
    table = {**{f"g{i}": DENSE[:, i] for i in range(30)}, "cell": ["a", "b"] * 20, "batch": np.zeros(40, int)}
    frame = read(table, features=2, label=["batch"], split={"validation": 0.1})
    assert list(frame.columns)[2:] == ["cell", "batch"]


def test_a_wide_matrix_without_a_choice_is_offered_one(save):
    wide = sp.csr_matrix((4, 6000), dtype=np.uint16)
    with pytest.raises(DataError, match=r"a sparse matrix of 6000 columns; .* at most 5000[\s\S]*--features 500"):
        read(save(wide))


def test_a_total_of_negative_numbers_means_nothing(save):
    negative = DENSE.astype(np.int64)
    negative[2, 4] = -1
    with pytest.raises(DataError, match="holds -1, and --features keeps"):
        read(save(sp.csr_matrix(negative)), features=3)
    with pytest.raises(DataError, match=r"column 'x4', row 3: -1 is negative"):
        read(negative, features=3)
    with pytest.raises(RecipeError, match="features: chooses columns of a table of counts; digits holds pictures"):
        read("digits", features=3)


def test_other_data_keep_the_columns_of_the_first_not_their_own_largest(save):
    reading = Reading.asked(features=5)
    schema = understand(read(save(), reading), reading)
    other = DENSE[::-1].copy()
    other[:, 3] = 1000
    assert "x3" in read(save(sp.csr_matrix(other)), reading).columns
    again = read_like(save(sp.csr_matrix(other)), schema, reading)
    assert list(again.columns) == [f"x{place}" for place in independently_kept(5)]
    np.testing.assert_array_equal(dense(again), other[:, independently_kept(5)])


# ── damage ───────────────────────────────────────────────────────────────────────────────────────────────────


def damaged():
    good = sp.csr_matrix(DENSE)
    parts = {"data": good.data, "indices": good.indices, "indptr": good.indptr, "shape": np.asarray(good.shape)}
    yield "a value lost", {**parts, "data": good.data[:-1]}
    yield "a row lost", {**parts, "indptr": good.indptr[:-1]}
    yield "a column too far", {**parts, "indices": good.indices + 30}
    yield "places that fall", {**parts, "indptr": np.asarray([0, 5, 3, *good.indptr[3:]])}
    yield "texts", {**parts, "data": good.data.astype(str)}
    yield "no places", {**parts, "indptr": np.zeros(0, np.int64)}


@pytest.mark.parametrize("parts", [parts for _, parts in damaged()], ids=[name for name, _ in damaged()])
def test_parts_that_do_not_fit_are_called_damaged(tmp_path, parts):
    np.savez(tmp_path / "c.npz", **parts)
    with pytest.raises(DataError, match=r"c\.npz: a damaged sparse matrix"):
        read(tmp_path / "c.npz")


def test_other_forms_of_sparse_matrices_are_named(tmp_path, save):
    with pytest.raises(DataError, match="its format is bsr, not csr or csc"):
        read(save(format=np.asarray(b"bsr")))
    with pytest.raises(DataError, match=r"its shape is \(30,\), not \(N, F\)"):
        read(save(shape=np.asarray([30])))


@pytest.mark.parametrize(
    ("name", "rows", "first"), [("worm_neuron_counts", 4186, "x47"), ("pbmc_counts", 200, "RPL22")]
)
def test_real_counts_are_read_and_their_choice_is_told(name, rows, first):
    if not os.environ.get("VAEL_DATA"):
        pytest.skip("VAEL_DATA is unset: the real data sets are not at hand")
    frame = read(name, features=300)
    assert (len(frame), next(iter(frame.columns))) == (rows, first)
    assert "kept the 300 of" in frame.notes[0]
    with pytest.raises(DataError, match="--features 500"):
        read(name)
