"""Verbs over folders: the numbers of the single-file verbs, whoever does the files, and never twice."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

import vael
from vael.applications import bulk as functions
from vael.cli.app import run as command
from vael.errors import DataError, RecipeError, WriteError
from vael.evaluation import bounds
from vael.evidence import Importance
from vael.runs import bulk

FILES = ("a.parquet", "b.parquet", "more/c.feather")


@pytest.fixture(scope="module")
def people_folder(people, tmp_path_factory):
    """The people of conftest in three files of several row groups, two of Parquet and one of Arrow."""
    import pandas as pd

    folder = tmp_path_factory.mktemp("bulk") / "people"
    (folder / "more").mkdir(parents=True)
    table = pa.Table.from_pandas(pd.read_csv(people), preserve_index=False)
    parquet.write_table(table.slice(0, 120), folder / "a.parquet", row_group_size=50)
    parquet.write_table(table.slice(120, 80), folder / "b.parquet", row_group_size=50)
    feather.write_feather(table.slice(200), folder / "more" / "c.feather", chunksize=40)
    return folder


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Several pieces to a file, so that what depends on the cutting shows."""
    monkeypatch.setattr(bulk, "ROWS", 33)
    monkeypatch.setattr(bulk, "PART", 100)


def outputs(folder):
    return [parquet.read_table((folder / name).with_suffix(".parquet")) for name in FILES]


def done(run, verb, source, output, **options):
    return bulk.perform(run, bulk.tasks_of(run, verb, source, output, options))


def test_codes_are_those_of_the_data_read_whole(people_run, people_folder, tmp_path):
    found = done(people_run, "encode", people_folder, tmp_path)
    assert (found.files, found.rows, found.skipped) == (3, 300, 0)
    table = pa.concat_tables(outputs(tmp_path))
    codes = np.stack([table[f"z{unit}"].to_numpy() for unit in (1, 2, 3)], 1)
    np.testing.assert_allclose(codes, people_run.encode(people_folder), atol=1e-6)  # float32, another cut into batches


def test_reconstructions_are_those_of_the_data_read_whole(people_run, people_folder, tmp_path):
    done(people_run, "reconstruct", people_folder, tmp_path)
    table = pa.concat_tables(outputs(tmp_path))
    whole = people_run.reconstruct(people_folder)
    assert table.column_names == list(whole)
    assert table["city"].to_pylist() == list(whole["city"])
    np.testing.assert_allclose(table["income"].to_numpy(), whole["income"], rtol=1e-4)


def test_measures_are_the_bound_and_log_p_of_each_row(people_run, people_folder, tmp_path):
    done(people_run, "evaluate", people_folder, tmp_path, seed=3, method="auto", draws=50, settings={})
    for name, table in zip(FILES, outputs(tmp_path), strict=True):
        split = people_run.split_of(people_folder / name)
        seed = functions.seed_of(3, name)
        found = bounds(people_run.model, split, seed=seed)
        np.testing.assert_allclose(table["elbo"].to_numpy(), found.elbo.numpy(), atol=1e-4)
        np.testing.assert_allclose(
            table["elbo"].to_numpy(), -table["rate"].to_numpy() - table["distortion"].to_numpy(), atol=1e-9
        )
        log_px = Importance(50)(people_run.model, split, seed=seed)
        np.testing.assert_allclose(table["log_px"].to_numpy(), log_px.value.numpy(), atol=1e-4)
        np.testing.assert_allclose(table["log_px_error"].to_numpy(), log_px.monte_carlo_error.numpy(), atol=1e-4)


def test_the_summary_is_mean_and_standard_error_over_all_rows(people_run, people_folder, tmp_path):
    found = done(people_run, "evaluate", people_folder, tmp_path, seed=0, method="auto", draws=5, settings={})
    told = bulk.summary(found.outputs)
    for name, number in told.items():
        values = pa.concat_tables(outputs(tmp_path))[name].to_numpy()
        assert number.value == pytest.approx(values.mean(), rel=1e-12)
        assert number.standard_error == pytest.approx(values.std(ddof=1) / 300**0.5, rel=1e-12)


