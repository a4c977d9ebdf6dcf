"""Files are whole or refused: a full disk, a torn write, a flipped bit, a second writer."""

import errno
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vael import files
from vael.errors import DamagedFile, WriteError

TENSORS = {
    "weight": torch.arange(6.0).reshape(2, 3),
    "step": torch.tensor(7, dtype=torch.int64),
    "scale": torch.tensor([0.5], dtype=torch.float64),
    "empty": torch.zeros(0, 4),
}
RECORD = {"name": "Zürich", "value": -151.25, "whole": 100, "list": [1, 2.5, None, True], "deep": {"a": "b"}}
LINES = [{"step": step, "elbo": -step / 3} for step in range(5)]


def save_tensors(path):
    files.save_tensors(path, TENSORS, {"format": "1", "note": "kept"})


def load_tensors(path):
    tensors, notes = files.load_tensors(path)
    return {name: (str(value.dtype), value.tolist()) for name, value in tensors.items()}, notes


FORMATS = {
    "safetensors": (save_tensors, load_tensors),
    "json": (lambda path: files.save_json(path, RECORD), files.load_json),
}


@pytest.fixture(params=FORMATS)
def written(request, tmp_path):
    """A path that holds a whole file of each format, its reader, and what the reader says of it."""
    save, load = FORMATS[request.param]
    path = tmp_path / f"some.{request.param}"
    save(path)
    return path, load, load(path)


# ── what was written comes back ──────────────────────────────────────────────────────────────────────────────


def test_tensors_of_every_type_and_shape_come_back_with_their_notes(tmp_path):
    save_tensors(tmp_path / "a.safetensors")
    tensors, notes = files.load_tensors(tmp_path / "a.safetensors")
    assert notes == {"format": "1", "note": "kept"}
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert all(tensors[name].dtype == TENSORS[name].dtype for name in TENSORS)


