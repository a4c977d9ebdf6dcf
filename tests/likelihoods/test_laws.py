"""Laws that hold for every likelihood. A new member joins by one line in MEMBERS."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from worlds import assert_recorded, split_of

from vael import VAE, likelihoods
from vael.files import load_tensors, save_tensors
from vael.likelihoods import (
    Bernoulli,
    Beta,
    BetaBinomial,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gamma,
    Gaussian,
    GreyBernoulli,
    Laplace,
    Likelihood,
    LogisticMixture,
    LogNormal,
    Mixed,
    NegativeBinomial,
    OrderedLogit,
    Poisson,
    Spiked,
    StudentT,
    ZeroInflatedNegativeBinomial,
)
from vael.networks import MLP
from vael.objectives import ELBO
from vael.posteriors import GaussianPosterior
from vael.priors import GaussianPrior

LATENT, FEATURES = 3, 4


def net(width: int, features: int = FEATURES) -> MLP:
    return MLP(LATENT, [8], width * features)


def mixed() -> Mixed:
    parts = [
        ([0, 3], Gaussian(step=[0.0, 0.5], event_shape=2)),
        ([2], Categorical(levels=3, event_shape=1)),
        ([1], NegativeBinomial(event_shape=1)),
        ([4], Bernoulli(event_shape=1)),
    ]
    return Mixed(MLP(LATENT, [8], Mixed.outputs_for(parts)), parts=parts)


WHOLE = torch.arange(400.0, dtype=torch.float64)
REAL = torch.linspace(-60, 60, 24_001, dtype=torch.float64)  # steps of 0.005
LINE = torch.linspace(-18, 18, 6_001, dtype=torch.float64)  # of a variable whose function x is: no tail is left out
NATURALS = torch.arange(9_999, dtype=torch.float64)
QUARTERS = torch.arange(-4_000, 4_000, dtype=torch.float64) / 4
NODES, WEIGHTS = (torch.from_numpy(values) for values in np.polynomial.legendre.leggauss(60))
POSITIVE, UNIT = (2.5 * LINE - 25).exp(), torch.sigmoid(2 * LINE)  # from e⁻⁷⁰ to e²⁰
SPACING = float(LINE[1] - LINE[0])


def colour() -> LogisticMixture:
    return LogisticMixture(MLP(LATENT, [8], (30, 1, 1)), levels=6, components=3)


def spiked(slab: Likelihood, spike: float = 0.5) -> Spiked:
    return Spiked(net(1 + slab.width()), slab=slab, spike=spike)


# name: (constructor, every value a feature can take, the measure of each of them, the error of the sum over them)
MEMBERS = {
    "bernoulli": (lambda: Bernoulli(net(1)), WHOLE[:2], 1.0, 1e-9),
    "categorical": (lambda: Categorical(net(5), levels=5), WHOLE[:5], 1.0, 1e-9),
    "ordered_logit": (lambda: OrderedLogit(net(1), levels=5), WHOLE[:5], 1.0, 1e-9),
    "discretized_logistic": (lambda: DiscretizedLogistic(net(2), levels=17), WHOLE[:17], 1.0, 1e-9),
    "discretized_logistic_256": (lambda: DiscretizedLogistic(net(2)), WHOLE[:256], 1.0, 1e-9),
    "logistic_mixture": (lambda: LogisticMixture(net(15), levels=17), WHOLE[:17], 1.0, 1e-9),
    "beta_binomial": (lambda: BetaBinomial(net(2), levels=17), WHOLE[:17], 1.0, 1e-9),
    "poisson": (lambda: Poisson(net(1)), WHOLE, 1.0, 1e-9),
    "negative_binomial": (lambda: NegativeBinomial(net(1)), WHOLE, 1.0, 1e-9),
    "negative_binomial_per_example": (
        lambda: NegativeBinomial(net(2), dispersion="per_example"), WHOLE, 1.0, 1e-9),
    "zero_inflated_negative_binomial": (
        lambda: ZeroInflatedNegativeBinomial(net(3), dispersion="per_example"), WHOLE, 1.0, 1e-9),
    # The rectangle rule is exact to rounding for a smooth density that is many steps wide.
    "gaussian_fixed": (lambda: Gaussian(net(1), scale=0.7), REAL, 0.005, 1e-9),
    "gaussian_shared": (lambda: Gaussian(net(1), scale="shared"), REAL, 0.005, 1e-9),
    "gaussian_per_feature": (lambda: Gaussian(net(1)), REAL, 0.005, 1e-9),
    "gaussian_per_example": (lambda: Gaussian(net(2), scale="per_example"), REAL, 0.005, 1e-9),
    "gaussian_optimal": (lambda: Gaussian(net(1), scale="optimal"), REAL, 0.005, 1e-9),
    "gaussian_on_a_grid": (lambda: Gaussian(net(1), step=0.25), QUARTERS, 1.0, 1e-9),
    "student_t": (lambda: StudentT(net(2)), LINE.sinh(), LINE.cosh() * SPACING, 1e-9),
    "student_t_on_a_grid": (lambda: StudentT(net(2), step=0.25), QUARTERS, 1.0, 1e-7),
    "laplace": (lambda: Laplace(net(2)), REAL, 0.005, 2e-5),  # its corner: step²/12 · jump of the slope
    "laplace_on_a_grid": (lambda: Laplace(net(2), step=0.25), QUARTERS, 1.0, 1e-9),
    "log_normal": (lambda: LogNormal(net(2)), POSITIVE, 2.5 * POSITIVE * SPACING, 1e-9),
    "log_normal_on_a_grid": (lambda: LogNormal(net(2), step=1.0), NATURALS, 1.0, 1e-6),  # beyond 10⁴
    "gamma": (lambda: Gamma(net(2)), POSITIVE, 2.5 * POSITIVE * SPACING, 1e-9),
    "gamma_on_a_grid": (lambda: Gamma(net(2), step=0.25), QUARTERS[4_000:], 1.0, 1e-5),
    "continuous_bernoulli": (lambda: ContinuousBernoulli(net(1)), NODES / 2 + 0.5, WEIGHTS / 2, 1e-9),
    "continuous_bernoulli_on_a_grid": (lambda: ContinuousBernoulli(net(1), step=0.05), WHOLE[:21] / 20, 1.0, 1e-9),
    "beta": (lambda: Beta(net(2)), UNIT, 2 * UNIT * (1 - UNIT) * SPACING, 1e-4),  # 1 − x ends at 1e-16
    "beta_on_a_grid": (lambda: Beta(net(2), step=0.05), WHOLE[:21] / 20, 1.0, 1e-5),
    "spiked": (
        lambda: spiked(Gaussian(step=0.25, scale="per_example", event_shape=FEATURES)), QUARTERS, 1.0, 1e-9),
    "spiked_zero": (lambda: spiked(LogNormal(step=1.0, event_shape=FEATURES), 0.0), NATURALS, 1.0, 1e-6),
    "spiked_off_the_grid": (
        lambda: spiked(LogNormal(event_shape=FEATURES), 0.0),
        torch.cat([WHOLE[:1], POSITIVE]), torch.cat([WHOLE[1:2], 2.5 * POSITIVE * SPACING]), 1e-9),
    "colour_mixture": (colour, None, None, None),
    "mixed": (mixed, None, None, None),
}  # fmt: skip
SCORES = {"grey_bernoulli": (lambda: GreyBernoulli(net(1)), None, None, None)}  # no density: the last laws only

# Marginals whose values lie on the grid once a draw is rounded to it, as `decode` does.
ON_GRID = {name: 0.05 if "bernoulli" in name or "beta" in name else 0.25 for name in MEMBERS if "_on_a_grid" in name}
ON_GRID |= {"spiked": 0.25, "spiked_zero": 1.0, "log_normal_on_a_grid": 1.0}


def made(name: str) -> Likelihood:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        member = {**MEMBERS, **SCORES}[name][0]().double()
    return member.eval()


def latents(draws: int, examples: int, seed: int = 0) -> Tensor:
    return torch.randn(draws, examples, LATENT, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def drawn(member: Likelihood, z: Tensor, seed: int = 0) -> Tensor:
    with torch.no_grad():
        return member.draw(member(z), torch.Generator().manual_seed(seed))


every = pytest.mark.parametrize("name", MEMBERS)
every_and_scores = pytest.mark.parametrize("name", {**MEMBERS, **SCORES})


def test_every_public_likelihood_is_under_these_laws():
    members = {type(made(name)) for name in {**MEMBERS, **SCORES}}
    words = {Likelihood, likelihoods.Continuous, likelihoods.Part}  # of the room, and no members of it
    assert {getattr(likelihoods, name) for name in likelihoods.__all__} - words <= members


with_values = pytest.mark.parametrize("name", [name for name, member in MEMBERS.items() if member[1] is not None])


def log_measure(name: str) -> Tensor:
    return torch.as_tensor(MEMBERS[name][2], dtype=torch.float64).log()


def log_masses(name: str, z: Tensor) -> Tensor:
    """log of p(value | z) · measure for every value a feature can take: `(values, B, F)` for z `(1, B, D)`."""
    member, values = made(name), MEMBERS[name][1]
    found = []
    for example in z[0]:
        x = values[:, None].expand(-1, FEATURES)
        found.append(member.log_prob_parts(x, example.expand(1, len(x), -1))[0].detach())
    return torch.stack(found, 1) + log_measure(name).reshape(-1, 1, 1)


def on_its_grid(name: str, x: Tensor) -> Tensor:
    step = ON_GRID.get(name)
    return x if step is None else torch.round(x / step) / (1 / step)


@with_values
def test_probabilities_of_all_values_sum_to_one(name):
    total = log_masses(name, latents(1, 3)).logsumexp(0)
    assert_close(total, torch.zeros(3, FEATURES).double(), atol=MEMBERS[name][3], rtol=0)


def test_all_colours_of_a_pixel_sum_to_one():
    member, colours = made("colour_mixture"), torch.cartesian_prod(*[WHOLE[:6]] * 3)
    x = colours.reshape(-1, 3, 1, 1)
    log_p = member.log_prob_parts(x, latents(1, 1).expand(1, len(x), -1))[0].sum(-1)
    assert float(log_p.detach().logsumexp(0)) == pytest.approx(0.0, abs=1e-9)


@every_and_scores
def test_parts_add_up_to_the_joint_log_probability(name):
    member, z = made(name), latents(2, 6)
    x = drawn(member, z[0])
    parts = member.log_prob_parts(x, z)
    assert parts.shape == (2, 6, member.dims)
    each = torch.stack([member.log_prob_parts(x[b : b + 1], z[:, b : b + 1]) for b in range(6)], dim=1).squeeze(2)
    assert_close(parts, each, atol=1e-12, rtol=0)


@every_and_scores
def test_draws_and_examples_broadcast(name):
    member, z = made(name), latents(3, 5)
    x = drawn(member, z[1])
    parts = member.log_prob_parts(x, z)
    for k in range(3):
        assert_close(parts[k], member.log_prob_parts(x, z[k : k + 1])[0], atol=1e-12, rtol=0)


@with_values
def test_the_mean_of_draws_is_the_mean_over_all_values(name):
    """Σ x p(x) by the register's own sum against 60 000 draws: log_prob and draw are of one law."""
    member, z = made(name), latents(1, 1, seed=1)
    x = on_its_grid(name, drawn(member, z.expand(1, 60_000, -1))[0])
    expected = (log_masses(name, z).exp() * MEMBERS[name][1].reshape(-1, 1, 1)).sum(0)[0]
    error = x.std(0) / math.sqrt(len(x))
    assert ((x.mean(0) - expected).abs() < 4 * error + 1e-9).all()
    assert float((error / (1 + x.std(0))).max()) < 0.01  # the check is sharp: a hundredth of the spread


