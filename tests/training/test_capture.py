"""A recorded step is the step: the same bits, or it is not taken and the reason is said."""

import copy
import shutil

import pytest
import torch
from torch import nn
from worlds import assert_recorded, objective_of, split_of

from vael import VAE
from vael.likelihoods import Bernoulli, Gaussian
from vael.networks import MLP, ConvDecoder, ConvEncoder
from vael.objectives import ELBO, Matching
from vael.objectives.distances import DISTANCES
from vael.objectives.elbo import Warmed
from vael.posteriors import GaussianPosterior
from vael.priors import GaussianPrior
from vael.runs.recipe import members
from vael.training import Engine, Progress, Training
from vael.training.capture import quick, traced
from vael.training.checkpoint import restore, snapshot


def model_of(*, network: nn.Module | None = None, **likelihood: object) -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder = MLP(2, [8], 5) if network is None else network
        return VAE(GaussianPrior(2), Gaussian(decoder, **likelihood), GaussianPosterior(MLP(5, [8], 4)))


def rows(count: int = 40) -> torch.Tensor:
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr("vael.training.engine.EAGER_STEPS", 1)
    monkeypatch.setattr("vael.training.engine.PAYING_STEPS", 0)


# ── the same bits ────────────────────────────────────────────────────────────────────────────────────────────

OBJECTIVES = members("objective")
WITHOUT_RATE = ("iwae", "dreg", "vimco", "miwae", "piwae", "ciwae", "renyi", "wake_wake", "reconstruction", "rae")


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_with_every_objective(kind):
    warm_up = {"warm_up": 0} if kind in WITHOUT_RATE else {}
    assert_recorded(model_of(), objective_of(kind, draws=3), split_of(rows()), **warm_up)


@pytest.mark.parametrize("distance", DISTANCES)
def test_with_every_distance_to_the_prior(distance):
    assert_recorded(model_of(), Matching(distance=distance), split_of(rows()))


@pytest.mark.parametrize("scale", ["optimal", "per_feature", 0.5])
def test_with_running_means_that_the_recording_must_not_move(scale):
    assert_recorded(model_of(scale=scale), ELBO(), split_of(rows()))


def test_with_a_gradient_that_is_clipped_and_weights_that_decay():
    assert_recorded(model_of(), ELBO(), split_of(rows()), clip=0.3, weight_decay=0.1)