def test_no_two_files_share_their_noise(people_run, people_folder, tmp_path):
    (tmp_path / "twice").mkdir()
    for name in ("a", "b"):
        shutil.copy(people_folder / "a.parquet", tmp_path / "twice" / f"{name}.parquet")
    done(people_run, "evaluate", tmp_path / "twice", tmp_path / "out", seed=0, method="auto", draws=5, settings={})
    here, there = (parquet.read_table(tmp_path / "out" / f"{name}.parquet")["elbo"].to_numpy() for name in ("a", "b"))
    assert (here != there).all()


# ── never twice, never half ──────────────────────────────────────────────────────────────────────────────────


def test_what_is_there_is_skipped_and_what_is_torn_is_done_again(people_run, people_folder, tmp_path):
    done(people_run, "encode", people_folder, tmp_path)
    kept = (tmp_path / "a.parquet").stat().st_mtime_ns
    (tmp_path / "b.parquet").rename(tmp_path / ".b.parquet.1.part")  # as a killed process leaves it
    found = done(people_run, "encode", people_folder, tmp_path)
    assert (found.files, found.rows, found.skipped) == (1, 80, 2)
    assert (tmp_path / "a.parquet").stat().st_mtime_ns == kept
    assert not list(tmp_path.glob(".*"))


def test_what_another_run_or_other_options_made_is_not_passed_off(people_run, people_folder, tmp_path):
    options = {"method": "auto", "draws": 5, "settings": {}}
    done(people_run, "evaluate", people_folder, tmp_path, seed=0, **options)
    with pytest.raises(WriteError, match=r"a\.parquet: is there, and was not made from this input"):
        done(people_run, "evaluate", people_folder, tmp_path, seed=1, **options)
    with pytest.raises(WriteError, match="was not made from this input"):
        done(people_run, "encode", people_folder, tmp_path)


