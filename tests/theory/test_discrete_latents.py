"""Latents of zeros and ones in models small enough that every state can be summed over."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from vael import ELBO, IWAE, VAE, Noise
from vael.distributions import Bits, OneHot
from vael.likelihoods import Bernoulli, Gaussian
from vael.networks import MLP
from vael.objectives import STL, VIMCO, Score
from vael.posteriors import BernoulliPosterior, CategoricalPosterior
from vael.priors import BernoulliPrior, CategoricalPrior

F64 = torch.float64
ROUNDING = {"atol": 1e-9, "rtol": 1e-9}

# ── a mixture of three Gaussians ─────────────────────────────────────────────────────────────────────────────

SHARES, LOCS, SCALES = torch.tensor([[0.5, 0.3, 0.2], [-2.0, 0.0, 3.0], [0.5, 1.0, 0.7]], dtype=F64)
X = torch.tensor([[-1.0], [0.5], [2.0]], dtype=F64)
LOG_PX = torch.tensor([-2.066863433804, -2.246065123059, -2.859761969555], dtype=F64)


def mixture() -> VAE:
    """Σ_c π_c N(x; μ_c, σ_c²) with an encoder that holds every class for equally likely."""
    likelihood = Gaussian(MLP(3, [], 2), scale="per_example")
    posterior = CategoricalPosterior(MLP(1, [], 3), classes=3, enumerates=True)
    model = VAE(CategoricalPrior(3, learned=True), likelihood, posterior).double()
    with torch.no_grad():
        model.prior.logits.copy_(SHARES.log())
        likelihood.network.head.weight.copy_(torch.stack([LOCS, torch.log(SCALES - likelihood.floor)]))
        likelihood.network.head.bias.zero_()
        posterior.network.head.weight.zero_()
        posterior.network.head.bias.zero_()
    return model


def test_all_states_of_a_mixture_give_its_golden_evidence_and_responsibilities():
    model = mixture()
    law = model.likelihood(torch.eye(3, dtype=F64))
    assert_close(law.scale.flatten(), SCALES, **ROUNDING)
    terms = model.terms(X, model.noise(1, 3, seed=0))
    assert_close(IWAE()(terms).detach(), LOG_PX, atol=1e-11, rtol=0)
    responsible = (terms.log_w + terms.log_measure).softmax(0).T.detach()  # (B, classes)
    assert_close(responsible[0], torch.tensor([0.426529, 0.573471, 7.3e-8], dtype=F64), atol=5e-7, rtol=0)
    assert float(responsible[0, 2]) == pytest.approx(7.3e-8, rel=0.01)
    assert_close(responsible[2, 1:], torch.tensor([0.282762, 0.717238], dtype=F64), atol=5e-7, rtol=0)
    assert float(responsible[2, 0]) == pytest.approx(8.8e-14, rel=0.01)


def test_the_bound_of_a_posterior_that_does_not_look_is_the_golden_one():
    model = mixture()
    assert float(ELBO()(model.terms(X, model.noise(1, 3, seed=0)))[0].detach()) == pytest.approx(-6.914748, abs=5e-7)


def test_the_bound_is_tight_at_the_responsibilities_and_its_gradient_zero():
    model = mixture()
    x = X[1:2]
    with torch.no_grad():
        terms = model.terms(x, model.noise(1, 1, seed=0))
        model.posterior.network.head.bias.copy_((terms.log_w + terms.log_measure).softmax(0)[:, 0].log())
    bound = ELBO()(model.terms(x, model.noise(1, 1, seed=0))).sum()
    assert_close(bound.detach(), LOG_PX[1], atol=1e-11, rtol=0)
    (slope,) = torch.autograd.grad(bound, model.posterior.network.head.bias)
    assert_close(slope, torch.zeros_like(slope), **ROUNDING)


@pytest.mark.parametrize("objective", [ELBO(), STL()])
def test_the_gradient_by_the_logits_is_each_gain_over_the_mean_times_its_probability(objective):
    """∂L/∂a_j = q_j (f_j − Σ_c q_c f_c), f_c = log π_c + log N_c − log q_c, from the mixture's numbers alone."""
    model, logits = mixture(), torch.tensor([0.7, -0.2, 0.1], dtype=F64)
    with torch.no_grad():
        model.posterior.network.head.bias.copy_(logits)
    value = objective(model.terms(X[:1], model.noise(1, 1, seed=0))).sum()
    (slope,) = torch.autograd.grad(value, model.posterior.network.head.bias)
    q = logits.softmax(0)
    f = SHARES.log() + torch.distributions.Normal(LOCS, SCALES).log_prob(X[0]) - q.log()
    assert_close(slope, q * (f - (q * f).sum()), **ROUNDING)