@with_values
def test_the_spread_of_draws_is_the_spread_over_all_values(name):
    """The mean distance to the mean, which heavy tails leave finite, by the register's sum against 60 000 draws."""
    z = latents(1, 1, seed=1)
    x = on_its_grid(name, drawn(made(name), z.expand(1, 60_000, -1))[0])
    p, values = log_masses(name, z)[:, 0].exp(), MEMBERS[name][1].reshape(-1, 1)
    mean = (p * values).sum(0)
    expected, distance = (p * (values - mean).abs()).sum(0), (x - mean).abs()
    assert ((distance.mean(0) - expected).abs() < 4 * distance.std(0) / math.sqrt(len(x)) + 1e-9).all()


MEANS = sorted(set(MEMBERS) - set(ON_GRID) - {"categorical", "ordered_logit", "mixed", "colour_mixture"})


@pytest.mark.parametrize("name", MEANS)
def test_the_mean_of_a_law_is_the_mean_over_all_values(name):
    z = latents(1, 2, seed=1)
    expected = (log_masses(name, z).exp() * MEMBERS[name][1].reshape(-1, 1, 1)).sum(0)
    assert_close(made(name)(z).mean[0].detach(), expected, atol=1e-4, rtol=1e-4)  # a sum up to e¹⁸, or a corner


