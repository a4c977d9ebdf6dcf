"""Mistakes in how other toolkits train, keep, load and score, as tests that this one must pass: C19 – C45.

Items that the rows of bad input hold already (tests/torture/test_peers_d.py) are not repeated: C28 in part, C29 – C31,
C33. What takes a kill or several processes is in tests/training: C27, C36.
"""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn
from torch.testing import assert_close
from worlds import Linear, split_of

import vael
from vael import ELBO, IWAE, VAE, Beta, RecipeError, Terms, Training
from vael.applications import generate
from vael.data.dataset import Split
from vael.distributions import StandardGaussian
from vael.errors import DamagedFile, TrainingError
from vael.evaluation import bounds
from vael.files import load_tensors
from vael.likelihoods import Bernoulli, Gaussian
from vael.models import Latent
from vael.networks import MLP
from vael.objectives import Objective
from vael.posteriors import GaussianPosterior
from vael.priors import GaussianPrior, MixturePrior, VampPrior
from vael.training import Engine, Progress, snapshot

F64 = torch.float64
WORLD = Linear.random(2, 5, seed=4)
TABLE = WORLD.sample(120, seed=1).float().numpy()


def engine(objective: Objective) -> Engine:
    training = Training(steps=60, batch=32, learning_rate=3e-2)
    return Engine(WORLD.model().float(), objective, split_of(torch.from_numpy(TABLE)), training, seed=0)


# ── C3: training ─────────────────────────────────────────────────────────────────────────────────────────────


def test_c19_a_checkpoint_holds_the_weights_of_its_own_step_with_their_moments():
    run = engine(ELBO())
    for _ in range(3):
        run.advance()
    tensors, notes = snapshot(run, Progress(best=0.0, best_step=1))
    assert '"step": 3' in notes["counters"]
    for name, value in run.model.state_dict().items():
        assert torch.equal(tensors[f"model.{name}"], value)
    assert float(tensors["optimizer.count"]) == 3
    assert any(value.abs().max() > 0 for name, value in tensors.items() if name.startswith("optimizer.exp_avg."))


def test_c21_a_number_that_is_not_finite_leaves_the_weights_of_the_last_good_state(tmp_path):
    with pytest.raises(TrainingError, match=r"is not finite. The last good state, after step \d+, is kept"):
        vael.fit(TABLE, steps=20, learning_rate=1e30, output=tmp_path / "run")
    tensors, _ = load_tensors(tmp_path / "run" / "checkpoint" / "last.safetensors")
    assert all(torch.isfinite(value).all() for value in tensors.values())


@pytest.mark.parametrize("rows", [1, 7, 50])
def test_c22_every_example_counts_alike_however_they_fall_into_batches(rows):
    model, split = WORLD.model(), split_of(WORLD.sample(50, seed=2))
    whole = bounds(model, split).elbo
    parts = [bounds(model, split.rows(part)).elbo for part in torch.arange(50).split(rows)]
    assert_close(torch.cat(parts), whole, atol=1e-9, rtol=0)
    assert bounds(model, split).means["elbo"] == pytest.approx(float(whole.mean()))


def test_c23_an_error_in_evaluation_is_not_swallowed(monkeypatch):
    model = WORLD.model()
    monkeypatch.setattr(model, "terms", lambda *a, **k: (_ for _ in ()).throw(RuntimeError("out of memory")))
    with pytest.raises(RuntimeError, match="out of memory"):
        bounds(model, split_of(WORLD.sample(5)))


def test_c24_the_seed_decides_the_weights_too(tmp_path):
    first, same, other = (
        vael.fit(TABLE, seed=seed, steps=1, latent=2, output=tmp_path / name).model.state_dict()
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_c25_looking_before_training_moves_no_statistics(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 4))
    model = VAE(GaussianPrior(2), Gaussian(MLP(2, [], 5)), GaussianPosterior(network, latent=2))
    before = copy.deepcopy(network[1].state_dict())
    bounds(model, split_of(torch.from_numpy(TABLE)))
    Engine(model, ELBO(), split_of(torch.from_numpy(TABLE)), Training(steps=1), seed=0)
    for name, value in network[1].state_dict().items():
        assert torch.equal(value, before[name]), name


