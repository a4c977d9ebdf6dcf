"""What was said about the data is kept with the run: its data read again, and other data read, as its own were."""

import json

import numpy as np
import pytest
import scipy.sparse as sp
from PIL import Image

import vael

RNG = np.random.default_rng(0)
QUICK = {"steps": 6, "latent": 2}


@pytest.fixture
def fit(tmp_path):
    """Fit into a folder, and open it again: nothing but what is on the disk is known."""

    def run(data, **options):
        made = vael.fit(data, output=tmp_path / "run", **QUICK, **options)
        return vael.load(made.folder.path)

    return run


def pictures(folder, sides, count=20):
    folder.mkdir()
    for i in range(count):
        side = sides[i % len(sides)]
        Image.fromarray(RNG.integers(0, 256, (side + 2, side)).astype(np.uint8)).save(folder / f"{i:02d}.png")
    return folder


def encoded_by_row(run):
    """Latents of the run's own rows, in the order of the source."""
    parts = {name: run.data.split(name) for name in ("train", "validation", "test")}
    rows = np.concatenate([part.index.numpy() for part in parts.values()])
    return np.concatenate([run.encode(part) for part in parts.values()])[np.argsort(rows)]


def test_pictures_are_resized_again_and_so_are_other_pictures(fit, tmp_path):
    folder = pictures(tmp_path / "own", [12, 9])
    run = fit(folder, resize="6x8")
    assert run.recipe["data"]["resize"] == [6, 8]
    assert run.schema.event_shape == (1, 8, 6)
    np.testing.assert_allclose(run.encode(folder), encoded_by_row(run), atol=1e-6)
    assert run.encode(pictures(tmp_path / "other", [20, 7, 31])).shape == (20, 2)


def test_columns_of_counts_are_chosen_again_and_found_in_other_counts(fit, tmp_path):
    counts = RNG.poisson(np.linspace(0.1, 2.0, 40), (60, 40))
    sp.save_npz(tmp_path / "counts.npz", sp.csr_matrix(counts))
    run = fit(tmp_path / "counts.npz", features=7)
    assert run.recipe["data"]["features"] == 7
    np.testing.assert_allclose(run.encode(tmp_path / "counts.npz"), encoded_by_row(run), atol=1e-6)
    other = counts.copy()
    other[:, 0] = 1000  # the largest total there, and none of the run's columns
    np.testing.assert_array_equal(run.encode(sp.csr_matrix(other)), run.encode(counts))
    sampled = run.sample(5, seed=0)
    assert run.encode(sampled).shape == (5, 2)


def test_a_split_column_is_honoured_again_and_not_asked_of_other_data(fit, tmp_path):
    fold = np.where(np.arange(60) % 4, "train", "test").tolist()
    rows = RNG.normal(size=(60, 2)).round(6)
    lines = [f"{a},{b},{word}" for (a, b), word in zip(rows, fold, strict=True)]
    (tmp_path / "t.csv").write_text("a,b,fold\n" + "\n".join(lines) + "\n")
    run = fit(tmp_path / "t.csv", split={"column": "fold", "validation": 0.2})
    assert run.recipe["data"]["split"] == {"column": "fold", "validation": 0.2}
    assert {name: len(split) for name, split in run.data.splits.items()} == {"train": 36, "validation": 9, "test": 15}
    assert set(run.data.split("test").index.tolist()) == set(range(0, 60, 4))
    assert run.evaluate({"a": [0.1, 0.2], "b": [1.0, 2.0]}, draws=2).examples == 2


def test_a_mark_that_the_training_rows_never_met_is_one_in_other_data(fit, tmp_path):
    rows = "".join(f"{RNG.normal():.6f},{RNG.normal():.6f}\n" for _ in range(40))
    (tmp_path / "t.csv").write_text("a,b\n" + rows)
    (tmp_path / "other.csv").write_text("a,b\n1.5,-999\n-999,2.5\n")
    run = fit(tmp_path / "t.csv", missing=["-999"])
    assert run.split_of(tmp_path / "other.csv").observed.tolist() == [[True, False], [False, True]]


def test_a_schema_file_edited_by_hand_decides_and_is_not_needed_again(fit, tmp_path):
    columns = {"age": RNG.integers(18, 90, 80), "visits": RNG.poisson(3, 80)}
    first = fit(columns)
    path = tmp_path / "edited.json"
    edited = json.loads((tmp_path / "run" / "schema.json").read_text())
    assert "sha256" in edited  # stale from here on
    next(entry for entry in edited["fields"] if entry["name"] == "visits")["kind"] = "count"
    path.write_text(json.dumps(edited))
    second = vael.fit(columns, schema=path, output=tmp_path / "second", **QUICK)
    path.unlink()
    assert first.schema["visits"].kind != "count"
    assert (second.schema["visits"].kind, second.schema["visits"].why) == ("count", f"as {path} says")
    assert second.recipe["data"]["schema"] == str(path)
    assert vael.load(tmp_path / "second").evaluate(columns, draws=2).examples == 80
    assert vael.fit(columns, schema=second.schema, output=tmp_path / "third", **QUICK).schema["visits"].kind == "count"


def test_notes_of_the_reading_come_with_the_data(tmp_path):
    folder = pictures(tmp_path / "own", [12, 9])
    seen = {}
    vael.fit(
        folder, resize=8, output=tmp_path / "run", watch=lambda event: seen.setdefault(event["event"], event), **QUICK
    )
    assert seen["plan"]["plan"].data.notes == ("20 pictures resized to 8×8, after a centred crop to that ratio",)


def test_torch_data_sets_fit_and_measure(tmp_path):
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    rows = torch.from_numpy(RNG.normal(size=(40, 3)))
    run = vael.fit(DataLoader(TensorDataset(rows), batch_size=7), output=tmp_path / "run", **QUICK)
    np.testing.assert_array_equal(run.encode(TensorDataset(rows)), run.encode(rows.numpy()))
