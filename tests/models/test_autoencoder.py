"""A model without q(z|x): no rate, no bound, no log p(x), each null with a reason; all else as with any model."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from worlds import assert_recorded, split_of

import vael
from vael import ELBO, IWAE, VAE, RecipeError, Training
from vael.likelihoods import Gaussian
from vael.networks import MLP
from vael.objectives import Reconstruction
from vael.posteriors import DeterministicPosterior
from vael.priors import GaussianPrior
from vael.training import Engine

REASON = "the encoder is deterministic, and q(z|x) has no density"


def model() -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return VAE(GaussianPrior(2), Gaussian(MLP(2, [], 5), scale=1.0), DeterministicPosterior(MLP(5, [], 2)))


def rows(count: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 2, generator=generator) @ torch.randn(2, 5, generator=generator)


def test_the_code_is_the_networks_output_whatever_the_noise():
    auto, x = model(), rows(4)
    terms = auto.terms(x, auto.noise(3, 4, seed=0))
    assert_close(terms.latents[0].z, auto.posterior.network(x).expand(3, -1, -1))
    wanted = 0.5 * (x - auto.likelihood.network(auto.posterior.network(x))).square().sum(1) + 2.5 * math.log(
        2 * math.pi
    )
    assert_close(terms.distortion, wanted)
    assert_close(Reconstruction()(terms), -wanted)


@pytest.mark.parametrize("name", ["rate", "elbo", "log_w"])
def test_what_needs_a_density_is_refused_in_words(name):
    auto, x = model(), rows(4)
    with pytest.raises(RecipeError, match=r"no density q\(z\|x\), so there is no rate, no bound"):
        getattr(auto.terms(x, auto.noise(1, 4, seed=0)), name)


@pytest.mark.parametrize("objective", [ELBO(), IWAE(draws=3)])
def test_an_objective_with_a_rate_is_refused_before_training(objective):
    with pytest.raises(RecipeError, match="does not go with DeterministicPosterior, which is no law of z"):
        Engine(model(), objective, split_of(rows()), Training(steps=1), seed=0)


def test_a_linear_autoencoder_finds_the_plane_of_the_data():
    """Two directions hold all of these rows: the squared error falls to what rounding and Adam leave of 0."""
    auto, x = model(), rows(256)
    engine = Engine(auto, Reconstruction(), split_of(x), Training(steps=1500, batch=64, learning_rate=1e-2), seed=0)
    for _ in range(1500):
        engine.advance()
    left = (x - auto.likelihood.network(auto.posterior.network(x))).square().sum(1).mean()
    assert left < 1e-3 * x.square().sum(1).mean()


def test_a_recorded_step_is_the_step_bit_for_bit():
    auto = model()
    with pytest.raises(RecipeError, match="has no rate to warm up"):
        Reconstruction().warmed(0.5)
    assert_recorded(auto, Reconstruction(), split_of(rows(12)), warm_up=0)


def test_a_run_tells_null_with_the_reason_and_keeps_the_best_objective(tmp_path, capsys):
    run = vael.fit(
        "digits", latent=4, posterior="deterministic", objective="reconstruction", likelihood="gaussian", steps=120,
        evaluate_every=20, output=tmp_path / "run",
    )  # fmt: skip
    lines = [line for line in run.history if "validation" in line]
    assert all(line["validation"]["elbo"] is None and line["train"]["rate"] is None for line in lines)
    best = [line["validation"]["objective"] for line in lines if line.get("best")]
    assert best == sorted(best)
    assert best[-1] == max(line["validation"]["objective"] for line in lines)
    found = run.evaluate()
    assert (found.elbo, found.rate, found.evidence, found.bits_per_dim) == (None, None, None, None)
    assert found.reasons["elbo"] == found.reasons["rate"] == found.reasons["evidence"] == REASON
    assert found.distortion.standard_error > 0
    assert REASON in str(found)
    told = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert told["elbo"] is None
    assert told["reasons"]["elbo"] == REASON
    codes = run.encode()
    assert np.array_equal(codes, run.encode())
    assert run.sample(3)["x"].shape == (3, 1, 8, 8)
    run.report()
    with pytest.raises(RecipeError, match=r"doctor: .*deterministic"):
        run.doctor()
    with pytest.raises(RecipeError, match="method 'importance' has no answer: the encoder is deterministic"):
        run.evaluate(method="importance")
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    with pytest.raises(RecipeError, match=r"compare: .*deterministic"):
        vael.compare(run, vael.load(tmp_path / "again"))


# ── costs of a code ──────────────────────────────────────────────────────────────────────────────────────────


def costly(**costs: float) -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = DeterministicPosterior(MLP(5, [6], 2, activation="tanh"), **costs)
        return VAE(GaussianPrior(2), Gaussian(MLP(2, [], 5), scale=1.0), encoder)


def test_sparse_charges_absolute_values_and_contract_the_squared_jacobian():
    auto, x = costly(sparse=0.3, contract=0.7), rows(4)
    penalties = auto.terms(x, auto.noise(1, 4, seed=0)).penalties
    z = auto.posterior.network(x)
    slopes = [torch.autograd.functional.jacobian(auto.posterior.network, one).square().sum() for one in x]
    assert_close(penalties["sparse"], 0.3 * z.abs().sum(1))
    assert_close(penalties["contract"], 0.7 * torch.stack(slopes))
    assert auto.posterior(x).penalties.keys() == {"sparse", "contract"}
    assert costly().posterior(x).penalties == {}


@pytest.mark.parametrize("cost", ["sparse", "contract"])
def test_a_cost_moves_the_codes_and_is_no_part_of_the_distortion(cost):
    x, ends = rows(64), []
    for weight in (0.0, 1.0):
        auto = costly(**{cost: weight})
        engine = Engine(auto, Reconstruction(), split_of(x), Training(steps=200, batch=32, learning_rate=0.01), seed=0)
        for _ in range(200):
            engine.advance()
        found = vael.evaluation.bounds(auto, split_of(x), objective=Reconstruction())
        measured = costly(sparse=1.0, contract=1.0)
        measured.load_state_dict(auto.state_dict())
        paid = measured.posterior(x).penalties[cost].detach()
        ends.append(float(paid.mean()))
        assert_close(found.objective, -found.distortion - weight * paid.double(), atol=1e-4, rtol=1e-5)
    assert ends[1] < 0.7 * ends[0]


def test_costs_are_recorded_bit_for_bit():
    assert_recorded(costly(sparse=0.3, contract=0.7), Reconstruction(), split_of(rows(12)), warm_up=0)


def test_negative_costs_are_refused():
    with pytest.raises(RecipeError, match=r"sparse and contract must be at least 0, got -1\.0 and 0\.0"):
        costly(sparse=-1.0)
