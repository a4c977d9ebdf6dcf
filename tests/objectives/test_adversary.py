"""Objectives with a critic: one value, two games, and a critic that learns a log-ratio of densities."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from worlds import Linear, split_of

from vael import ELBO, VAE, Batch, RecipeError, Terms, Training
from vael.distributions import DiagonalGaussian, StandardGaussian, find_kl
from vael.likelihoods import Gaussian
from vael.models import Latent
from vael.networks import MLP
from vael.objectives import AdversarialMatching, Adversary, Factor, FeatureAdversary, Reconstruction
from vael.objectives.factor import dealt_anew
from vael.posteriors import DeterministicPosterior, GaussianPosterior
from vael.priors import GaussianPrior
from vael.training import Engine

F64 = torch.float64
MEMBERS = {
    "factor": lambda: Factor(weight=3.0, hidden=[6], draws=2),
    "adversarial_matching": lambda: AdversarialMatching(weight=3.0, hidden=[6], draws=2),
    "feature_adversary": lambda: FeatureAdversary(0.7, 2.0, 3.0, hidden=[6, 4], draws=2),
}
every = pytest.mark.parametrize("name", MEMBERS)


def bound(name: str, batch: int = 6) -> tuple[Adversary, VAE, Tensor]:
    """A member with a critic, a model and its examples, in float64 and smooth throughout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder, decoder = MLP(4, [5], 6, activation="tanh"), MLP(3, [5], 4, activation="tanh")
        model = VAE(GaussianPrior(3), Gaussian(decoder, scale=0.8), GaussianPosterior(encoder)).double()
        objective = MEMBERS[name]()
        objective.bind(model)
        x = torch.randn(batch, 4, dtype=F64)
    return objective, model, x


def game(objective: Adversary, terms: Terms) -> Tensor:
    return objective.gain(terms) - objective.share * objective.cost(terms)


def slope(value: object, weights: list[Tensor], along: list[Tensor]) -> float:
    """The derivative of value() along a direction of the weights, by central differences."""
    ends = []
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            for weight, way in zip(weights, along, strict=True):
                weight += step * way
            ends.append(float(value()))
            for weight, way in zip(weights, along, strict=True):
                weight -= step * way
    return (ends[0] - ends[1]) / 2e-5


def check_slope(objective: Adversary, model: VAE, x: Tensor, part: torch.nn.Module, measured: object) -> None:
    """The gradient of the one value by a part's weights is that of `measured`; differences leave some 1e-9."""
    noise = model.noise(objective.draws, len(x), seed=1, spare=1)
    weights = list(part.parameters())
    found = torch.autograd.grad(objective(model.terms(x, noise)).sum(), weights, allow_unused=True)
    generator = torch.Generator().manual_seed(2)
    along = [torch.randn(weight.shape, dtype=F64, generator=generator) for weight in weights]
    along = [way if gradient is not None else way * 0 for way, gradient in zip(along, found, strict=True)]
    wanted = slope(lambda: measured(model.terms(x, noise)).sum(), weights, along)
    total = sum(float((g * way).sum()) for g, way in zip(found, along, strict=True) if g is not None)
    assert abs(wanted) > 1e-3
    assert abs(total - wanted) < 1e-6 * (1 + abs(wanted))


@every
def test_the_value_is_the_models_game_alone(name):
    objective, model, x = bound(name)
    terms = model.terms(x, model.noise(2, len(x), seed=1, spare=1))
    assert_close(objective(terms), game(objective, terms))


@every
def test_the_value_is_the_papers_written_out(name):
    """With the networks called directly, and σ by its definition."""
    objective, model, x = bound(name)
    noise = model.noise(2, len(x), seed=1, spare=1)
    terms = model.terms(x, noise)
    z, f, decode = terms.latents[0].z, objective.critic, model.likelihood.network

    def sure(points: Tensor) -> Tensor:  # log of what the critic holds for its chance to be of the first cloud
        return torch.log(1 / (1 + torch.exp(-f(points)[..., 0])))

    def like_a_picture() -> Tensor:
        made, new = decode(z[0]), decode(noise.spare[0])
        far = ((f.body(x) - f.body(made)) ** 2).sum(1)
        return -0.7 * terms.distortion - terms.rate - 2.0 * far / 2 + 3.0 * (sure(made) + sure(new))

    wanted = {
        "factor": lambda: terms.elbo - 3.0 * f(z)[..., 0].mean(0),
        "adversarial_matching": lambda: -terms.distortion + 3.0 * sure(z).mean(0),
        "feature_adversary": like_a_picture,
    }
    assert_close(objective(terms), wanted[name]())


@every
def test_the_decoder_climbs_the_models_game_with_the_critic_held_still(name):
    objective, model, x = bound(name)
    check_slope(objective, model, x, model.likelihood, lambda terms: game(objective, terms))