def test_em_by_gradient_of_the_evidence_is_blind_to_the_encoder():
    model = mixture()
    IWAE()(model.terms(X, model.noise(1, 3, seed=0))).sum().backward()
    assert model.posterior.network.head.bias.grad.abs().max() < 1e-12
    assert model.prior.logits.grad.abs().min() > 1e-3


# ── estimators through whole models ──────────────────────────────────────────────────────────────────────────

PIXELS = (torch.rand(3, 6, generator=torch.Generator().manual_seed(0)) > 0.5).double()


def pair(**drawing: object) -> VAE:
    """Two choices of three under an MLP, by a seed; `drawing` says how the posterior draws."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        decoder, encoder = MLP(6, [8], 6, activation="tanh"), MLP(6, [8], 6, activation="tanh")
        posterior = CategoricalPosterior(encoder, classes=3, groups=2, **drawing)
        return VAE(CategoricalPrior(3, groups=2, learned=True), Bernoulli(decoder), posterior).double()


def gradient(model: VAE, objective: object, noise: Noise) -> Tensor:
    """The gradient of the mean bound by the decoder's, prior's and encoder's parameters, side by side."""
    terms = model.terms(PIXELS, noise, reparameterised=getattr(objective, "reparameterised", True))
    return torch.cat([g.flatten() for g in torch.autograd.grad(objective(terms).mean(), list(model.parameters()))])


@pytest.mark.parametrize("objective", [Score(4), Score(4, "none"), Score(4, -4.0)], ids=str)
def test_the_score_function_agrees_with_the_sum_over_states_in_every_parameter(objective):
    """The largest of 210 deviations, many of them the same one, of the mean of 400 gradients of 4 draws each."""
    truth = gradient(pair(enumerates=True), ELBO(), pair().noise(1, 3, seed=0))
    model = pair()
    found = torch.stack([gradient(model, objective, model.noise(4, 3, seed=1, step=step)) for step in range(400)])
    error = found.std(0) / 20
    alive = truth.abs() > 1e-12
    off = ((found.mean(0) - truth) / error)[alive]
    assert off.abs().max() < 4
    assert error.max() < 0.1


def weighted_exactly(model: VAE) -> Tensor:
    """The gradient of E log ½ (w₁ + w₂) over all 81 pairs of states, by autodiff of the double sum."""
    terms = model.terms(PIXELS, model.noise(1, 3, seed=0))
    log_w, log_q = terms.log_w, terms.log_measure
    pairs = torch.logaddexp(log_w.unsqueeze(0), log_w.unsqueeze(1)) - math.log(2)
    bound = ((log_q.unsqueeze(0) + log_q.unsqueeze(1)).exp() * pairs).sum((0, 1))
    return torch.cat([g.flatten() for g in torch.autograd.grad(bound.mean(), list(model.parameters()))])


def test_vimco_agrees_with_the_sum_over_pairs_of_states_in_every_parameter():
    truth, model = weighted_exactly(pair(enumerates=True)), pair()
    found = torch.stack([gradient(model, VIMCO(2), model.noise(2, 3, seed=1, step=step)) for step in range(600)])
    error = found.std(0) / math.sqrt(600)
    off = ((found.mean(0) - truth) / error)[truth.abs() > 1e-12]
    assert off.abs().max() < 4
    assert error.max() < 0.1


# ── relaxed draws ────────────────────────────────────────────────────────────────────────────────────────────

