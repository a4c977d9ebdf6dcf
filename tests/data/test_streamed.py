"""A streamed split gives the rows that the same data in memory would, and keeps few of them."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import feather, parquet

from vael.data import Reading, encode
from vael.data.sources import open_groups, read
from vael.data.sources.tables import TableGroups
from vael.data.splits import sample_of, share_out
from vael.data.streamed import Opened
from vael.data.understand import understand
from vael.errors import DataError, RecipeError
from vael.training.order import Order

GROUP, FILES = 50, 3


def columns(rows, seed=0):
    rng = np.random.default_rng(seed)
    height = rng.normal(170, 10, rows)
    height[rng.random(rows) < 0.1] = np.nan
    return {
        "height": pa.array(height, from_pandas=True),
        "width": pa.array(rng.normal(size=rows).astype(np.float32)),
        "city": pa.array(rng.choice(["Bern", "Oslo"], rows).tolist()),
        "here": pa.array((rng.random(rows) < 0.5).tolist()),
        "planet": pa.array(["Earth"] * rows),
    }


@pytest.fixture(scope="module", params=["parquet", "feather"])
def folder(request, tmp_path_factory):
    """Three files of four groups of 50 rows, sub-folder and notes of another program beside them."""
    path = tmp_path_factory.mktemp("table") / "people"
    (path / "more").mkdir(parents=True)
    for number, name in enumerate(["a", "b", "more/c"]):
        table = pa.table(columns(4 * GROUP, number))
        if request.param == "parquet":
            parquet.write_table(table, path / f"{name}.parquet", row_group_size=GROUP)
        else:
            feather.write_feather(table, path / f"{name}.feather", chunksize=GROUP)
    (path / "_SUCCESS").write_text("")
    (path / "_old.parquet").write_text("no table")
    return path


def opened(path, seed=0, **fractions):
    return Opened.of(open_groups(path), fractions, seed)


def prepared(path, seed=0, **fractions):
    source = opened(path, seed, **fractions)
    schema = source.understood(understand(source.frame, Reading()))
    return source.prepare(schema)


def test_every_row_is_in_one_split_and_is_the_row_of_the_data_in_memory(folder):
    data = prepared(folder, validation=0.2, test=0.2)
    whole = encode(read(folder), data.schema)
    train = data.splits["train"]
    rows = [train.rows(torch.arange(len(train))), data.splits["validation"], data.splits["test"]]
    assert sorted(torch.cat([split.index for split in rows]).tolist()) == list(range(FILES * 4 * GROUP))
    for split in rows:
        same = whole.rows(split.index)
        assert torch.equal(split.x, same.x)
        assert torch.equal(split.observed, same.observed)
        assert torch.equal(split.log_jacobian, same.log_jacobian)


def test_a_batch_of_any_step_is_that_of_the_data_in_memory(folder):
    data = prepared(folder)
    train = data.splits["train"]
    whole = encode(read(folder), data.schema)
    resident = whole.rows(train.rows(torch.arange(len(train))).index)
    order = Order(len(train), 33, 5, train.blocks)
    for step in [0, 1, 2, 3, 40, 7, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]:
        chosen = order(step)
        batch, same = train.batch(chosen), resident.batch(chosen)
        assert torch.equal(batch.x, same.x)
        assert torch.equal(batch.index, same.index)
        assert torch.equal(batch.observed, same.observed)


def test_a_batch_larger_than_a_window_is_gathered_from_several(folder):
    train = prepared(folder).splits["train"]
    train.reader.blocks.rows_wanted = 1  # windows of four groups
    order = Order(len(train), len(train) - 1, 0, train.blocks)
    for step in range(3):
        chosen = order(step)
        assert torch.equal(train.batch(chosen).index, train.rows(chosen).index)
        assert len(set(train.batch(chosen).index.tolist())) >= len(train) - GROUP


def test_no_more_than_two_windows_stay_in_memory(folder):
    train = prepared(folder).splits["train"]
    train.reader.blocks.rows_wanted = 1
    order = Order(len(train), 20, 0, train.blocks)
    for step in range(60):
        chosen = order(step)
        train.batch(chosen)
        train.batch(chosen)
        assert len(train.reader._held) <= 3  # the third goes with the first batch that lies in one window
    assert len(train.reader._held) <= 3


def test_a_row_is_found_by_its_number_in_the_source(folder):
    train = prepared(folder).splits["train"]
    index = train.rows(torch.arange(len(train))).index
    for position in (0, 17, len(train) - 1):
        assert train.place(int(index[position])).tolist() == [position]
    assert train.place(10**6).tolist() == []


def test_what_needs_all_training_rows_at_once_is_refused_in_words(folder):
    train = prepared(folder).splits["train"]
    for verb in (train.settled, train.thresholded):
        with pytest.raises(DataError, match=r"training rows are streamed and not in memory"):
            verb()


# ── which groups do what ─────────────────────────────────────────────────────────────────────────────────────


def test_whole_groups_are_held_out_and_the_seed_says_which(folder):
    groups = open_groups(folder).groups
    found = share_out(groups, {"validation": 0.1, "test": 0.2}, 0).groups
    assert [len(found[name]) for name in ("train", "validation", "test")] == [7, 2, 3]  # 60 and 120 rows, rounded up
    assert len({group.start for name in found for group in found[name]}) == 12
    assert share_out(groups, {}, 0) == share_out(groups, {}, 0)
    assert share_out(groups, {}, 0).groups != share_out(groups, {}, 1).groups


def test_a_tiny_share_has_one_group_and_none_has_none(folder):
    groups = open_groups(folder).groups
    assert len(share_out(groups, {"validation": 1e-9, "test": 0.0}, 0).groups["validation"]) == 1
    assert not share_out(groups, {"validation": 1e-9, "test": 0.0}, 0).groups["test"]
    assert not share_out(groups[:2], {}, 0).groups["test"]
    with pytest.raises(RecipeError, match="leave rows to train on"):
        share_out(groups, {"validation": 0.6, "test": 0.5}, 0)


def test_held_out_rows_are_bounded(tmp_path):
    table = pa.table(
        {"a": np.arange(400_000, dtype=np.float64) ** 0.5, "b": np.random.default_rng(0).normal(size=400_000)}
    )
    parquet.write_table(table, tmp_path / "large.parquet", row_group_size=100_000)
    data = prepared(tmp_path / "large.parquet", test=0.3)
    assert len(data.splits["validation"]) == 5_000
    assert len(data.splits["test"]) == 100_000
    assert len(data.splits["train"]) == 200_000
    assert any("validation: 5,000 of the 100,000 rows" in note for note in data.notes)
    assert any("schema and views from 100,000 of" in note for note in data.notes)


def test_folders_named_after_splits_are_the_split(tmp_path):
    for number, split in enumerate(["train", "valid", "test"]):
        (tmp_path / split).mkdir()
        parquet.write_table(pa.table(columns(200, number)), tmp_path / split / "a.parquet", row_group_size=100)
    data = prepared(tmp_path)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 200, "validation": 200, "test": 200}
    assert data.splits["test"].index.tolist() == list(range(200))  # "test" comes first by name
    assert (read(tmp_path).split[:200] == "test").all()
    (tmp_path / "other.parquet").write_bytes((tmp_path / "train" / "a.parquet").read_bytes())
    with pytest.raises(DataError, match=r"named after a split, and other\.parquet does not"):
        open_groups(tmp_path)


def test_the_schema_is_understood_from_several_groups(folder):
    groups = open_groups(folder).groups
    assert len(sample_of(groups)) == 12
    assert len(opened(folder).frame) == GROUP * len(opened(folder).shared.groups["train"])


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────


def spoilt(tmp_path, seed=0, **changed):
    """A file of twenty groups with one value changed in the last of them, and its data's schema of before."""
    rows = 1000
    held = columns(rows)
    parquet.write_table(pa.table(held), tmp_path / "good.parquet", row_group_size=50)
    source = opened(tmp_path / "good.parquet")
    schema = source.understood(understand(source.frame, Reading()))
    for name, value in changed.items():
        values = held[name].to_pylist()
        values[977] = value
        held[name] = pa.array(values, held[name].type)
    parquet.write_table(pa.table(held), tmp_path / "bad.parquet", row_group_size=50)
    return Opened.of(open_groups(tmp_path / "bad.parquet"), {}, seed).prepare, schema


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("sampled", [200, 100_000])
@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"width": float("inf")}, r"bad.parquet, column 'width', row 978: inf (cannot be|is not a number)"),
        ({"city": "Rome"}, r"bad.parquet, column 'city', row 978: 'Rome' is not one of its 2 values"),
        ({"planet": "Mars"}, r"bad.parquet, column 'planet', row 978: 'Mars' cannot be; expected 'Earth'"),
    ],
)
def test_an_impossible_value_is_told_with_file_and_row(tmp_path, monkeypatch, changed, told, sampled, seed):
    """Whether the row validates, trains, or is in the sample that the schema is understood from."""
    monkeypatch.setattr(TableGroups, "sampled", sampled)

    def read_all():
        prepare, schema = spoilt(tmp_path, seed, **changed)
        train = prepare(schema).splits["train"]
        train.rows(torch.arange(len(train)))

    with pytest.raises(DataError, match=told):
        read_all()


