"""Laws of zeros and ones: against scipy, torch and sums over every state; relaxed draws by quadrature."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor
from torch.testing import assert_close

from vael import RecipeError
from vael.distributions import Bits, DiagonalGaussian, OneHot, find_kl, find_unit_kl
from vael.distributions.bits import gumbel_noise, logistic_noise

F64 = torch.float64
ROUNDING = {"atol": 1e-9, "rtol": 1e-9}
LOGITS = torch.tensor([[0.3, -1.2, 2.0], [-0.4, 0.0, 0.9]], dtype=F64)  # (B, D), or (B, G, C) with one group
OTHER = torch.tensor([[-0.5, 0.7, 0.1], [1.5, -2.0, 0.2]], dtype=F64)
LAWS = {
    "bits": (Bits(LOGITS), Bits(OTHER)),
    "one choice": (OneHot(LOGITS.unsqueeze(-2)), OneHot(OTHER.unsqueeze(-2))),
    "two choices": (OneHot(torch.stack([LOGITS, OTHER], -2)), OneHot(torch.stack([OTHER, LOGITS + OTHER], -2))),
}
every = pytest.mark.parametrize("name", LAWS)

EPS = torch.linspace(-9, 9, 180_001, dtype=F64)
WEIGHT = torch.exp(-0.5 * EPS.square()) / math.sqrt(2 * math.pi) * (EPS[1] - EPS[0])


# ── noise ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("turn", "law"), [(logistic_noise, stats.logistic), (gumbel_noise, stats.gumbel_r)])
def test_normal_noise_is_turned_into_noise_of_the_same_rank_in_both_tails(turn, law):
    """The transform of eps has as much mass below it, and above it, as eps; in logs, as Φ(8) is 1 in float64."""
    eps = np.linspace(-8, 8, 161)
    turned = turn(torch.from_numpy(eps)).numpy()
    np.testing.assert_allclose(law.logcdf(turned), stats.norm.logcdf(eps), rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(law.logsf(turned), stats.norm.logsf(eps), rtol=1e-7)  # scipy's own digits for Gumbel


@pytest.mark.parametrize("turn", [logistic_noise, gumbel_noise])
def test_noise_is_finite_in_single_precision_as_far_out_as_normals_are_ever_drawn(turn):
    eps = torch.linspace(-7, 7, 1401)
    assert_close(turn(eps).double(), turn(eps.double()), rtol=1e-4, atol=1e-4)


# ── exact laws ───────────────────────────────────────────────────────────────────────────────────────────────


@every
def test_every_state_stands_once_and_their_probabilities_sum_to_one(name):
    q, _ = LAWS[name]
    states = q.every()
    count = {"bits": 8, "one choice": 3, "two choices": 9}[name]
    assert states.shape == (count, 1, *q.event_shape)
    assert len({tuple(row) for row in states[:, 0].tolist()}) == count
    assert_close(q.log_prob(states).exp().sum(0), torch.ones(2, dtype=F64), **ROUNDING)


@every
def test_mean_variance_and_entropy_are_sums_over_states(name):
    q, _ = LAWS[name]
    states = q.every()
    weight = q.log_prob(states).exp().unsqueeze(-1)
    mean = (weight * states).sum(0)
    assert_close(q.mean, mean, **ROUNDING)
    assert_close(q.variance, (weight * (states - mean).square()).sum(0), **ROUNDING)
    assert_close(q.entropy(), -(weight.squeeze(-1) * q.log_prob(states)).sum(0), **ROUNDING)


def test_log_probabilities_are_torchs():
    bits, choice = LAWS["bits"][0], LAWS["two choices"][0]
    z = bits.every().expand(-1, 2, -1)
    assert_close(bits.log_prob(z), torch.distributions.Bernoulli(logits=LOGITS).log_prob(z).sum(-1), **ROUNDING)
    z = choice.every().expand(-1, 2, -1)
    theirs = torch.distributions.OneHotCategorical(logits=choice.logits).log_prob(z.unflatten(-1, (2, 3))).sum(-1)
    assert_close(choice.log_prob(z), theirs, **ROUNDING)


def test_states_are_numbered_with_the_first_place_running_fastest():
    assert Bits(torch.zeros(3)).every()[:, 0].tolist() == [
        list(map(float, reversed(digits))) for digits in itertools.product((0, 1), repeat=3)
    ]
    assert OneHot(torch.zeros(2, 2)).every()[1, 0].tolist() == [0, 1, 1, 0]


@every
def test_kl_is_the_sum_over_states_and_no_negative_number(name):
    q, p = LAWS[name]
    states = q.every()
    log_q, log_p = q.log_prob(states), p.log_prob(states)
    truth = (log_q.exp() * (log_q - log_p)).sum(0)
    assert_close(find_kl(type(q), type(p))(q, p), truth, **ROUNDING)
    assert (truth > 0.1).all()  # two laws that differ
    assert ((log_p.exp() * (log_p - log_q)).sum(0) - truth).abs().min() > 1e-3  # and whose order matters
    units = find_unit_kl(type(q), type(p))(q, p)
    assert units.shape == (2, {"bits": 3, "one choice": 1, "two choices": 2}[name])
    assert_close(units.sum(-1), truth, **ROUNDING)
    assert_close(find_kl(type(q), type(q))(q, q), torch.zeros(2, dtype=F64), **ROUNDING)


def test_kl_is_finite_where_a_bit_is_all_but_certain():
    sure = Bits(torch.tensor([[200.0, -200.0]], dtype=F64))
    assert_close(
        find_kl(Bits, Bits)(sure, Bits(torch.zeros(1, 2, dtype=F64))), torch.full((1,), 2 * math.log(2)).to(F64)
    )


@every
def test_draws_come_as_often_as_their_probability_says(name):
    q, _ = LAWS[name]
    draws = 40_000
    eps = torch.randn(draws, 2, *q.event_shape, dtype=F64, generator=torch.Generator().manual_seed(0))
    z = q.from_noise(eps)
    assert set(z.unique().tolist()) == {0.0, 1.0}
    states, share = q.every(), q.log_prob(q.every()).exp()
    found = (z.unsqueeze(0) == states.unsqueeze(1)).all(-1).double().mean(1)  # (states, B)
    assert ((found - share).abs() < 4 * (share * (1 - share) / draws).sqrt()).all()
    assert (share * (1 - share) / draws).sqrt().max() < 3e-3


@every
def test_states_too_many_to_enumerate_are_refused(name):
    many = {"bits": Bits(torch.zeros(17)), "one choice": OneHot(torch.zeros(1, 2**16 + 1))}
    with pytest.raises(RecipeError, match="too many to enumerate"):
        many.get(name, OneHot(torch.zeros(6, 10))).every()


# ── relaxed draws ────────────────────────────────────────────────────────────────────────────────────────────


def relaxed(temperature: float, alpha: float = 2.0) -> Tensor:
    """The relaxed bit of odds `alpha` at every node of EPS."""
    return Bits(torch.tensor([math.log(alpha)], dtype=F64), temperature=temperature).from_noise(EPS[:, None])[:, 0]


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("alpha", [0.3, 1.0, 2.0])
def test_a_relaxed_bit_is_nearer_to_one_with_the_exact_probability_at_every_temperature(temperature, alpha):
    """The rectangle rule of a step is off by one node's weight at most, 4e-5."""
    share = WEIGHT[relaxed(temperature, alpha) > 0.5].sum()
    assert float(share) == pytest.approx(alpha / (1 + alpha), abs=4e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("alpha", [0.3, 2.0])
def test_relaxed_bits_have_the_papers_density(temperature, alpha):
    """Γ(k) τ^{k−1} (Σ π_i y_i^{−τ})^{−k} Π π_i y_i^{−τ−1} for k = 2, integrated up to a place and over the whole."""

    def density(y: float) -> float:
        t = temperature
        return t * (alpha * y**-t + (1 - y) ** -t) ** -2 * alpha * (y * (1 - y)) ** (-t - 1)

    y = relaxed(temperature, alpha)
    for place in (0.1, 0.5, 0.8):
        share, _ = integrate.quad(density, 0, place, limit=200)
        assert float(WEIGHT[y < place].sum()) == pytest.approx(share, abs=4e-5)  # the rectangle rule of a step
    whole, _ = integrate.quad(density, 0, 1, points=[0.5], limit=200)
    assert whole == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("temperature", "mean", "digits"), [(0.5, 0.644816, 5e-7), (0.1, 0.6655, 5e-5)])
