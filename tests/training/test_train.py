"""The loop: what is optimised, what is kept, when it stops, and what a number that breaks leads to."""

import copy
import importlib

import pytest
import torch
from torch import nn

from vael.data import Batch, Split
from vael.errors import TrainingError
from vael.likelihoods import Gaussian
from vael.models import VAE
from vael.networks import MLP
from vael.objectives import ELBO, IWAE, Beta
from vael.posteriors import GaussianPosterior
from vael.priors import GaussianPrior
from vael.training import Engine, Progress, Training, restore, snapshot, train


def split_of(rows, seed):
    x = torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed))
    return Split(x @ torch.tril(torch.ones(5, 5)), torch.arange(rows), torch.full((rows,), 0.25, dtype=torch.float64))


def engine_of(*, objective=None, rows=50, likelihood=None, **settings):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = VAE(GaussianPrior(2), likelihood or Gaussian(MLP(2, [8], 5)), GaussianPosterior(MLP(5, [8], 4)))
    training = Training.of({"steps": 40, "batch": 16, "evaluate_every": 10, **settings})
    return Engine(model, objective or ELBO(), split_of(rows, 1), training, seed=3)


loop = importlib.import_module("vael.training.train")  # the package names the function like its file


class Memory:
    """A keeper that keeps everything."""

    def __init__(self):
        self.lines, self.checkpoints, self.best = [], [], None

    def keep_line(self, line):
        self.lines.append(line)

    def keep_checkpoint(self, tensors, notes):
        self.checkpoints.append((tensors, notes))

    def keep_best(self, weights):
        self.best = {name: value.clone() for name, value in weights.items()}


def run(engine, *, validation=None):
    keeper = Memory()
    outcome = train(
        engine,
        split_of(20, 2) if validation is None else validation,
        keeper,
        progress=Progress(),
        report=lambda line: None,
    )
    return keeper, outcome


# ── what is optimised ────────────────────────────────────────────────────────────────────────────────────────


def weight_at(step, beta, warm_up):
    return beta * (min(1.0, step / warm_up) if warm_up else 1.0)


@pytest.mark.parametrize("warm_up", [0, 6])
@pytest.mark.parametrize("beta", [0.0, 0.5, 4.0])
def test_the_objective_weighs_the_rate_and_the_logged_elbo_never_does(beta, warm_up):
    keeper, _ = run(engine_of(objective=Beta(beta), warm_up=warm_up, steps=10, evaluate_every=1))
    for line in keeper.lines:
        found, weight = line["train"], weight_at(line["step"], beta, warm_up)
        assert found["objective"] == pytest.approx(-found["distortion"] - weight * found["rate"], abs=1e-5)
        assert found["elbo"] == pytest.approx(-found["distortion"] - found["rate"], abs=1e-12)
        assert line["validation"]["elbo"] == pytest.approx(
            -line["validation"]["distortion"] - line["validation"]["rate"]
        )


def test_a_heavier_rate_is_a_smaller_rate():
    rates = [
        run(engine_of(objective=Beta(beta), learning_rate=0.01, steps=400))[0].lines[-1]["train"]["rate"]
        for beta in (0.1, 1, 10)
    ]
    assert rates[0] > 1.5 * rates[1] > 2.25 * rates[2]


def test_a_warm_up_changes_the_weights_that_come_of_it():
    plain, warmed = (engine_of(warm_up=warm_up) for warm_up in (0, 30))
    run(plain)
    run(warmed)
    assert not torch.equal(plain.parameters[0], warmed.parameters[0])


def test_the_figures_are_in_the_units_of_the_user():
    """The split's log-Jacobian of 0.25 nats is inside objective and distortion, not in the rate."""
    engine = engine_of(steps=1, evaluate_every=1)
    look = engine.look(0)
    terms = copy.deepcopy(engine.model).terms(look.batch, look.noise)
    found = run(engine)[0].lines[0]["train"]
    assert found["distortion"] == pytest.approx(terms.distortion.mean().item() - 0.25, abs=1e-5)
    assert found["objective"] == pytest.approx(terms.elbo.mean().item() + 0.25, abs=1e-5)
    assert found["rate"] == pytest.approx(terms.rate.mean().item(), abs=1e-5)