def test_with_pictures_binarised_anew_and_convolutions():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = VAE(
            GaussianPrior(2),
            Bernoulli(ConvDecoder(2, [4], (1, 8, 8))),
            GaussianPosterior(ConvEncoder((1, 8, 8), [4], 4)),
        )
    grey = torch.randint(0, 256, (30, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    split = split_of(grey)
    split = type(split)(grey, split.index, split.log_jacobian, divisor=255.0, dynamic=True)
    assert_recorded(model, ELBO(), split)


# ── what is not taken ────────────────────────────────────────────────────────────────────────────────────────


class Counts(nn.Module):
    """A network that changes its mind in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.network, self.outputs, self.calls = MLP(2, [8], 5), 5, 0

    def forward(self, z):
        self.calls += 1
        return self.network(z) * self.calls


def test_a_module_from_elsewhere_is_left_alone(at_once):
    said = []
    engine = Engine(
        model_of(network=Counts()), ELBO(), split_of(rows()), Training(steps=10, batch=5), seed=0, say=said.append
    )
    for _ in range(4):
        engine.advance()
    assert said == ["step not captured: Counts is not of vael or torch.nn, and may decide in Python"]
    assert engine.replay is None
    assert engine.model.likelihood.network.calls == 4


class Wavering:
    """An objective that changes its mind in Python."""

    draws = 1

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, terms):
        self.calls += 1
        return -terms.distortion - self.calls * terms.rate

    def cost(self, terms):
        return terms.rate


@pytest.mark.parametrize("warm_up", [0, 5])
def test_an_objective_from_elsewhere_is_left_alone(at_once, warm_up):
    said = []
    objective = Warmed(Wavering(), 1.0) if warm_up else Wavering()
    training = Training(steps=10, batch=5, warm_up=warm_up)
    engine = Engine(model_of(), objective, split_of(rows()), training, seed=0, say=said.append)
    for _ in range(4):
        engine.advance()
    assert said == ["step not captured: Wavering is not of vael or torch.nn, and may decide in Python"]
    assert engine.replay is None


def test_a_hook_is_left_alone(at_once):
    model, calls = model_of(), []
    model.posterior.network.head.register_forward_hook(lambda module, given, found: calls.append(0) or found)
    engine = Engine(model, ELBO(), split_of(rows()), Training(steps=10, batch=5), seed=0)
    for _ in range(4):
        engine.advance()
    assert len(calls) == 4


def test_a_replay_with_other_bits_is_not_taken(at_once, monkeypatch):
    monkeypatch.setattr("vael.training.engine.foreign", lambda module: [])
    said = []
    engine = Engine(
        model_of(network=Counts()), ELBO(), split_of(rows()), Training(steps=10, batch=5), seed=0, say=said.append
    )
    for _ in range(4):
        engine.advance()
    assert said == ["step not captured: its replay does not give the eager gradient"]
    assert engine.replay is None


def test_what_asks_for_a_value_is_not_taken(at_once, monkeypatch):
    class Asks(Counts):
        def forward(self, z):
            return self.network(z) if float(z.detach().sum()) > 0 else self.network(-z)

    monkeypatch.setattr("vael.training.engine.foreign", lambda module: [])
    said = []
    engine = Engine(
        model_of(network=Asks()), ELBO(), split_of(rows()), Training(steps=10, batch=5), seed=0, say=said.append
    )
    for _ in range(3):
        engine.advance()
    assert len(said) == 1
    assert said[0].startswith("step not captured: RuntimeError")
    assert engine.step == 3


def test_a_short_run_is_not_recorded():
    engine = Engine(model_of(), ELBO(), split_of(rows()), Training(steps=300, batch=5), seed=0)
    for _ in range(100):
        engine.advance()
    assert engine.replay is None


# ── the graph ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_constant_that_is_written_into_is_made_anew_at_every_call():
    def function(x):
        total = torch.zeros(3)
        part = total[:2]
        part += x
        return (total * 2, torch.ones_like(x) * 3 + x)

    replay = quick(traced(function, torch.ones(2)))
    for value in (torch.ones(2), torch.tensor([2.0, 5.0])):
        for found, wanted in zip(replay(value), function(value), strict=True):
            assert torch.equal(found, wanted)


def test_noise_inside_a_step_is_drawn_at_every_call():
    replay = quick(traced(lambda x: (x + torch.rand(4),), torch.zeros(4)))
    torch.manual_seed(0)
    one, other = replay(torch.zeros(4))[0], replay(torch.zeros(4))[0]
    assert not torch.equal(one, other)


# ── compiled, and in half the digits ─────────────────────────────────────────────────────────────────────────


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own, within its compiler
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs g++")
def test_a_compiled_run_is_the_run_to_rounding():
    ends = []
    for compile in (False, True):
        said = []
        training = Training(steps=20, batch=5, warm_up=10, compile=compile)
        engine = Engine(model_of(), ELBO(), split_of(rows()), training, seed=0, say=said.append)
        for _ in range(12):
            engine.advance()
        assert said == []
        assert (engine.replay is not None) == compile
        ends.append(torch.cat([parameter.detach().flatten() for parameter in engine.parameters]))
    # Adam divides by the gradient's own size: a rounding error moves a weight by as much of its step of 1e-3.
    torch.testing.assert_close(ends[0], ends[1], atol=1e-4, rtol=0)


def test_half_the_digits_are_those_of_the_products_alone():
    wholes, halves = (
        Engine(model_of(), ELBO(), split_of(rows()), Training(steps=9, batch=40, precision=precision), seed=0)
        for precision in ("float32", "bf16")
    )
    look = wholes.look(0)
    one, other = (torch.cat([part.flatten() for part in engine.gradients(look)]) for engine in (wholes, halves))
    assert other.dtype == torch.float32
    assert not torch.equal(one, other)
    assert float((one - other).norm() / one.norm()) < 0.02  # eight bits: 2⁻⁸ a product
    assert all(parameter.dtype == torch.float32 for parameter in halves.parameters)
    assert float(halves.bound.monitor[0]) == pytest.approx(float(wholes.bound.monitor[0]), rel=0.01)


def test_half_the_digits_are_recorded_too():
    assert_recorded(model_of(), ELBO(), split_of(rows()), precision="bf16")


def test_the_engine_leaves_a_copy_of_the_model_alone():
    model = model_of()
    before = copy.deepcopy(model.state_dict())
    Engine(copy.deepcopy(model), ELBO(), split_of(rows()), Training(steps=9, batch=5), seed=0).advance()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# ── what goes back ───────────────────────────────────────────────────────────────────────────────────────────


def test_going_back_leaves_the_moments_where_a_recorded_step_knows_them(at_once):
    engine = Engine(model_of(), ELBO(), split_of(rows()), Training(steps=10, batch=5), seed=0)
    kept = snapshot(engine, Progress())
    places = [value.data_ptr() for value in (engine.adam.count, *engine.adam.exp_avg, *engine.adam.exp_avg_sq)]
    for _ in range(3):
        engine.advance()
    restore(engine, *kept)
    assert [v.data_ptr() for v in (engine.adam.count, *engine.adam.exp_avg, *engine.adam.exp_avg_sq)] == places
    assert engine.adam.count == 0
    assert not any(value.any() for value in engine.adam.exp_avg)


def test_a_step_is_recorded_anew_when_other_parameters_are_learned(at_once):
    engine = Engine(model_of(), ELBO(), split_of(rows()), Training(steps=10, batch=5), seed=0)
    for _ in range(3):
        engine.advance()
    assert engine.replay is not None
    engine.learn_all_but(engine.names[:2])
    engine.advance()
    assert engine.replay is not None
    assert len(engine.parameters) == len(engine.names)