MASSES = ["discretized_logistic", "logistic_mixture", "poisson", "zero_inflated_negative_binomial", "beta_binomial"]


@pytest.mark.parametrize("name", [*MASSES, "ordered_logit", "categorical", "spiked_zero"])
def test_shares_of_draws_meet_the_probabilities(name):
    member, z, n = made(name), latents(1, 1, seed=2), 40_000
    x = on_its_grid(name, drawn(member, z.expand(1, n, -1))[0])
    for value, log_p in zip(MEMBERS[name][1][:4], log_masses(name, z)[:4, 0], strict=True):
        p = log_p.exp()
        assert (((x == value).double().mean(0) - p).abs() < 4 * torch.sqrt(p * (1 - p) / n) + 1e-9).all()


@with_values
def test_ranks_of_draws_are_uniform(name):
    """Calibration of p(x|z) on a synthetic world: z ~ p(z), x ~ p(x|z), and u = P(X < x) + v P(X = x) is uniform.

    P comes from sums of exp(log_prob), so a draw that disagrees with the density, or a scale of the wrong size, shows
    in a Kolmogorov–Smirnov test over 800 pairs.
    """
    from scipy import stats

    z = latents(1, 200, seed=3)
    x = on_its_grid(name, drawn(made(name), z, seed=4)[0]).contiguous()
    density = torch.is_tensor(MEMBERS[name][2]) or MEMBERS[name][2] != 1.0
    some = slice(None, None, 5) if density and len(MEMBERS[name][1]) > 10_000 else slice(None)
    values, p = MEMBERS[name][1][some].contiguous(), log_masses(name, z)[some].exp()
    p = p / p.sum(0)
    v = torch.rand(x.shape, generator=torch.Generator().manual_seed(5)).double()
    if density:  # a value stands for the cell between the middles to either side
        middles = torch.cat([values[:1], (values[1:] + values[:-1]) / 2, values[-1:]])
        place = torch.searchsorted(middles[1:-1], x)
        share = torch.where(x == values[0], v, (x - middles[place]) / (middles[place + 1] - middles[place]))
    else:
        place, share = torch.searchsorted(values, x), v
    assert (density | (values[place] == x)).all()
    ranks = (p.cumsum(0) - p).gather(0, place[None])[0] + share * p.gather(0, place[None])[0]
    assert stats.kstest(ranks.flatten().numpy(), "uniform").pvalue > 1e-3


