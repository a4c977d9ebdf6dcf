"""Mistakes in the mathematics of other toolkits, as tests that this one must pass: C1 – C18 of the table of peers.

Where a mistake sits in a member that is not here, its test holds the part of it that is.
"""

import copy
import math
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close
from worlds import Linear, objective_of, split_of

import vael
from vael import ELBO, IWAE, VAE, Beta, Capacity, Terms, Training, evaluate, objectives
from vael.data import Batch
from vael.distributions import ContinuousBernoulli, StandardGaussian
from vael.distributions.minibatch import stratified_weights
from vael.evaluation import bounds
from vael.evidence import Annealed, Exact, Importance
from vael.inference import hamiltonian, noise_of, path_to_posterior
from vael.likelihoods import Bernoulli, Gaussian, GreyBernoulli
from vael.models import Latent
from vael.networks import MLP
from vael.networks.inputs import Rescaled
from vael.noise import Noise
from vael.objectives import DIP, Factor, Matching, Objective, TotalCorrelation
from vael.objectives.distances import DISTANCES
from vael.posteriors import GaussianPosterior
from vael.priors import GaussianPrior
from vael.runs.recipe import members
from vael.training import Engine

WORLD = Linear.random(2, 5, seed=4)
X = WORLD.sample(64)
WIDE = WORLD.model(torch.zeros(2).double(), torch.full((2,), 2.0).double())  # a posterior that is far too wide


def every_objective() -> list[Objective]:
    """One of each kind, and of each distance, with as many draws as it needs."""
    matched = [Matching(distance=distance, draws=4) for distance in DISTANCES]
    return [*(objective_of(kind, draws=4) for kind in members("objective")), *matched[1:], DIP(covariance="draws")]


def bound(objective: Objective, model: VAE) -> Objective:
    """The objective; one that learns with weights of its own for `model`, in the model's digits."""
    if not isinstance(objective, nn.Module):
        return objective
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        own = copy.deepcopy(objective)
        own.bind(model)
    return own


def named(objective: Objective) -> str:
    """Its kind, and what sets it apart from others of that kind."""
    said = (getattr(objective, name, "") for name in ("distance", "covariance"))
    return "-".join([type(objective).__name__, *said]).strip("-")


kinds = pytest.mark.parametrize("objective", every_objective(), ids=named)


def noise_for(objective: Objective, batch: int) -> Noise:
    """Noise for four draws of each example, and what the objective asks for beside them."""
    return WIDE.noise(4, batch, seed=0, spare=getattr(objective, "spare", 0))


def terms_of(log_w: torch.Tensor) -> Terms:
    """Terms with log p(x|z) = log_w and q = p."""
    draws, batch = log_w.shape
    law, z = StandardGaussian(2), torch.zeros(draws, batch, 2, dtype=torch.float64)
    measure = torch.tensor(-math.log(draws), dtype=torch.float64)
    return Terms((Latent(law, law, z, measure),), log_w, measure)