def test_logged_means_are_over_the_steps_since_the_last_line():
    each, pairs = (run(engine_of(steps=8, evaluate_every=every))[0].lines for every in (1, 2))
    for number, line in enumerate(pairs):
        two = [each[2 * number]["train"]["elbo"], each[2 * number + 1]["train"]["elbo"]]
        assert line["train"]["elbo"] == pytest.approx(sum(two) / 2)


def test_iwae_is_trained_with_its_own_draws():
    engine = engine_of(objective=IWAE(7), steps=1)
    assert engine.look(0).noise.latents[0].shape == (7, 16, 2)


# ── the step ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("clip", [0.5, 3.0, 1e9])
def test_clipping_is_that_of_torch(clip):
    engine, other = engine_of(clip=clip), engine_of(clip=clip)
    look = other.look(0)
    (-other.bound(look.batch, look.noise).mean()).backward()
    norm = nn.utils.clip_grad_norm_(other.parameters, clip)
    assert clip == 1e9 or norm > clip  # the gradient is one that is clipped
    wanted = [parameter.grad for parameter in other.parameters]
    engine.advance()
    for moment, gradient in zip(engine.adam.exp_avg, wanted, strict=True):
        # Adam's first moment after one step is a tenth of the gradient it was given.
        torch.testing.assert_close(moment, 0.1 * gradient, rtol=1e-4, atol=1e-6)


def test_the_learning_rate_of_each_step_is_the_schedule_times_what_rewinds_left():
    engine = engine_of(schedule="constant", learning_rate=0.25)
    engine.slowdown = 0.5
    before = [parameter.detach().clone() for parameter in engine.parameters]
    engine.advance()
    moved = max(float((now - then).detach().abs().max()) for now, then in zip(engine.parameters, before, strict=True))
    assert float(engine.rate) == 0.125
    assert moved == pytest.approx(0.125, rel=1e-3)  # Adam's first step is the learning rate in each direction


def test_training_does_not_touch_the_global_generator():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    run(engine_of())
    assert torch.equal(state, torch.get_rng_state())


# ── what is kept, and when it stops ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def scripted(monkeypatch):
    """Let the validation bound follow a script."""

    def follow(*bounds):
        values = iter(bounds)

        class Said:
            @property
            def means(self):
                elbo = next(values)
                return {"elbo": elbo, "rate": 1.0, "distortion": -elbo - 1.0}

        monkeypatch.setattr(loop, "bounds", lambda *arguments, **options: Said())

    return follow


def test_the_best_weights_are_those_of_the_best_validation_bound(scripted):
    scripted(-5.0, -3.0, -4.0, -3.0)
    engine = engine_of()
    keeper, outcome = run(engine)
    assert (outcome.best, outcome.best_step, outcome.step) == (-3.0, 20, 40)
    assert [line["step"] for line in keeper.lines if line.get("best")] == [10, 20]  # a draw is no improvement
    at_best = keeper.checkpoints[2][0]  # the first is that of step 0
    assert all(torch.equal(keeper.best[name], at_best[f"model.{name}"]) for name in keeper.best)
    assert not torch.equal(
        keeper.best["likelihood.network.layers.0.weight"],
        engine.model.state_dict()["likelihood.network.layers.0.weight"],
    )


def test_patience_ends_training_after_so_many_evaluations_without_a_better_bound(scripted):
    scripted(-5.0, -4.0, -6.0, -4.5, -3.0)
    keeper, outcome = run(engine_of(steps=1000, patience=2))
    assert outcome.step == 40
    assert "no better validation bound in 2 evaluations" in outcome.reason
    assert [line["step"] for line in keeper.lines] == [10, 20, 30, 40]


def test_patience_does_not_run_while_the_rate_is_warming_up(scripted):
    """Evaluated after 10, 20, 30 … steps, of which the first 24 have less than the full weight."""
    scripted(-5.0, *[-6.0] * 8)
    _, outcome = run(engine_of(steps=1000, patience=2, warm_up=25))
    assert outcome.step == 40
    scripted(-5.0, *[-6.0] * 8)
    assert run(engine_of(steps=1000, patience=2))[1].step == 30


def test_the_weight_of_the_rate_goes_through_its_cycles():
    engine, shares = engine_of(steps=12, warm_up=2, cycles=3), []
    for step in range(12):
        engine.schedule(step)
        shares.append(float(engine.share))
    assert shares == [0.5, 1, 1, 1] * 3