@every_and_scores
def test_the_gradient_reaches_every_parameter(name):
    member, z = made(name), latents(2, 8)
    x = drawn(member, z[0])
    member.log_prob_parts(x, z).sum().backward()
    for label, parameter in member.named_parameters():
        assert parameter.grad is not None, label
        assert torch.isfinite(parameter.grad).all(), label
        assert parameter.grad.abs().sum() > 0, label


@every_and_scores
def test_a_member_survives_save_and_load(name, tmp_path):
    member, z = made(name), latents(2, 3)
    x = drawn(member, z[0])
    save_tensors(tmp_path / "member.safetensors", member.state_dict())
    other = {**MEMBERS, **SCORES}[name][0]().double().eval()
    other.load_state_dict(load_tensors(tmp_path / "member.safetensors")[0])
    assert torch.equal(member.log_prob_parts(x, z), other.log_prob_parts(x, z))


@every_and_scores
def test_the_same_seed_draws_the_same_x(name):
    member, z = made(name), latents(1, 20)
    assert torch.equal(drawn(member, z, seed=5), drawn(member, z, seed=5))
    if name not in SCORES:
        assert not torch.equal(drawn(member, z, seed=5), drawn(member, z, seed=6))


@every_and_scores
def test_the_marginal_start_is_no_worse_than_zero_outputs(name):
    member = made(name)
    x = drawn(member, latents(1, 500))[0]
    if name.startswith(("discretized", "logistic_m", "colour")):
        # Matched by moments, which open ends spoil: a law well inside the range.
        x = torch.round(8 + 1.5 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).double())
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) > 0.2
    start = member.marginal(x, observed)
    if start is None:
        pytest.skip("starts at zero")
    width = start.numel()

    def score(parameters: Tensor) -> float:
        head = member.network.head
        with torch.no_grad():
            head.weight.zero_()
            head.bias.copy_(parameters.flatten())
        return float(member.log_prob_parts(x, latents(1, 500)).detach().sum())

    assert score(start) >= score(torch.zeros(width).double()) - 1e-6


# ── against independent references ───────────────────────────────────────────────────────────────────────────