EPS = torch.linspace(-9, 9, 400_001, dtype=F64)
WEIGHT = torch.exp(-0.5 * EPS.square()) / math.sqrt(2 * math.pi) * (EPS[1] - EPS[0])


def relaxed_slope(temperature: float) -> float:
    """d/dl E (y − 0.45)² of a relaxed bit of logit l = 0.4, over its noise by quadrature."""
    logit = torch.full((1,), 0.4, dtype=F64, requires_grad=True)
    y = Bits(logit, temperature=temperature).from_noise(EPS[:, None])[:, 0]
    (slope,) = torch.autograd.grad((WEIGHT * (y - 0.45).square()).sum(), logit)
    return float(slope)


def test_the_bias_of_relaxed_gradients_goes_to_zero_with_the_temperature():
    """The exact one is σ(l) σ(−l) (0.55² − 0.45²): Tucker et al.'s toy (arXiv 1703.07370, section 5)."""
    share = 1 / (1 + math.exp(-0.4))
    exact = share * (1 - share) * (0.55**2 - 0.45**2)
    bias = {t: abs(relaxed_slope(t) - exact) / exact for t in (0.4, 0.1, 0.05, 0.025)}
    assert bias[0.4] > 0.1
    for warm, cold in ((0.1, 0.05), (0.05, 0.025)):
        assert bias[cold] / bias[warm] == pytest.approx(0.5, rel=0.06)  # like τ: y² − y counts where y is in between


def test_relaxed_choices_have_a_gradient_that_nears_the_sum_over_states():
    """Through an MLP, whose bound is not linear in z; with 6000 draws the error of the mean is 0.4 % of its length."""
    truth = gradient(pair(enumerates=True), ELBO(), pair().noise(1, 3, seed=0))
    off = {}
    for temperature in (2.0, 0.5, 0.1):
        model = pair(temperature=temperature)
        found = torch.stack([gradient(model, ELBO(), model.noise(200, 3, seed=2, step=step)) for step in range(30)])
        off[temperature] = (found.mean(0) - truth).norm() / truth.norm()
    assert off[2.0] > 2 * off[0.5] > 4 * off[0.1]
    assert off[2.0] > 0.06
    assert off[0.1] < 0.015


def test_bits_and_choices_of_two_are_the_same_model():
    """σ(l) is softmax of (0, l): the same bound by all states, state for state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        decoder, encoder = MLP(2, [5], 6), MLP(6, [], 2)
        bits = VAE(BernoulliPrior(2, 0.3), Bernoulli(decoder), BernoulliPosterior(encoder, enumerates=True)).double()
        other = MLP(4, [5], 6)
        choices = CategoricalPosterior(MLP(6, [], 4), classes=2, groups=2, enumerates=True)
        pairs = VAE(CategoricalPrior(2, groups=2, learned=True), Bernoulli(other), choices).double()
    with torch.no_grad():
        pairs.prior.logits.copy_(torch.tensor([0.7, 0.3]).double().log().expand(2, 2))
        mine, yours = encoder.head, choices.network.head
        for ours, theirs in ((yours.weight, mine.weight), (yours.bias, mine.bias)):
            ours.zero_()
            ours[1::2] = theirs
        first = other.layers[0]
        first.weight.zero_()
        first.weight[:, 1::2] = decoder.layers[0].weight
        first.bias.copy_(decoder.layers[0].bias)
        other.head.weight.copy_(decoder.head.weight)
        other.head.bias.copy_(decoder.head.bias)
    noise = bits.noise(1, 3, seed=0)
    terms = bits.terms(PIXELS, noise)
    again = pairs.terms(PIXELS, pairs.noise(1, 3, seed=0))
    assert_close(terms.elbo, again.elbo, atol=1e-7, rtol=1e-7)  # the prior's logits are held in float32 until .double()
    assert_close(IWAE()(terms), IWAE()(again), atol=1e-7, rtol=1e-7)
    assert isinstance(terms.latents[0].q, Bits)
    assert isinstance(again.latents[0].q, OneHot)
