"""Sets by a bare name: where they are looked for, and what a download is worth. No test reaches beyond this machine."""

import gzip
import hashlib
import http.server
import io
import os
import tarfile
import threading

import numpy as np
import pytest

from vael.data.sources import download, named, read
from vael.data.sources.binary import read_cifar, read_idx
from vael.data.sources.download import Download, cache_folder
from vael.errors import DataError

RNG = np.random.default_rng(0)


def idx(array):
    """An IDX file of bytes, by the letter of its description."""
    head = bytes([0, 0, 8, array.ndim]) + b"".join(int(side).to_bytes(4, "big") for side in array.shape)
    return head + array.tobytes()


def cifar(records):
    """An archive as CIFAR-10's, with so many records in each of its six batches."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        for name, content in records.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return held.getvalue()


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Empty folders for VAEL_DATA and VAEL_CACHE."""
    for name in ("data", "cache"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"VAEL_{name.upper()}", str(tmp_path / name))
    return tmp_path


@pytest.fixture
def offline(monkeypatch):
    """No address can be reached."""

    def fetch(url, md5, folder):
        raise DataError(f"{url}: cannot be reached.")

    monkeypatch.setattr(download, "fetch", fetch)


# ── the order ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_data_folder_comes_before_the_cache(folders):
    (folders / "cache" / "mine.csv").write_text("a\n1\n2\n")
    assert read("mine").origin == str(folders / "cache" / "mine.csv")
    (folders / "data" / "mine.csv").write_text("a\n3\n4\n")
    assert read("mine").origin == str(folders / "data" / "mine.csv")


def test_the_cache_is_the_users_own_where_nothing_names_another(monkeypatch):
    monkeypatch.delenv("VAEL_CACHE", raising=False)
    assert cache_folder().name == "vael"
    assert cache_folder().is_absolute()


def test_a_file_of_a_downloadable_name_is_not_downloaded(folders, monkeypatch):
    monkeypatch.setattr(download, "fetch", lambda *_: pytest.fail("fetched"))
    np.savez(
        folders / "cache" / "mnist.npz", x_train=np.zeros((3, 2, 2), np.uint8), x_test=np.ones((1, 2, 2), np.uint8)
    )
    assert len(read("mnist")) == 4


def test_a_folder_here_yields_to_a_named_set_but_not_to_nothing(folders, offline, monkeypatch):
    from PIL import Image

    monkeypatch.chdir(folders)
    for name in ("flowers", "mnist"):
        (folders / name).mkdir()
        Image.new("L", (2, 2)).save(folders / name / "1.png")
    assert read("flowers").columns["x"].shape == (1, 1, 2, 2)
    with pytest.raises(DataError, match=r"For the folder of that name here, say \./mnist\."):
        read("mnist")


@pytest.mark.parametrize("name", ["frey_faces", "omniglot28", "cifar10_small"])
def test_a_set_without_an_address_says_which_file_to_put_where(folders, name):
    with pytest.raises(
        DataError, match=rf"not built in[\s\S]*Put {name}\.npz with (an array|arrays) x.* into {folders}/data"
    ):
        read(name)


@pytest.mark.parametrize("name", download.DOWNLOADS)
def test_an_address_that_cannot_be_reached_says_which_file_to_put_where(folders, offline, name):
    with pytest.raises(
        DataError, match=rf"{name}: there is no such file in VAEL_DATA .*cannot be reached\.\n  Put {name}\.npz"
    ):
        read(name)
    assert not list((folders / "cache").iterdir())


@pytest.mark.parametrize("name", ["mnist", "frey_faces", "cifar10_small", "omniglot28"])
def test_the_sets_at_hand_read_as_pictures(name):
    if not os.environ.get("VAEL_DATA"):
        pytest.skip("VAEL_DATA is unset: the real data sets are not at hand")
    frame = read(name)
    assert frame.columns["x"].dtype == np.uint8
    assert frame.columns["x"].ndim == 4


# ── the formats ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shape", [(5,), (4, 3, 2), (0, 3, 2)], ids=str)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
def test_an_idx_file_gives_back_its_array(shape, pack):
    array = RNG.integers(0, 256, shape).astype(np.uint8)
    np.testing.assert_array_equal(read_idx(pack(idx(array)), "x"), array)


@pytest.mark.parametrize("cut", [0, 3, 6, 15, 39])
def test_a_torn_idx_file_is_called_damaged(cut):
    with pytest.raises(DataError, match=r"x: damaged, .* no whole IDX file"):
        read_idx(idx(np.zeros((4, 3, 2), np.uint8))[:cut], "x")


def test_other_bytes_are_no_idx_file():
    for content in (b"\0\0\x0d\x01" + bytes(8), b"PK\x03\x04" + bytes(30), b"\x1f\x8bnot gzip"):
        with pytest.raises(DataError, match="x: damaged"):
            read_idx(content, "x")