def test_scores_equal_scipys():
    from scipy import stats

    z, x = latents(1, 1), torch.tensor([[0.0, 1.0, 3.0, 7.0]]).double()
    poisson, negative = made("poisson"), made("negative_binomial_per_example")
    rate = poisson(z).rate[0, 0].detach().numpy()
    assert_close(
        poisson.log_prob_parts(x, z)[0, 0].detach(),
        torch.from_numpy(stats.poisson.logpmf(x[0], rate)),
        atol=1e-9,
        rtol=0,
    )
    log_mean, log_r = negative.parameters_of(z)[0, 0].detach().numpy()
    mean, r = np.exp(log_mean), np.exp(log_r)
    expected = stats.nbinom.logpmf(x[0].numpy(), r, r / (r + mean))
    assert_close(negative.log_prob_parts(x, z)[0, 0].detach(), torch.from_numpy(expected), atol=1e-9, rtol=0)
    normal = made("gaussian_per_example")
    loc, raw = normal.parameters_of(z)[0, 0].detach().numpy()
    expected = stats.norm.logpdf(x[0].numpy(), loc, 1e-3 + np.exp(raw))
    assert_close(normal.log_prob_parts(x, z)[0, 0].detach(), torch.from_numpy(expected), atol=1e-9, rtol=0)
    logistic = made("discretized_logistic")
    centre, log_scale = logistic.parameters_of(z)[0, 0].detach().numpy()
    upper, lower = (stats.logistic.cdf(x[0].numpy() + d, 8 + 8 * centre, 8 * np.exp(log_scale)) for d in (0.5, -0.5))
    mass = np.where(x[0].numpy() <= 0, upper, upper - lower)
    assert_close(logistic.log_prob_parts(x, z)[0, 0].detach(), torch.from_numpy(np.log(mass)), atol=1e-9, rtol=0)


def test_bernoulli_over_all_patterns_is_the_golden_model():
    """Logits a z + b of section-by-quadrature: log p(1, 0, 1, 1) = −2.656391683 and all 16 patterns sum to one."""
    member = Bernoulli(MLP(1, [], 4)).double()
    with torch.no_grad():
        member.network.head.weight.copy_(torch.tensor([[2], [-1], [0.5], [3]]))
        member.network.head.bias.copy_(torch.tensor([0, 1, -1, 0.5]))
    z = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    log_prior = -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
    total = 0.0
    for pattern in itertools.product([0.0, 1.0], repeat=4):
        x = torch.tensor([pattern], dtype=torch.float64)
        joint = member.log_prob_parts(x, z[:, None, None]).detach().sum(-1)[:, 0] + log_prior
        p = float(torch.trapezoid(joint.exp(), z))
        total += p
        if pattern == (1.0, 0.0, 1.0, 1.0):
            assert math.log(p) == pytest.approx(-2.656391683, abs=1e-8)
    assert total == pytest.approx(1.0, abs=1e-9)


def test_optimal_scale_scores_minus_half_d_of_log_two_pi_e_mse():
    member = made("gaussian_optimal").train()
    z = latents(1, 64)
    x = torch.randn(64, FEATURES, generator=torch.Generator().manual_seed(3)).double()
    error = float((x - member.network(z)).detach().square().mean())
    mean = float(member.log_prob_parts(x, z).detach().sum(-1).mean())
    assert mean == pytest.approx(-FEATURES / 2 * (math.log(2 * math.pi * error) + 1), abs=1e-9)


def test_the_optimal_scale_learned_in_training_is_the_one_evaluated_with():
    member = made("gaussian_optimal").train()
    z = latents(1, 64)
    x = torch.randn(64, FEATURES, generator=torch.Generator().manual_seed(3)).double()
    for _ in range(20):
        trained = member.log_prob_parts(x, z)
    assert_close(member.eval().log_prob_parts(x, z), trained, atol=1e-9, rtol=0)
    # one row more or less does not move the others: p(x|z) is no function of its neighbours
    assert_close(member.log_prob_parts(x[:5], z[:, :5]), trained[:, :5], atol=1e-9, rtol=0)


def test_poisson_is_the_limit_of_the_negative_binomial():
    x, log_mean = WHOLE[:20, None], torch.full((1, 20, 1), 1.3).double()
    member = NegativeBinomial(event_shape=1).double()
    with torch.no_grad():
        member.log_inverse.fill_(10.0)
    found = member.distribution(log_mean.unsqueeze(-2)).log_prob(x)
    expected = Poisson(event_shape=1).distribution(log_mean.unsqueeze(-2)).log_prob(x)
    assert_close(found, expected, atol=5e-3, rtol=0)  # variance m + m²/e¹⁰