@every
def test_the_encoder_climbs_it_too_but_for_what_only_the_decoder_is_charged(name):
    objective, model, x = bound(name)

    def own(terms: Terms) -> Tensor:
        paid = objective.weight * objective.seen_through(terms) if isinstance(objective, FeatureAdversary) else 0
        return game(objective, terms) + paid

    check_slope(objective, model, x, model.posterior, own)


@every
def test_the_critic_climbs_its_lesson_and_nothing_of_the_models_game(name):
    objective, model, x = bound(name)
    check_slope(objective, model, x, objective.network, objective.lesson)


@every
def test_a_warm_up_weighs_the_cost_and_not_the_lesson(name):
    objective, model, x = bound(name)
    terms = model.terms(x, model.noise(2, len(x), seed=1, spare=1))
    warmed = objective.warmed(0.25)
    assert_close(warmed(terms), objective.gain(terms) - 0.25 * objective.cost(terms))
    assert objective.share == 1.0
    weights = list(objective.network.parameters())
    full, part = (torch.autograd.grad(one(terms).sum(), weights, retain_graph=True) for one in (objective, warmed))
    for one, other in zip(full, part, strict=True):
        assert_close(one, other)


@every
def test_a_batch_of_one_row_has_a_finite_value_and_gradient(name):
    objective, model, x = bound(name, batch=1)
    value = objective(model.terms(x, model.noise(2, 1, seed=1, spare=1)))
    gradients = torch.autograd.grad(value.sum(), [*model.parameters(), *objective.parameters()], allow_unused=True)
    assert torch.isfinite(value).all()
    assert all(torch.isfinite(gradient).all() for gradient in gradients if gradient is not None)


def test_without_its_weight_each_is_the_objective_it_began_from():
    _, model, x = bound("factor")
    terms = model.terms(x, model.noise(2, len(x), seed=1, spare=1))
    plain = {
        Factor(weight=0.0): ELBO(),
        AdversarialMatching(weight=0.0): Reconstruction(),
        FeatureAdversary(pixels=1.0, features=0.0, weight=0.0): ELBO(),
    }
    for objective, wanted in plain.items():
        objective.bind(model)
        assert_close(objective(terms), wanted(terms))


@pytest.mark.parametrize("knob", ["pixels", "features", "weight"])
def test_every_weight_of_the_feature_adversary_has_an_effect(knob):
    objective, model, x = bound("feature_adversary")
    terms = model.terms(x, model.noise(2, len(x), seed=1, spare=1))
    before = objective(terms)
    setattr(objective, knob, 0.0)
    assert (objective(terms) - before).abs().max() > 1e-2


# ── the critic against closed forms ──────────────────────────────────────────────────────────────────────────


def literal(z: Tensor, spare: Tensor) -> Terms:
    """Terms of given draws z `(1, B, D)`, under N(0, I)."""
    law, prior = DiagonalGaussian(z[0] * 0, z[0] * 0), StandardGaussian(z.shape[-1])
    latent = Latent(law, prior, z, z.new_zeros(()), find_kl(type(law), type(prior)))
    return Terms((latent,), z.new_zeros(1, z.shape[1]), z.new_zeros(()), spare=spare)