def test_a_failure_leaves_nothing_half_written(people_run, people_folder, tmp_path):
    table = parquet.read_table(people_folder / "a.parquet")
    cities = [*table["city"].to_pylist()[:99], "Atlantis", *table["city"].to_pylist()[100:]]
    place = table.column_names.index("city")
    (tmp_path / "in").mkdir()
    parquet.write_table(table.set_column(place, "city", pa.array(cities)), tmp_path / "in" / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet, column 'city', row 100: 'Atlantis' is not one of"):
        done(people_run, "encode", tmp_path / "in", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_the_ranks_share_all_files_out_once(people_run, people_folder, tmp_path, monkeypatch):
    tasks = bulk.tasks_of(people_run, "encode", people_folder, tmp_path, {})
    shares = [bulk.share_of(tasks, rank, 2) for rank in range(2)]
    assert sorted(str(task.output) for share in shares for task in share) == sorted(str(t.output) for t in tasks)
    assert all(shares)
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        done(people_run, "encode", people_folder, tmp_path)
    assert sum(map(len, outputs(tmp_path))) == 300
    with pytest.raises(RecipeError, match="RANK=2"):
        bulk.share_of(tasks, 2, 2)


def test_outputs_do_not_go_among_the_inputs(people_run, people_folder):
    with pytest.raises(RecipeError, match="lies in the folder that is read"):
        bulk.tasks_of(people_run, "encode", people_folder, people_folder / "out", {})


# ── samples ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_samples_come_in_parts_and_each_part_is_a_function_of_its_number(people_run, tmp_path):
    def drawn(number, folder, seed=0):
        bulk.perform(people_run, bulk.sampling_tasks(people_run, number, folder, seed=seed, mean=False))
        return [parquet.read_table(path) for path in sorted(folder.iterdir())]

    parts = drawn(250, tmp_path / "one")
    assert [len(part) for part in parts] == [100, 100, 50]
    more = drawn(300, tmp_path / "more")
    assert more[0].equals(parts[0])
    assert more[1].equals(parts[1])
    assert not parts[0].equals(parts[1])
    assert not parts[0].equals(drawn(100, tmp_path / "other", seed=1)[0])
    assert len({str(parts[0].slice(start, 33).to_pydict()) for start in (0, 33, 66)}) == 3


@pytest.fixture(scope="module")
def told_run(tmp_path_factory):
    """A run of p(size | colour), and its table as Parquet."""
    folder, rng = tmp_path_factory.mktemp("told"), np.random.default_rng(0)
    colour = np.array(["red", "blue"] * 100)
    columns = {"colour": colour, "size": np.where(colour == "red", 5.0, -5.0) + rng.normal(size=200)}
    parquet.write_table(pa.table(columns), folder / "all.parquet")
    return vael.fit(columns, given=["colour"], latent=1, steps=300, output=folder / "run"), folder / "all.parquet"


def test_what_a_model_is_conditioned_on_is_read_and_said_for_a_folder_too(told_run, tmp_path):
    run, file = told_run
    assert done(run, "encode", file, tmp_path / "codes").rows == 200
    codes = parquet.read_table(tmp_path / "codes" / "all.parquet")["z1"].to_numpy()
    np.testing.assert_allclose(codes, run.encode(file)[:, 0], atol=1e-6)
    for colour, low, high in (("red", 3, 7), ("blue", -7, -3)):
        folder = tmp_path / colour
        tasks = bulk.sampling_tasks(run, 120, folder, seed=0, mean=False, given={"colour": colour})
        assert bulk.perform(run, tasks).rows == 120
        sizes = parquet.read_table(folder / "part-000000.parquet")["size"].to_numpy()
        assert low < np.median(sizes) < high
    with pytest.raises(RecipeError, match=r"nothing was given.\n  For a folder: --given colour=VALUE"):
        bulk.sampling_tasks(run, 120, tmp_path / "none", seed=0, mean=False)
    with pytest.raises(DataError, match="'green' is not one of its 2 values"):
        bulk.sampling_tasks(run, 120, tmp_path / "none", seed=0, mean=False, given={"colour": "green"})


def test_rows_to_take_from_are_for_one_file(told_run, tmp_path, capsys):
    assert command(["sample", str(told_run[0].folder.path), "--rows", "1", "-o", str(tmp_path / "new")]) == 1
    assert "--rows is for one file" in capsys.readouterr().err


# ── as a person uses it ──────────────────────────────────────────────────────────────────────────────────────


def test_an_output_without_an_ending_is_a_folder(people_run, people_folder, tmp_path, capsys):
    run, data = str(people_run.folder.path), str(people_folder)
    assert command(["encode", run, data, "-o", str(tmp_path / "codes"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["files"], told["examples"], told["skipped"]) == (3, 300, 0)
    assert command(["evaluate", run, data, "-o", str(tmp_path / "bounds"), "--draws", "5"]) == 0
    assert "log p(x)" in capsys.readouterr().out
    assert command(["evaluate", run, data, "-o", str(tmp_path / "bounds"), "--draws", "5"]) == 0
    assert "0 files, 0 rows; 3 skipped" in capsys.readouterr().out
    assert command(["sample", run, "-n", "120", "-o", str(tmp_path / "new")]) == 0
    assert len(list((tmp_path / "new").iterdir())) == 2
    assert command(["reconstruct", run, data, "-o", str(tmp_path / "again")]) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["encode", "RUN", "-o", "out"], "name DATA"),
        (["encode", "RUN", "DATA", "--split", "test", "-o", "out"], "leave out --split"),
        (["evaluate", "RUN", "DATA", "-o", "out.csv"], "into a folder"),
        (["evaluate", "RUN", "DATA", "-o", "out", "--gaps"], "leave out --sandwich, --gaps"),
        (["encode", "RUN", "DATA", "--engine", "ray", "-o", "out.csv"], "give -o a folder"),
        (["encode", "RUN", "people.csv", "-o", "out"], "there is no such file"),
        (["sample", "RUN", "-n", "0", "-o", "out"], "at least 1, got 0"),
    ],
)
def test_what_makes_no_sense_is_refused(people_run, people_folder, tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    known = {"RUN": str(people_run.folder.path.resolve()), "DATA": str(people_folder.resolve())}
    assert command([known.get(word, word) for word in words]) == 1
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_ray_its_engine_is_refused_in_words(people_run, people_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(bulk.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=r"Ray is not installed[.\n ]*Install it with"):
        bulk.perform(people_run, bulk.tasks_of(people_run, "encode", people_folder, tmp_path, {}), engine="ray")


def test_two_ranks_of_torchrun_do_all_files(people_run, people_folder, tmp_path):
    words = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "vael"]
    words += ["encode", str(people_run.folder.path.resolve()), str(people_folder), "-o", str(tmp_path / "out")]
    finished = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, timeout=300)
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert "rank 0 of 2" in finished.stdout
    assert sum(map(len, outputs(tmp_path / "out"))) == 300
    np.testing.assert_allclose(
        np.concatenate([table["z1"].to_numpy() for table in outputs(tmp_path / "out")]),
        vael.load(people_run.folder.path).encode(people_folder)[:, 0],
        atol=1e-6,
    )


def test_where_there_is_no_density_log_p_is_none_and_why(tmp_path, capsys):
    rng = np.random.default_rng(0)
    table = pa.table({f"c{column}": rng.random(200) for column in range(3)})
    parquet.write_table(table, tmp_path / "unit.parquet", row_group_size=50)
    run = vael.fit(tmp_path / "unit.parquet", output=tmp_path / "run", latent=1, steps=3, likelihood="grey_bernoulli")
    words = ["evaluate", str(run.folder.path), str(tmp_path / "unit.parquet"), "-o", str(tmp_path / "out")]
    assert command(words) == 0
    assert "log p(x)    none: grey values" in capsys.readouterr().out
    assert parquet.read_table(tmp_path / "out" / "unit.parquet")["log_px"].null_count == 200
    assert command([*words, "--method", "importance"]) == 1
    assert "'importance' has no answer" in capsys.readouterr().err


@pytest.mark.skipif(bulk.importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_ray_gives_the_same_bytes(people_run, people_folder, tmp_path):
    words = ["-m", "vael", "encode", str(people_run.folder.path.resolve()), str(people_folder), "-o"]
    for engine in ("process", "ray"):
        asked = [sys.executable, *words, str(tmp_path / engine), "--engine", engine]
        subprocess.run(asked, capture_output=True, check=True, timeout=300)
    for name in FILES:
        here, there = ((tmp_path / engine / name).with_suffix(".parquet") for engine in ("process", "ray"))
        assert here.read_bytes() == there.read_bytes()


def test_files_of_one_name_in_two_folders_share_no_noise(people_run, people_folder, tmp_path):
    """The same rows under two names are measured with other draws, so that the mean's error is that of all draws."""
    for place in ("one", "two"):
        (tmp_path / "in" / place).mkdir(parents=True)
        shutil.copy(people_folder / "a.parquet", tmp_path / "in" / place / "part.parquet")
    done(people_run, "evaluate", tmp_path / "in", tmp_path / "out", seed=0, method="auto", draws=5, settings={})
    one, two = (parquet.read_table(tmp_path / "out" / place / "part.parquet")["elbo"] for place in ("one", "two"))
    assert (one.to_numpy() != two.to_numpy()).mean() > 0.9


@pytest.mark.parametrize("content", [b"", b"PAR1\xff\xff\xff\x7fPAR1"])
@pytest.mark.parametrize("name", ["torn.parquet", "torn.feather"])
def test_a_torn_input_is_named(people_run, tmp_path, content, name):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: damaged, no whole"):
        bulk.tasks_of(people_run, "encode", tmp_path / "in", tmp_path / "out", {})