def test_the_mean_of_a_relaxed_bit_is_the_golden_number(temperature, mean, digits):
    assert float((WEIGHT * relaxed(temperature)).sum()) == pytest.approx(mean, abs=1.1 * digits)


@pytest.mark.parametrize("alpha", [0.3, 2.0, 7.0])
def test_the_mean_of_a_bit_relaxed_at_temperature_one_is_an_elementary_integral(alpha):
    """With uniform u, y = αu / (1 − u + αu), whose integral is α (α − 1 − log α) / (α − 1)²: 0.6137 for α = 2."""
    truth = alpha * (alpha - 1 - math.log(alpha)) / (alpha - 1) ** 2
    assert float((WEIGHT * relaxed(1.0, alpha)).sum()) == pytest.approx(truth, abs=1e-9)


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_a_relaxed_choice_of_two_is_a_relaxed_bit(temperature):
    """A difference of two Gumbel numbers is logistic: E[y₁] of softmax((l + g)/τ) is that of a bit, logit l₁ − l₂."""
    line = EPS[::450]
    weight = torch.exp(-0.5 * line.square()) / math.sqrt(2 * math.pi) * (line[1] - line[0])
    q = OneHot(torch.tensor([[math.log(2), 0.0]], dtype=F64), temperature=temperature)
    y = q.from_noise(torch.cartesian_prod(line, line))
    assert_close(y.sum(-1), torch.ones(len(y), dtype=F64), **ROUNDING)
    mean = (weight[:, None] * weight * y[:, 0].reshape(len(line), -1)).sum()
    assert float(mean) == pytest.approx(float((WEIGHT * relaxed(temperature)).sum()), abs=1e-6)