def test_without_validation_rows_the_last_weights_are_the_best():
    engine = engine_of()
    keeper, outcome = run(engine, validation=split_of(20, 2).rows(torch.arange(0)))
    assert (outcome.best, outcome.best_step) == (None, 40)
    assert all(torch.equal(keeper.best[name], value) for name, value in engine.model.state_dict().items())


def test_a_checkpoint_follows_every_line_and_holds_the_state_of_its_step():
    keeper, _ = run(engine_of())
    fresh, steps = engine_of(), []
    for tensors, notes in keeper.checkpoints:
        restore(fresh, tensors, notes)
        steps.append(fresh.step)
    assert steps == [0, 10, 20, 30, 40]


def test_a_snapshot_put_into_another_engine_continues_bit_for_bit():
    engine, other = engine_of(), engine_of()
    for _ in range(7):
        engine.advance()
    restore(other, *snapshot(engine, Progress()))
    for _ in range(7):
        engine.advance()
        other.advance()
    one, two = snapshot(engine, Progress()), snapshot(other, Progress())
    assert one[1] == two[1]
    assert all(torch.equal(one[0][name], two[0][name]) for name in one[0])


# ── numbers that break ───────────────────────────────────────────────────────────────────────────────────────


class Brittle(Gaussian):
    """A likelihood that breaks where it is told to."""

    broken = ""

    def log_prob_parts(self, x, z, given=None, observed=None):
        parts = super().log_prob_parts(x, z, given, observed)
        if self.broken == "value":
            return parts * torch.nan
        return parts + 0 * torch.sqrt(0 * self.slow_scale.square()) if self.broken == "gradient" else parts


def break_at(engine, step, place):
    """Plant a NaN into one step, until the learning rate is lowered."""
    plain_look = engine.look

    def look(at):
        engine.model.likelihood.broken = place if at == step and engine.slowdown == 1.0 else ""
        found = plain_look(at)
        if at == step and engine.slowdown == 1.0 and place == "data":
            return loop_look(found)
        return found

    def loop_look(found):
        x = found.batch.x.clone()
        x[3, 2] = torch.nan
        return type(found)(Batch(x), found.noise)

    engine.look = look
    return engine


BREAKS = {
    "data": r"z\[0\]",
    "value": "log_px_z",
    "gradient": "the gradient of likelihood.slow_scale",
}


@pytest.mark.parametrize("place", BREAKS)
def test_a_nan_is_named_by_its_first_term_and_step_and_the_run_goes_on_with_half_the_rate(place):
    engine = break_at(engine_of(likelihood=Brittle(MLP(2, [8], 5))), 23, place)
    keeper, outcome = run(engine)
    broken = [line for line in keeper.lines if "not_finite" in line]
    assert [(line["step"], line["at_step"], line["slowdown"]) for line in broken] == [(20, 24, 0.5)]
    assert broken[0]["not_finite"] == BREAKS[place].replace("\\", "")
    assert [line["step"] for line in keeper.lines] == [10, 20, 20, 30, 40]
    assert (outcome.step, engine.slowdown) == (40, 0.5)
    assert all(torch.isfinite(value).all() for tensors, _ in keeper.checkpoints for value in tensors.values())
    assert all(torch.isfinite(value).all() for value in keeper.best.values())


@pytest.mark.parametrize("place", BREAKS)
def test_told_to_stop_it_says_step_and_term_and_keeps_the_last_good_state(place):
    engine = break_at(engine_of(likelihood=Brittle(MLP(2, [8], 5)), on_nan="stop"), 23, place)
    keeper = Memory()
    with pytest.raises(
        TrainingError, match=rf"step 24: {BREAKS[place]} is not finite\. The last good state, after step 20"
    ):
        train(engine, split_of(20, 2), keeper, progress=Progress(), report=lambda line: None)
    fresh = engine_of(likelihood=Brittle(MLP(2, [8], 5)))
    restore(fresh, *keeper.checkpoints[-1])
    assert fresh.step == 20
    assert all(torch.isfinite(parameter).all() for parameter in fresh.parameters)


def test_a_learning_rate_beyond_reason_is_given_up_after_five_rewinds():
    engine = engine_of(learning_rate=1e30)
    keeper = Memory()
    with pytest.raises(TrainingError, match="Lower the learning rate"):
        train(engine, split_of(20, 2), keeper, progress=Progress(), report=lambda line: None)
    assert [line["slowdown"] for line in keeper.lines] == [0.5, 0.25, 0.125, 0.0625, 0.03125]