def test_the_grey_score_does_not_integrate_to_one():
    """∫ m^x (1 − m)^(1 − x) dx over [0, 1] is (1 − 2m) / (2 artanh(1 − 2m)): 0.364 for m = 0.1."""
    member = GreyBernoulli(event_shape=1)
    x = torch.linspace(0, 1, 100_001, dtype=torch.float64)[:, None]
    law = member.distribution(torch.logit(torch.tensor(0.1, dtype=torch.float64)).reshape(1, 1, 1))
    assert float(torch.trapezoid(law.log_prob(x).exp().flatten(), x.flatten())) == pytest.approx(
        0.8 / (2 * math.atanh(0.8)), abs=1e-6
    )
    assert not member.has_density()


def test_on_a_grid_no_narrow_scale_can_buy_more_than_certainty():
    x = torch.zeros(1, 1).double()
    bought = []
    for raw in (0.0, -5.0, -50.0):
        member = Gaussian(scale="per_example", step=1.0, event_shape=1)
        law = member.distribution(torch.tensor([[[0.0], [raw]]], dtype=torch.float64))
        bought.append(float(law.log_prob(x).detach()))
    assert bought == sorted(bought)
    assert bought[-1] <= 0
    assert bought[-1] == pytest.approx(math.log(0.6826894921), abs=1e-6)  # the floor: half a step is one deviation


def test_wrong_shapes_and_settings_are_refused_in_words():
    from vael import RecipeError, ShapeError

    with pytest.raises(ShapeError, match=r"x has shape \(128, 784\), expected \(batch, 1, 28, 28\)"):
        Bernoulli(MLP(20, [4], (1, 28, 28))).check(torch.zeros(128, 784))
    with pytest.raises(ShapeError, match="takes 2 parameters per feature, got a network with outputs 7"):
        DiscretizedLogistic(MLP(3, [], 7))
    with pytest.raises(RecipeError, match="scale must be a number, shared"):
        Gaussian(net(1), scale="sharde")
    with pytest.raises(RecipeError, match="levels must be at least 2, got 1"):
        Categorical(net(1), levels=1)
    with pytest.raises(RecipeError, match="columns must be 0 … F − 1"):
        Mixed(net(1), parts=[([0, 2], Gaussian(event_shape=2))])


# ── the type that is trained in, masks, and columns out of order ─────────────────────────────────────────────

COUNTS = torch.tensor([0.0, 1.0, 17.0, 1e3, 1e5, 1e6, 1.6e7])


@pytest.mark.parametrize("make", [Poisson, lambda **kw: NegativeBinomial(dispersion="per_example", **kw)])
def test_counts_are_scored_to_float32s_own_precision_over_all_they_can_be(make):
    """Differences of log Γ in float32 lose 0.8 nats at 10⁶; the score itself is known to seven digits."""
    member, x = make(event_shape=len(COUNTS)), COUNTS[None]
    parameters = torch.stack([torch.log(COUNTS + 1.5), torch.full_like(COUNTS, 1.0)])[: member.width()][None]
    single = member.distribution(parameters).log_prob(x)
    double = member.double().distribution(parameters.double()).log_prob(x.double())
    assert_close(single.double(), double, atol=1e-4, rtol=1e-5)
    assert single.dtype == torch.float32


@every_and_scores
def test_every_member_scores_alike_in_single_and_double_precision(name):
    member, z = made(name), latents(2, 6)
    x = drawn(member, z[0]).float().double()
    double = member.log_prob_parts(x, z)
    single = member.float().log_prob_parts(x.float(), z.float())
    assert_close(single.double(), double, atol=2e-3, rtol=1e-4)


def test_mixed_columns_keep_their_places():
    """Parts, draws and centres of a Mixed are its members' own, column by column, whatever order the parts name."""
    member, z = made("mixed"), latents(2, 5)
    x = drawn(member, z[0])
    parts, law = member.log_prob_parts(x, z), member(z)
    outputs = member.network(z)
    place = 0
    for columns, likelihood in member.parts:
        width = likelihood.width() * len(columns)
        own = likelihood.distribution(likelihood.unpacked(outputs[..., place : place + width]))
        place += width
        assert_close(parts[..., columns], own.log_prob(x[:, columns]), atol=1e-12, rtol=0)
        assert_close(member.centre(law)[..., columns], likelihood.centre(own), atol=1e-12, rtol=0)
    assert set(x[:, 2].tolist()) <= {0.0, 1.0, 2.0}  # the category's column holds codes
    assert set(x[:, 4].tolist()) <= {0.0, 1.0}
    assert (x[:, 1] == x[:, 1].round()).all()