def test_truth_values_with_holes_in_some_groups_alone_are_read_alike(tmp_path):
    values = ([True, False] * 400) + [None, True] * 100
    table = pa.table({"on": values, "x": np.random.default_rng(0).normal(size=1000)})
    parquet.write_table(table, tmp_path / "on.parquet", row_group_size=100)
    data = prepared(tmp_path / "on.parquet")
    train = data.splits["train"]
    found = train.rows(torch.arange(len(train)))
    known = found.observed[:, 0]
    assert torch.equal(known, torch.tensor([values[int(row)] is not None for row in found.index]))
    assert torch.equal(
        found.x[known, 0], torch.tensor([float(values[int(row)]) for row in found.index[known]], dtype=torch.float32)
    )
    assert data.schema["on"].missing == 100  # as the file's own notes count them, sampled or not


def test_files_of_another_form_are_refused_by_name(tmp_path):
    parquet.write_table(pa.table({"a": [1.0]}), tmp_path / "1.parquet")
    parquet.write_table(pa.table({"a": [1]}), tmp_path / "2.parquet")
    with pytest.raises(DataError, match=r"2\.parquet: column 'a' is int64, in 1\.parquet it is double"):
        open_groups(tmp_path)


def test_what_cannot_be_streamed_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match="cannot be streamed"):
        open_groups(tmp_path / "a.csv")
    with pytest.raises(DataError, match="data in memory"):
        open_groups([[1.0]])
    with pytest.raises(DataError, match="digits: is built in"):
        open_groups("digits")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match=r"torn\.parquet: damaged"):
        open_groups(tmp_path / "torn.parquet")