def test_c26_a_precision_is_what_the_recipe_says_or_refused(tmp_path):
    run = vael.fit(TABLE, steps=2, latent=2, precision="bf16", output=tmp_path / "run")
    assert run.recipe["training"]["precision"] == "bf16"
    with pytest.raises(RecipeError, match="precision must be one of float32, bf16, got 'fp16'"):
        vael.fit(TABLE, steps=2, precision="fp16", output=tmp_path / "other")


def test_c28_samples_come_from_the_models_own_prior():
    """A mixture far from N(0, I), and a decoder that is the identity: the samples' mean is the mixture's."""
    prior = MixturePrior(2, components=2)
    with torch.no_grad():
        prior.loc.copy_(torch.tensor([[40.0, 40.0], [44.0, 36.0]]))
    decoder = MLP(2, [], 2)
    with torch.no_grad():
        decoder.head.weight.copy_(torch.eye(2)), decoder.head.bias.zero_()
    model = VAE(prior, Gaussian(decoder, scale=0.1), GaussianPosterior(MLP(2, [], 4)))
    x = generate(model, 2000, seed=0)
    assert_close(x.mean(0), prior().mean.detach(), atol=0.5, rtol=0)


def test_c32_what_is_handed_over_is_not_changed(tmp_path):
    settings, kinds = {"training.clip": 10.0}, {"x0": "real"}
    vael.fit(TABLE, settings=settings, kinds=kinds, steps=1, output=tmp_path / "run")
    assert (settings, kinds) == ({"training.clip": 10.0}, {"x0": "real"})


# ── C4: loading ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_c34_c35_a_damaged_file_is_named_and_never_loaded(tmp_path, damage):
    run = vael.fit(TABLE, steps=1, latent=2, output=tmp_path / "run")
    path = run.folder.model
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    else:
        for place in range(len(content) - 200, len(content) - 136):
            content[place] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(DamagedFile, match=r"model\.safetensors"):
        vael.load(tmp_path / "run")


# ── C5: importance weights, pseudo-inputs, sizes, selection ──────────────────────────────────────────────────


def test_c37_the_better_a_draw_the_more_it_weighs():
    """∂ L_K / ∂ log w_k = w_k / Σ w: the best draw has the largest share, and the shares add up to one."""
    log_w = torch.tensor([[-3.0], [-1.0], [-7.0]], dtype=F64, requires_grad=True)
    law, z = StandardGaussian(1), torch.zeros(3, 1, 1, dtype=F64)
    measure = torch.tensor(-math.log(3), dtype=F64)
    (share,) = torch.autograd.grad(IWAE(3)(Terms((Latent(law, law, z, measure),), log_w, measure)).sum(), log_w)
    weight = np.exp([-3.0, -1.0, -7.0])
    assert_close(share[:, 0], torch.from_numpy(weight / weight.sum()))


def test_c11_c38_a_vamp_prior_is_the_mean_of_its_pseudo_posteriors_and_samples_from_it():
    torch.manual_seed(0)
    posterior = GaussianPosterior(MLP(5, [6], 4)).double()
    prior = VampPrior(2, components=7, event_shape=5).double()
    prior.bind(posterior, Gaussian(MLP(2, [], 5)))
    prior.begin(3 * torch.randn(20, 5, dtype=F64))  # well outside of [0, 1], where the ports clip
    q = posterior(prior.pseudo.detach() if hasattr(prior, "pseudo") else next(prior.parameters()).detach())
    loc, scale = q.loc.detach().numpy(), q.scale.detach().numpy()
    z = np.random.default_rng(0).normal(size=(6, 2))
    each = norm(loc, scale).logpdf(z[:, None]).sum(-1)
    truth = np.logaddexp.reduce(each, 1) - math.log(7)
    assert_close(prior().log_prob(torch.from_numpy(z)).detach(), torch.from_numpy(truth), atol=1e-9, rtol=0)
    drawn = prior().from_noise(torch.randn(20_000, 2, dtype=F64)).detach()
    assert_close(drawn.mean(0), torch.from_numpy(loc.mean(0)), atol=4 * float(drawn.std(0).max()) / 141, rtol=0)