def taught(objective: Adversary, cloud: object, *, dims: int, steps: int) -> None:
    """Climb the lesson alone, on fresh clouds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        objective.bind(VAE(GaussianPrior(dims), Gaussian(MLP(dims, [], 2)), GaussianPosterior(MLP(2, [], 2 * dims))))
    adam = torch.optim.Adam(objective.parameters(), lr=5e-3)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    generator = torch.Generator().manual_seed(3)
    for _ in range(steps):
        eps = torch.randn(2, 500, dims, generator=generator)
        adam.zero_grad()
        (-objective(literal(cloud(eps[:1]), eps[1:])).mean()).backward()
        adam.step()
        falling.step()


def test_a_critic_learns_the_log_ratio_of_two_gaussians():
    """p = N(0, 1) and q̄ = N(1, 0.7²): f against log p − log q̄ over the bulk of q̄; half of 1.27 would be far off."""
    objective = AdversarialMatching(hidden=[32, 32])
    taught(objective, lambda eps: 1 + 0.7 * eps, dims=1, steps=500)
    z = torch.linspace(0, 2, 41).unsqueeze(-1)
    truth = -0.5 * z.square() + 0.5 * ((z - 1) / 0.7).square() + math.log(0.7)
    with torch.no_grad():
        off = (objective.judged(z, still=True) - truth.squeeze(-1)).square().mean().sqrt()
    assert truth.std() > 0.5
    assert off < 0.12  # 250 000 draws and 32 units leave about 0.05


def test_the_total_correlation_of_a_correlated_gaussian_is_found():
    """−½ log(1 − ρ²) nats."""
    rho, objective = 0.8, Factor(hidden=[32, 32])
    pair = lambda eps: torch.stack([eps[..., 0], rho * eps[..., 0] + 0.6 * eps[..., 1]], -1)  # noqa: E731
    taught(objective, pair, dims=2, steps=500)
    eps = torch.randn(2, 20_000, 2, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        found = objective.total_correlation(literal(pair(eps[:1]), eps[1:]))
    error = float(found.std()) / 20_000**0.5
    truth = -0.5 * math.log(1 - rho**2)  # 0.511
    assert error < 0.01
    assert abs(float(found.mean()) - truth) < 4 * error + 0.06  # what a small critic lacks


def test_units_are_dealt_out_each_in_an_order_of_its_own():
    z = torch.arange(30.0).reshape(1, 10, 3).expand(2, -1, -1)
    dealt = dealt_anew(z, torch.randn(10, 3, generator=torch.Generator().manual_seed(0)))
    assert_close(dealt.sort(1).values, z)  # each unit keeps its values
    origin = (dealt // 3)[0].long()
    assert not torch.equal(origin[:, 0], origin[:, 1])
    assert not torch.equal(origin[:, 1], origin[:, 2])
    assert_close(dealt[0], dealt[1])
    assert_close(dealt_anew(z[:, :1], torch.zeros(1, 3)), z[:, :1])


# ── in training ──────────────────────────────────────────────────────────────────────────────────────────────


def test_codes_without_noise_are_brought_to_the_prior():
    """Mean 0 and deviation 1 of each unit, where the encoder began far from both."""
    x = Linear.random(2, 5).sample(400).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = MLP(5, [], 2)
        model = VAE(GaussianPrior(2), Gaussian(MLP(2, [], 5), scale=0.7), DeterministicPosterior(encoder))
        torch.nn.init.constant_(encoder.head.bias, 3.0)
    training = Training(steps=800, batch=100, learning_rate=0.01)
    engine = Engine(model, AdversarialMatching(weight=10.0, hidden=[32]), split_of(x), training, seed=0)
    before = model.posterior(x).mean.mean(0)
    for _ in range(800):
        engine.advance()
    z = model.posterior(x).mean
    assert (before > 2).all()
    assert (z.mean(0).abs() < 0.3).all()
    assert ((z.std(0) - 1).abs() < 0.3).all()


@pytest.mark.parametrize("name", ["factor", "feature_adversary"])
def test_what_charges_a_rate_is_refused_without_one(name):
    model = VAE(GaussianPrior(3), Gaussian(MLP(3, [], 4)), DeterministicPosterior(MLP(4, [], 3)))
    with pytest.raises(RecipeError, match="does not go with DeterministicPosterior"):
        Engine(model, MEMBERS[name](), split_of(torch.randn(9, 4)), Training(steps=1), seed=0)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Factor(weight=-1.0), "Factor: weight must be at least 0, got -1"),
        (lambda: AdversarialMatching(weight=math.nan), "AdversarialMatching: weight must be at least 0, got nan"),
        (lambda: FeatureAdversary(pixels=-2.0), "FeatureAdversary: pixels must be at least 0, got -2"),
        (lambda: FeatureAdversary(hidden=[]), "FeatureAdversary: compares hidden layers.*at least one width"),
        (lambda: Factor(hidden=[8, 0]), r"Factor: every hidden layer needs at least one unit, got \[8, 0\]"),
        (lambda: Factor(draws=0), "Factor: draws must be at least 1, got 0"),
    ],
)
def test_what_makes_no_sense_is_refused(make, says):
    with pytest.raises(RecipeError, match=says):
        make()


@every
def test_what_is_lacking_is_said(name):
    objective, model, x = bound(name)
    terms = model.terms(x, model.noise(2, len(x), seed=1, spare=1))
    with pytest.raises(RecipeError, match=rf"{type(objective).__name__}: has no critic yet; training makes it"):
        MEMBERS[name]()(terms)
    with pytest.raises(RecipeError, match=r"needs noise of its own.*\n.*spare=1"):
        objective(model.terms(x, model.noise(2, len(x), seed=1)))


def test_a_feature_adversary_needs_the_examples_and_looks_at_no_hidden_feature():
    objective, model, x = bound("feature_adversary")
    z = torch.zeros(1, 6, 3, dtype=F64)
    with pytest.raises(RecipeError, match="looks at x itself, and these terms carry none"):
        objective(literal(z, z))
    seen = torch.ones(6, 4, dtype=torch.bool)
    seen[:, 2] = False
    noise = model.noise(2, 6, seed=1, spare=1)
    one, other = (model.terms(Batch(x, observed=seen), noise) for _ in range(2))
    moved = Batch(torch.where(seen, x, x + 9), observed=seen)
    assert_close(objective.example(one), torch.where(seen, x, torch.zeros_like(x)))
    assert (objective.decoded(other, other.latents[0].z[0])[:, 2] == 0).all()
    assert_close(objective.example(model.terms(moved, noise)), objective.example(one))