def test_the_fingerprint_knows_names_sizes_and_closing_notes(tmp_path):
    marks = []
    for values, name in [([1.0, 2.0], "a"), ([1.0, 3.0], "a"), ([1.0, 2.0], "b")]:
        (tmp_path / "t").mkdir(exist_ok=True)
        for old in (tmp_path / "t").iterdir():
            old.unlink()
        parquet.write_table(pa.table({"v": values}), tmp_path / "t" / f"{name}.parquet")
        marks.append(open_groups(tmp_path / "t").fingerprint)
    assert len(set(marks)) == 3
    assert all(mark.startswith("footers:") for mark in marks)


def test_a_folder_of_tables_is_read_whole_without_streaming(folder):
    frame = read(folder)
    assert len(frame) == FILES * 4 * GROUP
    assert list(frame.columns) == ["height", "width", "city", "here", "planet"]


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Ninety grey pictures of 8 × 8 pixels in two folders, their first pixel telling which is which; blocks of ten."""
    from PIL import Image

    from vael.data.sources import blocks

    monkeypatch.setattr(blocks, "BLOCK", 10)
    rng = np.random.default_rng(0)
    for number in range(90):
        grey = rng.integers(0, 256, (8, 8)).astype(np.uint8)
        grey[0, 0] = number
        folder = tmp_path / "faces" / ("anna" if number < 45 else "bert")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey).save(folder / f"{number:02}.png")
    return tmp_path / "faces"


def test_pictures_are_those_of_the_folder_read_whole(pictures):
    data = prepared(pictures, validation=0.2, test=0.2)
    whole = encode(read(pictures), data.schema)
    train = data.splits["train"]
    rows = [train.rows(torch.arange(len(train))), data.splits["validation"], data.splits["test"]]
    assert [len(split) for split in rows] == [50, 20, 20]
    assert sorted(torch.cat([split.index for split in rows]).tolist()) == list(range(90))
    for split in rows:
        assert split.x.dtype == torch.uint8
        assert torch.equal(split.x, whole.rows(split.index).x)
        assert torch.equal(split.label, whole.rows(split.index).label)
        assert 4 < int(split.label[:10].sum()) + 2 < 11  # a block of ten shows both classes, not one
    assert train.place(int(rows[0].index[7])).tolist() == [7]


def test_a_block_of_one_bit_pictures_among_grey_ones_is_black_and_white(pictures):
    from PIL import Image

    from vael.data.sources.pictures import open_pictures

    path = pictures / "bert" / "bit.png"
    Image.fromarray(np.eye(8, dtype=bool)).save(path)
    assert open_pictures({"bit": path}, "faces")[0].max() == 1
    assert open_pictures({"bit": path}, "faces", greys=True)[0].max() == 255
    schema = prepared(pictures).schema
    assert open_groups(pictures).like(schema).greys


def test_the_fingerprint_of_pictures_knows_names_and_sizes(pictures):
    before = open_groups(pictures).fingerprint
    assert before == open_groups(pictures).fingerprint
    assert before.startswith("sizes:")
    (pictures / "anna" / "00.png").rename(pictures / "anna" / "000.png")
    assert open_groups(pictures).fingerprint != before


def trains_unsampled(path, start, seed):
    """Whether the group that begins in row `start` trains, and is not among the first four, which are sampled."""
    return start in [group.start for group in share_out(open_groups(path).groups, {}, seed).groups["train"][4:]]


def test_an_impossible_row_is_told_of_at_the_step_that_needs_it_not_before(tmp_path, monkeypatch):
    monkeypatch.setattr(TableGroups, "sampled", 200)
    prepare, schema = spoilt(tmp_path, 0, width=float("nan"))
    seed = next(seed for seed in range(99) if trains_unsampled(tmp_path / "bad.parquet", 950, seed))
    prepare, schema = spoilt(tmp_path, seed, width=float("inf"))
    train = prepare(schema).splits["train"]
    train.reader.blocks.rows_wanted = 1
    bad = next(block for block, group in enumerate(train.reader.groups) if group.start == 950)
    good = tuple(range(4))
    train.blocks.expect(good, (bad,))
    with pytest.raises(DataError):
        train.reader._held[(bad,)].result()  # read, and found to be wrong
    first = torch.tensor([train.blocks.starts[good[0]]])
    assert len(train.batch(first)) == 1
    with pytest.raises(DataError, match="row 978"):
        train.batch(torch.tensor([train.blocks.starts[bad]]))


def test_two_orders_walk_side_by_side_without_reading_twice(folder):
    train = prepared(folder).splits["train"]
    train.reader.blocks.rows_wanted = 1
    reads = []
    block = train.reader.block
    train.reader.block = lambda number: reads.append(number) or block(number)
    orders = [Order(len(train), 10, seed, train.blocks) for seed in (0, 1)]
    steps = len(train) // 10
    for step in range(steps):
        for order in orders:
            chosen = order(step)
            assert torch.equal(train.batch(chosen).index, train.rows(chosen).index)
    assert len(reads) <= 2 * (len(train.reader.groups) + 8)  # an epoch each, and the window after it


def test_a_hole_that_nothing_foretold_is_refused_and_nulls_foretell_it(tmp_path, monkeypatch):
    monkeypatch.setattr(TableGroups, "sampled", 200)
    values = np.random.default_rng(0).normal(size=(2, 1000))
    table = pa.table({"a": values[0], "b": values[1]})
    parquet.write_table(table, tmp_path / "t.parquet", row_group_size=50)
    seed = next(seed for seed in range(99) if trains_unsampled(tmp_path / "t.parquet", 950, seed))
    values[1][977] = np.nan
    for nulls in (False, True):
        holed = pa.table({"a": values[0], "b": pa.array(values[1], from_pandas=nulls)})
        parquet.write_table(holed, tmp_path / "t.parquet", row_group_size=50)
        train = prepared(tmp_path / "t.parquet", seed).splits["train"]
        every = torch.arange(len(train))
        if nulls:
            assert int((~train.rows(every).observed).sum()) == 1
            assert train.batch(every[:5]).observed.all()  # the same form for every batch
        else:
            with pytest.raises(DataError, match=r"t\.parquet, column 'b', row 978: the value is missing"):
                train.rows(every)
