"""Trainers beside the VAE's own, on models whose answers are known: wake-sleep, Monte Carlo EM, full variational Bayes.

Exact where a quadratic is averaged over cubature nodes or a weight over quadrature nodes; draws within four standard
errors of the truth; trained models within a stated distance of the maximum of likelihood.
"""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close
from worlds import Linear, cubature_for, split_of

from vael import ELBO, VAE, Batch, Noise, RecipeError
from vael.evidence import closed_form
from vael.inference import MCEM, FullBayes, WakeSleep, WeightPosterior, principal_components
from vael.inference.wake_sleep import asleep, wake
from vael.likelihoods import Gaussian
from vael.models.classical import probabilistic_pca
from vael.networks import MLP
from vael.posteriors import GaussianPosterior, LinearGaussianPosterior
from vael.priors import GaussianPrior

F64 = torch.float64


def weights_of(model: VAE) -> list[torch.Tensor]:
    return list(model.likelihood.network.parameters())


def test_awake_at_the_exact_posterior_the_decoders_gradient_is_that_of_log_px():
    """Fisher's identity: E over p(z|x) of ∇ log p(x, z) is ∇ log p(x); exact, as both are quadratic in z."""
    world = Linear.random(latent=2, observed=5, seed=0)
    x, model = world.sample(9), world.model_with_full_posterior()
    exact = VAE(model.prior, model.likelihood, LinearGaussianPosterior(2))
    gain = wake(model, Batch(x), cubature_for(2, 9))
    log_px = ELBO()(exact.terms(x, cubature_for(2, 9))).mean()
    assert_close(log_px.detach(), world.log_px(x).mean(), atol=1e-9, rtol=0)
    for one, other in zip(*(torch.autograd.grad(v, weights_of(model)) for v in (gain, log_px)), strict=True):
        assert_close(one, other, atol=1e-9, rtol=0)
        assert one.abs().max() > 0.01
    assert all(p.grad is None for p in model.posterior.parameters())
    with pytest.raises(RuntimeError, match="not have been used"):  # awake, nothing reaches the encoder
        torch.autograd.grad(wake(model, Batch(x), cubature_for(2, 9)), list(model.posterior.parameters()))


def test_asleep_at_the_exact_posterior_log_q_is_minus_its_entropy_and_its_gradient_nothing():
    """Dreams are draws of p(x, z), for which the exact posterior is the best q: E log q = −½ log |2πe Σ|."""
    world = Linear.random(latent=2, observed=5, seed=0)
    model, draws = world.model_with_full_posterior(), 20_000
    value = asleep(model, model.noise(1, draws, seed=1), seed=2, step=0)
    entropy = float(model.posterior(world.sample(1)).entropy().detach())
    assert float(value.detach()) == pytest.approx(-entropy, abs=4 * 1.0 / math.sqrt(draws))  # −½χ²₂ has deviation 1
    slopes = torch.autograd.grad(value, list(model.posterior.parameters()))
    assert max(float(slope.abs().max()) for slope in slopes) < 0.25
    with torch.no_grad():
        model.posterior.network.head.bias[0] += 0.5
    moved = asleep(model, model.noise(1, draws, seed=1), seed=2, step=0)
    assert float(moved.detach()) < float(value.detach()) - 0.5
    slopes = torch.autograd.grad(moved, list(model.posterior.parameters()))
    assert max(float(slope.abs().max()) for slope in slopes) > 1


def linear_vae(seed: int = 0) -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        likelihood = Gaussian(MLP(1, [], 4), scale="shared")
        return VAE(GaussianPrior(1), likelihood, GaussianPosterior(MLP(4, [], 2))).double()


WORLD = Linear.random(latent=1, observed=4, seed=3, variance=0.5)
SPLIT = split_of(WORLD.sample(300, seed=4))


def best() -> float:
    return principal_components(probabilistic_pca(4, 1).double(), SPLIT)


def mean_log_px(model: VAE) -> float:
    found = closed_form(VAE(model.prior, model.likelihood, LinearGaussianPosterior(1)))(Batch(SPLIT.x))
    return float(found.mean())