def test_c39_c43_the_balance_of_the_terms_is_that_of_sums_whatever_the_width():
    """Twice the features, each pair alike: twice the distortion, and the rate as it was."""
    one = VAE(GaussianPrior(2), Bernoulli(MLP(2, [], 3)), GaussianPosterior(MLP(3, [], 4))).double()
    two = VAE(GaussianPrior(2), Bernoulli(MLP(2, [], 6)), GaussianPosterior(MLP(6, [], 4))).double()
    with torch.no_grad():
        for part, whole in ((one.likelihood.network.head, two.likelihood.network.head),):
            whole.weight.copy_(part.weight.repeat(2, 1)), whole.bias.copy_(part.bias.repeat(2))
        two.posterior.network.head.weight.copy_(one.posterior.network.head.weight.repeat(1, 2) / 2)
        two.posterior.network.head.bias.copy_(one.posterior.network.head.bias)
    x = (torch.rand(8, 3, dtype=F64, generator=torch.Generator().manual_seed(0)) > 0.5).double()
    noise = one.noise(2, 8, seed=0)
    small, large = one.terms(x, noise), two.terms(x.repeat(1, 2), noise)
    assert_close(large.rate, small.rate)
    assert_close(large.distortion, 2 * small.distortion)


def test_c40_weights_are_chosen_by_the_bound_at_weight_one_on_validation_rows(tmp_path):
    run = vael.fit(TABLE, objective=Beta(beta=0.001), steps=60, evaluate_every=10, latent=2, output=tmp_path / "run")
    lines = [line for line in run.history if "validation" in line]
    for line in lines:
        found = line["validation"]
        assert found["elbo"] == pytest.approx(-found["rate"] - found["distortion"], abs=1e-6)
    kept = [line for line in lines if line.get("best")][-1]
    assert kept["validation"]["elbo"] == max(line["validation"]["elbo"] for line in lines)


# ── C6: a detector that did not learn ────────────────────────────────────────────────────────────────────────


def test_c41_the_weight_of_the_rate_has_a_gradient_and_an_effect():
    ends = []
    for beta in (1.0, 1000.0):
        run = engine(Beta(beta=beta))
        for _ in range(60):
            run.advance()
        ends.append(bounds(run.model, run.split).rate.mean())
    assert float(ends[1]) < 0.2 * float(ends[0])


def test_c42_scores_repeat_to_the_bit(tmp_path):
    run = vael.fit(TABLE, steps=20, latent=2, output=tmp_path / "run")
    first, again = (run.evaluate(TABLE, draws=20) for _ in range(2))
    same = [dataclasses.replace(one, seconds=0.0) for one in (first, again)]
    assert same[0] == same[1]


def test_c44_a_seed_belongs_to_a_fit_and_moves_no_global_state(tmp_path):
    torch.manual_seed(11)
    wanted = torch.rand(3)
    torch.manual_seed(11)
    vael.fit(TABLE[:20], steps=2, batch=512, latent=2, seed=5, output=tmp_path / "run")
    assert torch.equal(torch.rand(3), wanted)


def test_c45_training_is_shown_by_nats_and_not_by_a_floor_that_any_weights_pass():
    """From an encoder that knows nothing to the model's own log p(x), of which the bound ends within 0.3 nats."""
    model = WORLD.model(torch.zeros(2).double(), torch.ones(2).double()).float()
    for parameter in model.likelihood.parameters():
        parameter.requires_grad_(False)
    x = torch.from_numpy(TABLE)
    split = Split(x, torch.arange(len(x)), torch.zeros(len(x), dtype=F64))
    before = float(bounds(model, split, draws=20).elbo.mean())
    run = Engine(model, ELBO(), split, Training(steps=600, batch=64, learning_rate=2e-2), seed=0)
    for _ in range(600):
        run.advance()
    after, truth = float(bounds(model, split, draws=20).elbo.mean()), float(WORLD.log_px(x.double()).mean())
    assert before < truth - 2
    assert truth - 0.5 < after < truth + 0.3