class Counting(nn.Module):
    """An affine network that counts the rows it is handed."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.rows = network, 0
        self.inputs, self.outputs = network.inputs, network.outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.rows += x[..., 0].numel()
        out: torch.Tensor = self.network(x)
        return out


# ── objectives and bounds ────────────────────────────────────────────────────────────────────────────────────


def test_c1_weights_are_averaged_over_the_draws_of_one_example_and_over_nothing_else():
    log_w = torch.randn(50, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert_close(IWAE(50)(terms_of(log_w)), torch.from_numpy(np.log(np.exp(log_w.numpy()).mean(0))))
    assert_close(ELBO(50)(terms_of(log_w)), log_w.mean(0))
    shuffled = torch.stack([column[torch.randperm(50)] for column in log_w.T], 1)  # draws of each example in any order
    assert_close(IWAE(50)(terms_of(shuffled)), IWAE(50)(terms_of(log_w)))
    assert float((IWAE(50)(terms_of(log_w)) - ELBO(50)(terms_of(log_w))).min()) > 0.1  # K does what K is for


@kinds
def test_c2_what_is_reported_is_no_higher_than_log_p(objective):
    """Averaged over 400 examples; 4 standard errors. What is no bound says so, and why."""
    if not getattr(objective, "is_bound", True):
        assert re.search("above the ELBO|above log p|[Nn]o bound", type(objective).__doc__)
        return
    x = WORLD.sample(400, seed=7)
    pathwise = getattr(objective, "reparameterised", True)
    terms = WIDE.terms(x, noise_for(objective, 400), reparameterised=pathwise)
    gap = (WORLD.log_px(x) - objective(terms)).detach()
    assert float(gap.mean()) > -4 * float(gap.std()) / 20
    assert float(gap.mean()) > 0.1  # the self-normalised mean of log-weights would be far above


def test_c3_the_same_noise_gives_the_same_z_in_training_and_in_evaluation():
    model, noise = WORLD.model(), WORLD.model().noise(3, 64, seed=0)
    assert torch.equal(model.train().terms(X, noise).log_w, model.eval().terms(X, noise).log_w)


def test_c3_a_leapfrog_walk_runs_back_to_where_it_came_from():
    """Half-steps of the momentum around full steps of z: with −r it returns, to rounding."""
    path = path_to_posterior(WORLD.model(), Batch(X[:3]))
    noise = next(noise_of(range(3), 2, 4, seed=0, purpose="test", like=path.goal_width))
    noise[..., -2], noise[..., -1] = -9.0, 0.0  # always accepted, no jitter
    place = path.at(path.draw(noise[..., :2]))
    step = torch.full((3,), 0.2, dtype=torch.float64)
    there, _ = hamiltonian(place, 0.7, path, noise, step=step, leapfrog=5)
    # The momentum on arrival, from the last half step taken by hand.
    momentum, z = noise[..., :2], place
    width = path.width(0.7)
    for _ in range(5):
        half = momentum + 0.1 * width * z.slope(0.7)
        z = path.at(z.z + 0.2 * width * half)
        momentum = half + 0.1 * width * z.slope(0.7)
    assert_close(there.z, z.z, atol=1e-12, rtol=0)
    back, _ = hamiltonian(there, 0.7, path, torch.cat([-momentum, noise[..., 2:]], -1), step=step, leapfrog=5)
    assert_close(back.z, place.z, atol=1e-10, rtol=0)
    assert float((there.z - place.z).abs().min()) > 1e-3


def test_c4_the_example_itself_weighs_one_over_n_and_its_row_adds_up_to_one():
    """N = 100, a batch of 5: the ports put 1/N into the first column, and one row of theirs adds up to 1.23."""
    weights = stratified_weights(5, 100)
    assert_close(weights.diagonal(), torch.full((5,), 0.01).double())
    assert_close(weights.sum(1), torch.ones(5).double())


@kinds
@pytest.mark.parametrize("rows", [33, 1])
def test_c5_a_last_batch_of_one_row_is_a_batch_like_any_other(objective, rows):
    model = Linear.random(2, 5).model().float()
    split = split_of(X[:rows].float())
    engine = Engine(model, objective, split, Training(steps=40, batch=16), seed=0)
    for _ in range(6):
        engine.advance()
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert torch.isfinite(torch.tensor(list(engine.means().values()))).all()


@kinds
def test_c6_nothing_depends_on_the_size_of_the_batch(objective):
    """One example in company of 1, 8, 64 copies of itself: the same value, since every mean is over its own draws.

    What else looks at the batch, a covariance or a distance of clouds, is of its points' law, not of their number.
    """
    objective, noise = bound(objective, WIDE), noise_for(objective, 1)
    pathwise = getattr(objective, "reparameterised", True)

    def value(copies: int) -> torch.Tensor:
        (eps,) = noise.latents
        spare = None if noise.spare is None else noise.spare.expand(-1, copies, -1)
        many = type(noise)((eps.expand(-1, copies, -1),), spare)
        return objective(WIDE.terms(X[:1].expand(copies, -1), many, reparameterised=pathwise)).detach()

    for copies in (8, 64):
        assert_close(value(copies), value(1).expand(copies), atol=1e-9, rtol=0)


@kinds
def test_c6_a_batch_twice_over_has_the_value_of_the_batch(objective):
    """Not so for total correlation, which looks at how many of all examples these are: it has a law of its own."""
    if isinstance(objective, TotalCorrelation):
        assert "the larger the batch" in TotalCorrelation.__doc__
        return
    objective = bound(objective, WORLD.model())
    if isinstance(objective, Factor):  # its gain alone: which units are dealt to whom is drawn anew
        objective = objective.gain
    noise, pathwise = noise_for(objective, 8), getattr(objective, "reparameterised", True)
    twice = Noise(
        tuple(torch.cat([eps, eps], 1) for eps in noise.latents),
        None if noise.spare is None else torch.cat([noise.spare, noise.spare], 1),
    )
    model, x = WORLD.model(), X[:8]
    once = objective(model.terms(x, noise, reparameterised=pathwise))
    both = objective(model.terms(torch.cat([x, x]), twice, reparameterised=pathwise))
    assert_close(both, torch.cat([once, once]), atol=1e-9, rtol=0)


def test_c7_a_gaussian_scale_is_a_choice_and_its_constant_is_always_there():
    """σ² = ½ makes the negative log-likelihood the squared error plus d/2 · log π, in training as in evaluation."""
    model = VAE(
        GaussianPrior(2), Gaussian(MLP(2, [], 5), scale=math.sqrt(0.5)), GaussianPosterior(MLP(5, [], 4))
    ).double()
    noise = model.noise_for(range(64), range(1), seed=0)
    centre = model.likelihood.network(model.posterior(X).from_noise(noise.latents[0]))[0]
    expected = (X - centre).square().sum(-1) + 2.5 * math.log(math.pi)
    for mode in (True, False):
        assert_close(model.train(mode).terms(X, noise).distortion, expected, atol=1e-9, rtol=0)
    assert_close(bounds(model, split_of(X)).distortion, expected.detach(), atol=1e-9, rtol=0)


def test_c8_grey_values_have_no_evidence_under_bernoulli_and_one_under_its_continuous_sibling():
    grey = VAE(GaussianPrior(2), GreyBernoulli(MLP(2, [], 5)), GaussianPosterior(MLP(5, [], 4)))
    found = evaluate(grey, split_of(torch.rand(6, 5)))
    assert found.evidence is None
    assert "no density" in found.reasons["evidence"]
    line = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    logit = torch.tensor(math.log(0.1 / 0.9), dtype=torch.float64)
    bernoulli = torch.exp(line * nn.functional.logsigmoid(logit) + (1 - line) * nn.functional.logsigmoid(-logit))
    assert float(torch.trapezoid(bernoulli, line)) == pytest.approx(0.364, abs=1e-3)  # what a peer trains on
    continuous = ContinuousBernoulli(logit).log_prob(line).exp()
    assert float(torch.trapezoid(continuous, line)) == pytest.approx(1.0, abs=1e-8)


@kinds
def test_c9_every_example_of_a_batch_is_learned_from(objective):
    x = X[:9].clone().requires_grad_()
    pathwise = getattr(objective, "reparameterised", True)
    model = WORLD.model()
    bound(objective, model)(model.terms(x, noise_for(objective, 9), reparameterised=pathwise)).mean().backward()
    assert (x.grad.abs().sum(1) > 1e-6).all()


def test_c10_validation_is_measured_alike_whatever_a_schedule_has_reached():
    """The bound at β = 1, on one noise: it depends on the weights and on nothing that training turns."""
    split, seen = split_of(X.float()), []
    for objective, warm_up in ((ELBO(), 0), (Beta(beta=4.0), 30), (Capacity(capacity=9.0, weight=5.0), 30)):
        engine = Engine(WORLD.model().float(), objective, split, Training(steps=40, batch=16, warm_up=warm_up), seed=0)
        for step in (0, 20, 39):
            engine.schedule(step)
            seen.append(bounds(engine.model, split).means["elbo"])
    assert len(set(seen)) == 1


def test_c11_values_outside_the_unit_interval_reach_the_encoder_with_a_slope():
    network = Rescaled(MLP(5, [], 4), loc=0.0, scale=1.0)
    x = torch.tensor([[-3.0, -0.5, 0.5, 1.5, 4.0]], requires_grad=True)
    network(x).sum().backward()
    assert (x.grad.abs() > 1e-6).all()


def test_c12_the_proposal_that_weighs_is_the_proposal_that_drew():
    model = WORLD.model()
    terms = model.terms(X, model.noise(2, 64, seed=0))
    (latent,) = terms.latents
    assert_close(latent.log_q, model.posterior(X).log_prob(latent.z), atol=1e-12, rtol=0)
    trained, measured = model.train().posterior(X), model.eval().posterior(X)
    assert torch.equal(trained.loc, measured.loc)
    assert torch.equal(trained.log_scale, measured.log_scale)


# ── log p(x) ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("draws", [1, 10, 150, 300])
def test_c13_exactly_as_many_draws_are_decoded_as_were_asked_for(draws):
    model = WORLD.model()
    decoder = Counting(model.likelihood.network)
    model.likelihood.network = decoder
    found = Importance(draws=draws)(model, split_of(X[:3]))
    assert decoder.rows == 3 * draws
    assert found.draws == draws


def test_c14_the_evidence_is_log_p_and_not_its_negative():
    found = evaluate(WORLD.model(), split_of(X), method="importance", draws=500)
    truth = float(WORLD.log_px(X).mean())
    assert truth < -1
    assert abs(found.evidence.value - truth) < 4 * found.evidence.monte_carlo_error + 1e-3
    assert found.elbo.value < found.evidence.value
    assert f"−ELBO         {-found.elbo.value:.2f}" in str(found)


def test_c15_nothing_is_dropped_out_and_no_graph_is_kept():
    model = WORLD.model()
    model.posterior.network = nn.Sequential(model.posterior.network, nn.Dropout(0.5))
    as_it_is = {
        one: one(model.eval(), split_of(X[:4])).value for one in (Importance(draws=5), Annealed(temperatures=3))
    }
    model.train()
    for estimator, value in as_it_is.items():
        found = estimator(model, split_of(X[:4]))
        assert torch.equal(found.value, value)
        assert not found.value.requires_grad
    assert model.training


def test_c16_the_encoder_sees_each_row_once_for_each_piece_and_never_its_copies():
    model = WORLD.model()
    encoder = Counting(model.posterior.network)
    model.posterior.network = encoder
    Importance(draws=200)(model, split_of(X))
    assert encoder.rows == 64  # one piece: 64 rows for 12 800 draws


@pytest.mark.parametrize("event", [(8,), (1, 4, 4), (3, 2, 5)])
def test_c17_one_estimator_serves_every_shape_of_x(event):
    features = math.prod(event)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = VAE(GaussianPrior(2), Bernoulli(MLP(2, [6], event)), GaussianPosterior(MLP(event, [6], 4))).double()
    x = (torch.rand(5, *event) > 0.5).double()
    found = Importance(draws=20)(model, split_of(x)).value
    z = model.posterior(x).from_noise(model.noise_for(range(5), range(20), seed=0).latents[0])
    logits = model.likelihood.network(z).reshape(20, 5, features)
    per_pixel = -nn.functional.binary_cross_entropy_with_logits(
        logits, x.reshape(5, features).expand(20, 5, features), reduction="none"
    )
    log_w = per_pixel.sum(-1) + StandardGaussian(2).log_prob(z) - model.posterior(x).log_prob(z)
    assert_close(found, log_w.logsumexp(0).detach() - math.log(20), atol=1e-9, rtol=0)


def test_c18_an_estimate_comes_with_its_errors_and_can_be_checked_by_another():
    model = WORLD.model(torch.zeros(2).double(), torch.ones(2).double())
    weighed, annealed = (
        evaluate(model, split_of(X[:16]), method=method).evidence
        for method in (Importance(draws=4000), Annealed(temperatures=60, chains=10, leapfrog=5))
    )
    for found in (weighed, annealed):
        assert found.standard_error > 0
        assert found.monte_carlo_error > 0
        assert 1 <= found.effective_sample_size["min"] <= found.draws
    exact = Exact()(model, split_of(X[:16])).value.mean()
    for found in (weighed, annealed):
        assert abs(found.value - float(exact)) < 4 * found.monte_carlo_error


def test_every_objective_is_under_these_laws():
    assert {type(one) for one in every_objective()} == set(members("objective").values())
    assert {name for name in objectives.__all__ if name not in ("Objective", "Adversary")} == {
        type(one).__name__ for one in every_objective()
    }
    assert vael.ELBO in members("objective").values()