def test_mnist_is_byte_by_byte_the_published_idx_files():
    """Written as IDX files the arrays have the published MD5s, and `read_idx` gives the arrays back."""
    if not os.environ.get("VAEL_DATA"):
        pytest.skip("VAEL_DATA is unset: the real data sets are not at hand")
    published = {
        "x_train": "6bbc9ace898e44ae57da46a324031adb", "y_train": "a25bea736e30d166cdddb491f175f624",
        "x_test": "2646ac647ad5339dbf082846283269ea", "y_test": "27ae3e4e09519cfbb04c329615203637",
    }  # fmt: skip
    with np.load(f"{os.environ['VAEL_DATA']}/mnist.npz") as held:
        for key, md5 in published.items():
            content = idx(held[key])
            assert hashlib.md5(content).hexdigest() == md5
            np.testing.assert_array_equal(read_idx(content, key), held[key])


RECORDS = {
    f"{name}.bin": RNG.integers(0, 256, (2, 3073)).astype(np.uint8)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
}


def test_a_cifar_record_is_a_label_and_pixels_channel_first():
    arrays = read_cifar(cifar({name: records.tobytes() for name, records in RECORDS.items()}), "cifar")
    assert (arrays["x_train"].shape, arrays["x_test"].shape) == ((10, 3, 32, 32), (2, 3, 32, 32))
    third = RECORDS["data_batch_2.bin"][0]
    assert arrays["y_train"][2] == third[0]
    assert arrays["x_train"][2, 1, 5, 7] == third[1 + 1024 + 5 * 32 + 7]


def test_a_damaged_archive_is_called_so():
    whole = {name: records.tobytes() for name, records in RECORDS.items()}
    broken = {
        "a batch missing": cifar({name: content for name, content in whole.items() if name != "data_batch_3.bin"}),
        "a batch torn": cifar({**whole, "test_batch.bin": whole["test_batch.bin"][:-1]}),
        "no archive": b"nothing",
        "torn": cifar(whole)[:-500],
    }
    for content in broken.values():
        with pytest.raises(DataError, match="cifar: damaged"):
            read_cifar(content, "cifar")


# ── a download ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server on this machine, of the files in `served`; its address."""
    (tmp_path / "served").mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path / "served"))

        def log_message(self, *_):
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}/"
        found.shutdown()


@pytest.fixture
def tiny(server, folders, monkeypatch):
    """A set in the form of MNIST with pictures of 4×4, which lies on the server; its arrays."""
    arrays = {
        "x_train": RNG.integers(0, 256, (12, 4, 4)).astype(np.uint8), "y_train": np.arange(12, dtype=np.uint8),
        "x_test": RNG.integers(0, 256, (5, 4, 4)).astype(np.uint8), "y_test": np.arange(5, dtype=np.uint8),
    }  # fmt: skip
    files = {}
    for name, key in zip(download.DOWNLOADS["mnist"].files, arrays, strict=True):
        content = gzip.compress(idx(arrays[key]))
        (folders / "served" / name).write_bytes(content)
        files[name] = hashlib.md5(content).hexdigest()
    monkeypatch.setitem(download.DOWNLOADS, "mnist", Download(server, files, download.DOWNLOADS["mnist"].read))
    return arrays


def test_a_set_is_fetched_once_and_kept_in_the_cache(tiny, folders):
    frame = read("mnist")
    np.testing.assert_array_equal(frame.columns["x"][:12, 0], tiny["x_train"])
    np.testing.assert_array_equal(frame.columns["y"][12:], tiny["y_test"])
    assert frame.split.tolist() == ["train"] * 12 + ["test"] * 5
    assert [path.name for path in (folders / "cache").iterdir()] == ["mnist.npz"]
    for path in (folders / "served").iterdir():
        path.unlink()
    assert (read("mnist").columns["x"] == frame.columns["x"]).all()


def test_a_file_that_is_not_the_published_one_is_not_kept(tiny, folders):
    path = folders / "served" / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.zeros(5, np.uint8))))
    with pytest.raises(
        DataError, match=r"mnist: .*t10k-labels.*is not the file that was published, whose MD5 is [0-9a-f]{32}"
    ):
        read("mnist")
    assert not list((folders / "cache").iterdir())


def test_a_refusal_of_the_server_is_told_by_its_number(tiny, folders):
    (folders / "served" / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"the server answered 404\.\n  Put mnist\.npz"):
        read("mnist")


def test_a_server_that_says_nothing_is_not_waited_for(folders, monkeypatch):
    import socket

    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        monkeypatch.setitem(download.DOWNLOADS, "mnist", Download(url, {"a.gz": "0" * 32}, dict))
        with pytest.raises(DataError, match=r"no answer within 0\.2 s"):
            read("mnist")


def test_a_cache_that_cannot_be_written_is_told_with_the_way_out(tiny, folders, monkeypatch):
    (folders / "file").write_text("")
    monkeypatch.setenv("VAEL_CACHE", str(folders / "file"))
    with pytest.raises(DataError, match=r"cannot be kept in the cache: .*\n  Set the environment variable VAEL_CACHE"):
        named.download("mnist")