def test_a_start_looks_at_what_is_observed_alone():
    x = torch.tensor([[0.0, 3.0], [4.0, 3.0], [99.0, 3.0]], dtype=torch.float64)
    observed = torch.tensor([[True, True], [True, True], [False, True]])
    assert_close(
        Poisson(event_shape=2).marginal(x, observed), torch.log(torch.tensor([[2.0, 3.0]], dtype=torch.float64))
    )
    codes = torch.tensor([[0.0], [0.0], [1.0]], dtype=torch.float64)
    shares = (
        Categorical(levels=2, event_shape=1).marginal(codes, torch.tensor([[True], [True], [False]])).exp().double()
    )
    assert_close(shares, torch.tensor([[2.5 / 3], [0.5 / 3]], dtype=torch.float64))


def test_the_optimal_scale_does_not_look_at_what_is_hidden():
    member = made("gaussian_optimal").train()
    z = latents(1, 400)
    x = (member.network(z)[0] + 2.0 * torch.randn(400, FEATURES, generator=torch.Generator().manual_seed(0))).detach()
    observed = torch.rand(400, FEATURES, generator=torch.Generator().manual_seed(1)) > 0.5
    hidden = torch.where(observed, x, torch.zeros_like(x))
    member.log_prob_parts(hidden, z, None, observed)
    expected = (x - member.network(z)[0]).square()[observed].mean()
    assert float(member.mean_square) == pytest.approx(float(expected.detach()), rel=1e-9)


def test_an_optimal_scale_inside_a_mixed_is_refused():
    from vael import RecipeError

    with pytest.raises(RecipeError, match="scale='optimal' is solved for over all of x"):
        Mixed(net(1), parts=[([0], Gaussian(scale="optimal", event_shape=1))])


@pytest.mark.parametrize(
    "name", ["log_normal", "gamma", "beta", "student_t", "spiked_off_the_grid", "log_normal_on_a_grid"]
)
def test_a_hole_costs_no_gradient(name):
    """A hole is 0 in x, where a density may be infinite; leaving its part out must leave its gradient out, too."""
    member, z = made(name), latents(2, 6)
    x = drawn(member, z[0])
    observed = torch.rand(6, FEATURES, generator=torch.Generator().manual_seed(0)) > 0.5
    hidden = torch.where(observed, x, torch.zeros_like(x))
    parts = member.log_prob_parts(hidden, z, None, observed)
    torch.where(observed, parts, torch.zeros_like(parts)).sum().backward()
    for label, parameter in member.named_parameters():
        assert torch.isfinite(parameter.grad).all(), label
    whole = member.log_prob_parts(x, z)
    assert_close(parts[:, observed], whole[:, observed], atol=1e-12, rtol=0)


def test_a_colour_pixel_has_the_probability_of_the_formula_written_out():
    """Σ_m w_m Π_c [F((x + ½ − m)/s) − F((x − ½ − m)/s)], each centre moved by the channels before, with scipy's F."""
    from scipy import special, stats

    member, z, half, (r, g, b) = made("colour_mixture"), latents(1, 1), 2.5, (1.0, 4.0, 2.0)
    numbers = 3 * member.network(z).detach().numpy().reshape(30)  # far enough from 0 for every coefficient to tell
    weights, (loc, log_scale, k) = special.softmax(numbers[:3]), numbers[3:].reshape(3, 3, 3)
    k, p = np.tanh(k), 0.0
    for m in range(3):
        moved = [0.0, k[m, 0] * (r - half), k[m, 1] * (r - half) + k[m, 2] * (g - half)]
        mass = weights[m]
        for c, x in enumerate((r, g, b)):  # none of them at an open end
            law = stats.logistic(half + half * loc[m, c] + moved[c], half * np.exp(log_scale[m, c]))
            mass *= law.cdf(x + 0.5) - law.cdf(x - 0.5)
        p += mass
    law = member.distribution(torch.from_numpy(numbers).reshape(1, 1, 30, 1, 1))
    found = law.log_prob(torch.tensor([r, g, b]).double().reshape(1, 3, 1, 1)).sum()
    assert float(found) == pytest.approx(math.log(p), abs=1e-9)