def test_equal_tensors_and_notes_make_equal_bytes_whatever_their_order(tmp_path):
    notes = {str(number): "note" for number in range(20)}
    files.save_tensors(tmp_path / "a", TENSORS, notes)
    files.save_tensors(tmp_path / "b", dict(reversed(TENSORS.items())), dict(reversed(notes.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_tensor_file_is_one_that_safetensors_itself_reads(tmp_path):
    from safetensors.torch import load_file

    save_tensors(tmp_path / "a.safetensors")
    assert torch.equal(load_file(tmp_path / "a.safetensors")["weight"], TENSORS["weight"])


def test_a_tensor_that_is_a_view_is_saved_as_what_it_shows(tmp_path):
    files.save_tensors(tmp_path / "a", {"turned": TENSORS["weight"].T})
    assert torch.equal(files.load_tensors(tmp_path / "a")[0]["turned"], TENSORS["weight"].T)


def test_json_comes_back_as_it_was(tmp_path):
    files.save_json(tmp_path / "a.json", RECORD)
    assert files.load_json(tmp_path / "a.json") == RECORD


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
        max_leaves=12,
    )
)
def test_any_value_survives_json_with_nan_and_infinity_as_null(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("json") / "a.json"
    files.save_json(path, {"value": value})
    assert files.load_json(path) == {"value": files.finite(value)}
    files.append_line(path.with_suffix(".jsonl"), {"value": value})
    assert files.read_lines(path.with_suffix(".jsonl")) == [{"value": files.finite(value)}]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_have_becomes_null_at_any_depth(number):
    assert files.dump_json({"a": number, "b": [1.0, (number,)], "c": {"d": number}}) == (
        '{"a": null, "b": [1.0, [null]], "c": {"d": null}}'
    )


# ── damage ───────────────────────────────────────────────────────────────────────────────────────────────────


def outcome(load, path):
    """What the reader says of the file, or None when it refuses it by name."""
    try:
        return load(path)
    except DamagedFile as error:
        return None if path.name in str(error) else error


def flipped(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_every_truncation_is_detected(written, monkeypatch):
    path, load, _ = written
    whole = path.read_bytes()
    for length in range(len(whole.rstrip())):  # a JSON file without its closing newline has lost nothing
        monkeypatch.setattr(files, "read_bytes", lambda _, length=length: whole[:length])
        assert outcome(load, path) is None


def test_every_single_flipped_bit_is_detected_or_changes_nothing(written, monkeypatch):
    path, load, said = written
    whole = path.read_bytes()
    unnoticed = []
    for bit in range(8 * len(whole)):
        monkeypatch.setattr(files, "read_bytes", lambda _, bit=bit: flipped(whole, bit))
        found = outcome(load, path)
        assert found in (None, said)
        unnoticed += [whole[bit // 8]] if found else []
    assert set(unnoticed) <= set(b"eE0123456789")  # another spelling of the very same number is no damage
    assert not (unnoticed and path.suffix == ".safetensors")


@settings(max_examples=60)
@given(values=st.lists(st.floats(width=32), min_size=1, max_size=50), place=st.floats(0, 1, exclude_max=True))
def test_a_flipped_bit_of_any_tensor_file_is_detected(tmp_path_factory, values, place):
    path = tmp_path_factory.mktemp("bits") / "a.safetensors"
    files.save_tensors(path, {"x": torch.tensor(values)}, {"format": "1"})
    content = path.read_bytes()
    path.write_bytes(flipped(content, int(place * 8 * len(content))))
    with pytest.raises(DamagedFile, match=r"a\.safetensors"):
        files.load_tensors(path)


def test_an_empty_and_a_missing_file_are_named(written):
    path, load, _ = written
    path.write_bytes(b"")
    with pytest.raises(DamagedFile, match=f"{path.name}: damaged, 0 bytes"):
        load(path)
    path.unlink()
    with pytest.raises(DamagedFile, match=rf"{path.name}: is missing[\s\S]*copy"):
        load(path)


def test_a_file_of_another_program_is_refused(written):
    path, load, _ = written
    foreign = {"a": np.zeros(3)}
    np.savez(path.with_suffix(".npz"), **foreign)
    path.write_bytes(path.with_suffix(".npz").read_bytes())
    with pytest.raises(DamagedFile, match="no whole vael"):
        load(path)


def test_an_edited_json_file_says_that_it_was_edited(tmp_path):
    files.save_json(tmp_path / "a.json", RECORD)
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text(text.replace("151.25", "149.25"))
    with pytest.raises(DamagedFile, match="edited by hand"):
        files.load_json(tmp_path / "a.json")


# ── lines ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def history(tmp_path):
    path = tmp_path / "history.jsonl"
    for line in LINES:
        files.append_line(path, line)
    return path


def test_lines_come_back_in_order_and_a_missing_file_has_none(history):
    assert files.read_lines(history) == LINES
    assert files.read_lines(history.with_name("none.jsonl")) == []


def test_a_torn_last_line_is_dropped_and_the_others_are_kept(history):
    whole = history.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for length in range(last, len(whole)):
        history.write_bytes(whole[:length])
        assert files.read_lines(history) == LINES[:-1]


def test_a_flipped_bit_ends_the_lines_before_the_one_it_hit(history, monkeypatch):
    whole = history.read_bytes()
    for bit in range(8 * len(whole)):
        monkeypatch.setattr(Path, "read_bytes", lambda _, bit=bit: flipped(whole, bit))
        # Another spelling of the very same number is no damage: then all lines are there, and all are right.
        assert files.read_lines(history) in (LINES[: whole[: bit // 8].count(b"\n")], LINES)


def test_rewritten_lines_replace_the_old_ones(history):
    files.rewrite_lines(history, LINES[:2])
    files.append_line(history, {"resumed_at": 1})
    assert files.read_lines(history) == [*LINES[:2], {"resumed_at": 1}]


# ── a full disk ──────────────────────────────────────────────────────────────────────────────────────────────


def full(*arguments):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_keeps_the_old_file_and_leaves_nothing_half_written(written, monkeypatch, call):
    path, load, said = written
    monkeypatch.setattr(os, call, full)
    with pytest.raises(WriteError, match=r"No space left on device\)\. What stood there before is untouched"):
        files.write_bytes(path, b"new")
    assert load(path) == said
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_line_that_finds_the_disk_full_says_so_and_spoils_no_other(history, monkeypatch):
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="No space left on device"):
        files.append_line(history, {"step": 5})
    assert files.read_lines(history)[: len(LINES)] == LINES


def test_p32_a_file_size_limit_keeps_the_old_file_and_says_why(tmp_path):
    """The disk is truly too small here: the kernel stops the write half-way."""
    program = """
        import resource, sys, torch
        from pathlib import Path
        from vael import files
        folder = Path(sys.argv[1])
        files.save_tensors(folder / "w.safetensors", {"w": torch.ones(100)})
        files.append_line(folder / "h.jsonl", {"step": 1})
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        for attempt in (
            lambda: files.save_tensors(folder / "w.safetensors", {"w": torch.zeros(100_000)}),
            lambda: files.append_line(folder / "h.jsonl", {"text": "x" * 10_000}),
        ):
            try:
                attempt()
            except files.WriteError as error:
                print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "w.safetensors: could not be written (File too large). What stood there before is untouched." in told
    assert "h.jsonl: a line could not be added (File too large)" in told
    assert torch.equal(files.load_tensors(tmp_path / "w.safetensors")[0]["w"], torch.ones(100))
    assert files.read_lines(tmp_path / "h.jsonl") == [{"step": 1}]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["h.jsonl", "w.safetensors"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WriteError, match=r"file/run/a\.json: could not be written"):
        files.save_json(tmp_path / "file" / "run" / "a.json", RECORD)


# ── one writer at a time ─────────────────────────────────────────────────────────────────────────────────────


def test_a_second_process_is_refused_until_the_first_has_ended(tmp_path):
    program = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()  # the other process holds the lock now
        with pytest.raises(WriteError, match="another process is writing this run"), files.sole_writer(tmp_path):
            pass
        other.kill()
        other.wait()
    with files.sole_writer(tmp_path):
        assert (tmp_path / ".lock").exists()


def test_the_folder_is_free_again_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), files.sole_writer(tmp_path / "run"):
        raise ZeroDivisionError
    with files.sole_writer(tmp_path / "run"), pytest.raises(WriteError), files.sole_writer(Path(tmp_path / "run")):
        pass