@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (lambda model: WakeSleep(model, SPLIT, learning_rate=0.1), 1500),
        (lambda model: MCEM(model, SPLIT, batch=300, moves=4, learning_rate=0.2), 60),
    ],
)
def test_it_reaches_the_maximum_of_likelihood_and_is_a_function_of_its_seed(make, steps):
    """One latent, for which the encoder's family holds the exact posterior; draws leave a few hundredths."""
    model = linear_vae()
    before, trainer = mean_log_px(model), make(model)
    for _ in range(steps):
        trainer.advance()
    assert before < best() - 0.5
    assert mean_log_px(model) > best() - 0.03
    twins = [linear_vae(), linear_vae()]
    for twin in twins:
        again = make(twin)
        gains = [again.advance() for _ in range(3)]
        assert all(map(math.isfinite, gains))
    for one, other in zip(twins[0].parameters(), twins[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_chains_of_monte_carlo_em_are_accepted_as_often_as_was_wanted_and_reach_the_posterior():
    """z of 300 examples, whitened by the exact posterior, is standard normal; four standard errors."""
    model = WORLD.model()
    trainer = MCEM(model, SPLIT, batch=300, moves=40, learning_rate=1e-12)
    trainer.advance()
    trainer.advance()
    assert trainer.accepted == pytest.approx(0.9, abs=0.03)
    q = LinearGaussianPosterior(1)
    q.bind(model.prior, model.likelihood)
    batch = trainer.look()
    law = q(batch.x)
    white = ((trainer.walk(batch) - law.mean) / law.variance.sqrt()).detach()
    assert abs(float(white.mean())) < 4 / math.sqrt(300)
    assert abs(float(white.square().mean()) - 1) < 4 * math.sqrt(2 / 300)


def test_monte_carlo_em_leaves_the_encoder_alone_and_wake_sleep_does_not():
    for make, moved in ((MCEM, False), (WakeSleep, True)):
        model = linear_vae()
        before = copy.deepcopy(model.posterior.state_dict())
        make(model, SPLIT).advance()
        same = all(torch.equal(value, before[name]) for name, value in model.posterior.state_dict().items())
        assert same is not moved


def test_what_cannot_be_trained_so_is_refused():
    with pytest.raises(RecipeError, match="WakeSleep: learns an encoder, and LinearGaussianPosterior has no param"):
        WakeSleep(probabilistic_pca(4, 1), SPLIT)
    with pytest.raises(RecipeError, match="MCEM: updates must be at least 1, got 0"):
        MCEM(linear_vae(), SPLIT, updates=0)
    with pytest.raises(RecipeError, match="MCEM: acceptance must be between 0 and 1, got 1"):
        MCEM(linear_vae(), SPLIT, acceptance=1)
    with pytest.raises(RecipeError, match="WakeSleep: batch must be at least 1, got 0"):
        WakeSleep(linear_vae(), SPLIT, batch=0)
    with pytest.raises(RecipeError, match="learning_rate must be above 0, got -1"):
        MCEM(linear_vae(), SPLIT, learning_rate=-1)
    with pytest.raises(RecipeError, match="scales must be above 0, got 0 and 1"):
        WeightPosterior(nn.Linear(1, 1), scale=0, prior_scale=1)


# ── full variational Bayes: x = w z + ε with one weight, whose evidence is a one-dimensional integral ───────────

SIGMA = 0.4
X = 1.1 * torch.randn(30, 1, dtype=F64, generator=torch.Generator().manual_seed(5))
LINE = np.linspace(-12, 12, 200_001)


def one_weight() -> VAE:
    """z ~ N(0, 1), x|z ~ N(w z, SIGMA²); its posterior is exact, so L(x; w) is log N(x; 0, w² + SIGMA²)."""
    network = nn.Linear(1, 1, bias=False)
    likelihood = Gaussian(network, scale=SIGMA, event_shape=1)
    return VAE(GaussianPrior(1), likelihood, LinearGaussianPosterior(1)).double()


def log_joint_of_weight() -> np.ndarray:
    """log p(w) + Σ_x log N(x; 0, w² + σ²) on LINE, with p(w) = N(0, 1)."""
    variance = LINE**2 + SIGMA**2
    squares, count = float(X.square().sum()), len(X)
    log_px = -0.5 * (count * np.log(2 * np.pi * variance) + squares / variance)
    return log_px - 0.5 * (LINE**2 + math.log(2 * math.pi))


def integral(values: np.ndarray) -> float:
    return float(np.trapezoid(values, LINE))


def averaged_bound(trainer: FullBayes) -> float:
    """The bound, its mean over q(θ) taken by 60 Gauss–Hermite nodes."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    noise = Noise((torch.cat([torch.ones(1, len(X), 1), -torch.ones(1, len(X), 1)]).double(),))
    values = [
        float(trainer.bound(Batch(X), noise, torch.tensor([node], dtype=F64)).detach()) for node in nodes
    ]  # fmt: skip
    return float(np.dot(weights, values) / weights.sum())


@pytest.mark.parametrize(("loc", "scale"), [(1.0, 0.1), (0.4, 0.3), (-1.2, 0.2)])
def test_the_bound_falls_short_of_the_evidence_by_the_divergence_of_the_weights(loc, scale):
    """log p(X) − bound = KL(q(w)‖p(w|X)), both sides by quadrature, none by the library's own formulas."""
    trainer = FullBayes(one_weight(), split_of(X))
    with torch.no_grad():
        trainer.weights.loc.fill_(loc), trainer.weights.log_scale.fill_(math.log(scale))
    log_joint = log_joint_of_weight()
    evidence = math.log(integral(np.exp(log_joint - log_joint.max()))) + log_joint.max()
    log_q = -0.5 * ((LINE - loc) / scale) ** 2 - math.log(scale) - 0.5 * math.log(2 * math.pi)
    divergence = integral(np.exp(log_q) * (log_q - (log_joint - evidence)))
    assert divergence > 0.1
    assert averaged_bound(trainer) == pytest.approx(evidence - divergence, abs=1e-6)


def test_trained_it_finds_the_best_gaussian_over_the_weight():
    """Two mirror-image modes, of which a Gaussian covers one: the gap to the evidence is log 2 and a little more."""
    model = one_weight()
    with torch.no_grad():
        model.likelihood.network.weight.fill_(0.8)
    trainer = FullBayes(model, split_of(X), batch=30, learning_rate=0.05)
    before = averaged_bound(trainer)
    for _ in range(1500):
        trainer.advance()
    log_joint = log_joint_of_weight()
    evidence = math.log(integral(np.exp(log_joint - log_joint.max()))) + log_joint.max()
    after = averaged_bound(trainer)
    assert before < after - 1
    assert math.log(2) < evidence - after < math.log(2) + 0.05
    density = np.exp(log_joint - evidence) * (LINE > 0) * 2
    mean = integral(density * LINE)
    spread = math.sqrt(integral(density * (LINE - mean) ** 2))
    assert float(trainer.weights.loc.detach()) == pytest.approx(mean, abs=0.3 * spread)
    assert float(trainer.weights.log_scale.detach().exp()) == pytest.approx(spread, rel=0.2)
    trainer.settle()
    assert torch.equal(model.likelihood.network.weight.detach().flatten(), trainer.weights.loc.detach())


def test_the_divergence_of_the_weights_is_torchs():
    network = MLP(3, [4], 5)
    weights = WeightPosterior(network, scale=0.3, prior_scale=1.7)
    q = torch.distributions.Normal(weights.loc, weights.log_scale.exp())
    truth = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.7)).sum()
    assert_close(weights.kl(), truth, atol=1e-4, rtol=1e-5)  # single precision
    assert len(weights.loc) == 3 * 4 + 4 + 4 * 5 + 5
    drawn = weights.draw(torch.zeros(len(weights.loc)))
    for name, value in network.named_parameters():
        assert torch.equal(drawn[name], value)