@pytest.mark.parametrize("name", ["bits", "two choices"])
def test_straight_through_draws_are_exact_ones_with_the_gradient_of_relaxed_ones(name):
    logits = LAWS[name][0].logits.clone().requires_grad_()
    member = type(LAWS[name][0])
    eps = torch.randn(5, 2, *LAWS[name][0].event_shape, dtype=F64, generator=torch.Generator().manual_seed(3))
    weight = torch.randn(eps.shape, dtype=F64, generator=torch.Generator().manual_seed(4))
    slopes = []
    for straight in (False, True):
        z = member(logits, temperature=0.7, straight_through=straight).from_noise(eps)
        slopes.append(torch.autograd.grad((weight * z).sum(), logits)[0])
    assert_close(z.detach(), member(logits).from_noise(eps).detach(), **ROUNDING)
    assert_close(slopes[0], slopes[1], **ROUNDING)
    assert slopes[0].abs().min() > 1e-3


def test_a_colder_draw_is_nearer_to_the_exact_one():
    eps = torch.randn(200, 2, 3, dtype=F64, generator=torch.Generator().manual_seed(5))
    exact = Bits(LOGITS).from_noise(eps)
    off = [(Bits(LOGITS, temperature=t).from_noise(eps) - exact).abs().mean() for t in (2.0, 0.5, 0.1, 0.01)]
    assert off == sorted(off, reverse=True)
    assert off[-1] < 0.01


def test_bits_and_gaussians_have_no_kl():
    assert find_kl(Bits, DiagonalGaussian) is None