@pytest.mark.parametrize("law", [Gaussian, StudentT, Laplace, LogNormal, Gamma, ContinuousBernoulli, Beta])
def test_a_column_on_a_grid_does_not_disturb_one_beside_it(law):
    """Of a cell's mass and a density only one is asked for; the other's gradient must be finite all the same."""
    options = {"scale": "per_example"} if law is Gaussian else {}
    member = law(step=[0.05, 0.0], event_shape=2, **options)
    ends = torch.tensor([-12.0, 0.0, 12.0])
    parameters = torch.cartesian_prod(*[ends] * member.width()).reshape(-1, member.width(), 1).expand(-1, -1, 2)
    parameters = parameters.clone().requires_grad_(True)
    log_p = member.distribution(parameters).log_prob(torch.tensor([0.05, 0.05]))
    (gradient,) = torch.autograd.grad(log_p.sum(), parameters)
    assert torch.isfinite(log_p).all()
    assert torch.isfinite(gradient).all()


def test_a_level_that_no_row_has_costs_no_gradient():
    """Its two cuts come nearer and nearer; in float32 their difference is 0 long before the gap between them is."""
    member = OrderedLogit(levels=4, event_shape=1)
    with torch.no_grad():
        member.first.fill_(1.0)
        member.log_gaps[0] = torch.tensor([-20.0, 0.5])
    l = torch.tensor([[[0.3]]], requires_grad=True)  # noqa: E741 — the page's letter
    law = member.distribution(l)
    law.log_prob(torch.zeros(1, 1)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in (l, *member.parameters()))
    slope = math.exp(-0.7) / (1 + math.exp(-0.7)) ** 2  # of σ at the cut
    assert float(law.logits[..., 1].detach()) == pytest.approx(math.log(slope) - 20.0, abs=1e-5)


# ── a step recorded and replayed ─────────────────────────────────────────────────────────────────────────────


@every_and_scores
@pytest.mark.parametrize("holes", [False, True])
def test_a_recorded_step_is_the_step_bit_for_bit(name, holes):
    member = made(name).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        encoder = GaussianPosterior(MLP(member.event_shape, [6], 2 * LATENT))
        encoder.network.layers[0].weight.data.mul_(0.01)  # x goes up to thousands
    x = on_its_grid(name, drawn(made(name), latents(1, 20))[0]).float()
    if name == "grey_bernoulli":
        x = x.clamp(0, 1)
    split = split_of(x)
    if holes:
        observed = torch.rand(20, member.dims, generator=torch.Generator().manual_seed(2)) > 0.3
        split = split_of(torch.where(observed.reshape(x.shape), x, 0.0), observed)
    assert_recorded(VAE(GaussianPrior(LATENT), member, encoder), ELBO(), split)


def test_the_score_of_pixels_is_its_formula_and_its_slopes_are_theirs():
    """Σ_f x l − log(1 + e^l), its first and second derivatives by torch's own graph in float64, logits up to ±800."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 5, dtype=torch.float64, generator=generator) * 4
    logits[0, 0], logits[1, 1, :2] = torch.tensor([-800.0, 800.0, -40.0, 40.0, 0.0]), torch.tensor([90.0, -90.0])
    x = torch.rand(4, 5, dtype=torch.float64, generator=generator)
    x[0] = torch.tensor([0.0, 1.0, 0.0, 1.0, 1.0])
    member = Bernoulli(torch.nn.Identity(), event_shape=5)

    def wanted(l, x):  # noqa: E741 — the page's letter
        return -torch.nn.functional.binary_cross_entropy_with_logits(l, x.expand(l.shape), reduction="none").sum(-1)

    ways = []
    for score in (lambda l, x: member.log_prob(x, l), wanted):  # noqa: E741
        l, seen = logits.clone().requires_grad_(), x.clone().requires_grad_()  # noqa: E741
        value = score(l, seen)
        first = torch.autograd.grad(value.square().sum(), (l, seen), create_graph=True)
        second = torch.autograd.grad(first[0].sin().sum(), l)
        ways.append([value, *first, *second])
    for one, other in zip(*ways, strict=True):
        assert_close(one, other, atol=1e-10, rtol=1e-10)
    assert_close(member.float().log_prob(x.float(), logits.float()), wanted(logits, x).float(), atol=1e-5, rtol=1e-6)
