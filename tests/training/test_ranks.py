"""Several processes that train one model: the numbers of one process, and what cannot be shared."""

import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from vael.errors import RecipeError
from vael.files import load_tensors
from vael.likelihoods import Bernoulli, Gaussian
from vael.models import VAE
from vael.networks import MLP
from vael.objectives import ELBO, Capacity, FreeBits
from vael.posteriors import GaussianPosterior
from vael.priors import GaussianPrior
from vael.training import Ranks, Training, own_device, ranks

PROGRAM = Path(__file__).with_name("ranks_program.py")
PLAIN = ("elbo", "binarised", "iwae", "half unused", "pictures", "rewound")
SHARDED = ("sharded", "sharded iwae", "sharded half unused", "sharded pictures", "sharded rewound")


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def run(folder, world):
    """The program as one process or as many; what each kept."""
    folder.mkdir()
    lone = {name: text for name, text in os.environ.items() if name not in ranks.CONTRACT} | {"OMP_NUM_THREADS": "1"}
    contract = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    command = [sys.executable, "-W", "error", str(PROGRAM), str(folder)]
    started = [
        subprocess.Popen(command, env=lone if world == 1 else {**lone, **contract, "RANK": str(rank)})
        for rank in range(world)
    ]
    assert [process.wait(timeout=120) for process in started] == [0] * world


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    home = tmp_path_factory.mktemp("ranks")
    run(home / "one", 1)
    run(home / "two", 2)
    return home


# Weights, moments, monitors and history of 50 steps in float64. The two add the same numbers in another order, so they
# differ by some units in the last of 16 digits a step; what is asked is 1e-9.
@pytest.mark.parametrize("case", [*PLAIN, *SHARDED])
def test_two_processes_give_the_numbers_of_one(case, kept):
    one = load_tensors(kept / "one" / f"{case}.0.safetensors")[0]
    first, second = (load_tensors(kept / "two" / f"{case}.{rank}.safetensors")[0] for rank in (0, 1))
    assert one.keys() == first.keys()
    assert one["history"].shape == (5, 7)
    assert one["history"].dtype == torch.float64
    for name in one:
        assert torch.allclose(one[name], first[name], rtol=1e-9, atol=1e-9), name
        if case in PLAIN or name == "history":  # what is spread over ranks is made whole on the first alone
            assert torch.equal(first[name], second[name]), name  # else they would part, and decide differently


def model(likelihood=None):
    return VAE(GaussianPrior(2), likelihood or Bernoulli(MLP(2, [8], 6)), GaussianPosterior(MLP(6, [8], 4)))


NORMALISED = torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.BatchNorm1d(6))


@pytest.mark.parametrize(
    ("objective", "made", "settings", "words"),
    [
        (ELBO(), model(), {"batch": 10}, "a batch of 10 examples cannot be dealt out evenly to 3 processes"),
        (ELBO(), model(), {"batch": 120}, "a batch of 100 examples cannot"),
        (ELBO(), model(), {"by": "em"}, "looks at all examples"),
        (FreeBits(), model(), {}, "FreeBits takes a mean over the batch"),
        (FreeBits().warmed(0.5), model(), {}, "FreeBits takes a mean over the batch"),
        (Capacity().warmed(0.5), model(), {}, "Capacity takes a mean over the batch"),
        (ELBO(), model(Gaussian(MLP(2, [8], 6), scale="optimal")), {}, "Gaussian takes a mean"),
        (ELBO(), model(Bernoulli(NORMALISED, event_shape=6)), {}, "BatchNorm1d takes a mean"),
    ],
)
def test_what_cannot_be_dealt_out_is_refused(objective, made, settings, words):
    training = Training.of({"steps": 1, "batch": 12, **settings})
    ranks.check_dealt(objective, made, training, 100, Ranks())  # one process may do it all
    with pytest.raises(RecipeError, match=words):
        ranks.check_dealt(objective, made, training, 100, Ranks(1, 3))


def test_what_can_be_dealt_out_is_taken():
    ranks.check_dealt(ELBO(), model(), Training(steps=1, batch=12), 100, Ranks(1, 3))


@pytest.mark.parametrize("count", [0, 1, 2, 7, 12])
def test_shares_are_neighbours_and_cover_everything_once(count):
    places = [list(range(count))[Ranks(rank, 3).share(count)] for rank in range(3)]
    assert [place for share in places for place in share] == list(range(count))
    assert max(map(len, places)) - min(map(len, places)) <= 1


def test_a_graphics_card_is_the_ranks_own(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert own_device("cuda") == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert [own_device(device) for device in ("cuda", "cuda:1", "cpu")] == ["cuda:3", "cuda:1", "cpu"]


def test_ranks_meet_under_a_new_name_whatever_the_dead_left_in_the_store():
    store = torch.distributed.HashStore()
    names = []
    for _ in range(2):  # the second time, the store holds what the first left
        with ThreadPoolExecutor(3) as threads:
            found = {future.result() for future in [threads.submit(ranks.met, store, rank, 3) for rank in range(3)]}
        assert len(found) == 1
        names += found
    assert names[0] != names[1]


# ── stopping together ────────────────────────────────────────────────────────────────────────────────────────


class Pair(Ranks):
    """One rank of two whose other is written down: (told to stop, seconds) for each time they speak."""

    def largest(self, *numbers):
        self.spoken.append(numbers)
        return list(self.other.pop(0))


def test_a_rank_alone_hears_a_stop_at_once():
    stop = threading.Event()
    halted = ranks.Halt(Ranks(), stop)
    assert not halted()
    stop.set()
    assert halted()


def test_ranks_speak_of_stopping_once_a_second_by_the_slowest_clock():
    pair = Pair(0, 2)
    # Steps of 0.1 s on the other rank: one, two, four, eight steps, then ten; a stop there is heard the next time.
    other = [(0.0, 0.1), (0.0, 0.2), (0.0, 0.4), (0.0, 0.8), (0.0, 1.0), (1.0, 1.0)]
    object.__setattr__(pair, "other", other)
    object.__setattr__(pair, "spoken", [])
    halted = ranks.Halt(pair, threading.Event())
    answers = [halted() for _ in range(1 + 2 + 4 + 8 + 10 + 10)]
    assert len(pair.spoken) == 6
    assert answers == [False] * 34 + [True]


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:9"), True),
        (torch.distributed.DistNetworkError("no answer"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_a_lost_rank_is_told_from_a_mistake(error, lost):
    assert ranks.of_a_lost_rank(error) is lost
