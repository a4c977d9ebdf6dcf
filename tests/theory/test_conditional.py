"""The conditional linear-Gaussian model: z|x ~ N(Ax, S), y|x, z ~ N(Bz + Cx, σ² I), every density in closed form.

y|x ~ N((BA + C)x, B S Bᵀ + σ² I),    z|x, y ~ N(Ax + K(y − (BA + C)x), S − K B S),    K = S Bᵀ (B S Bᵀ + σ² I)⁻¹
"""

import math

import pytest
import torch
from scipy.stats import multivariate_normal
from torch.testing import assert_close
from worlds import cubature_for

from vael import ELBO, VAE, Batch
from vael.likelihoods import Gaussian
from vael.networks import MLP
from vael.posteriors import GaussianPosterior
from vael.priors import ConditionalPrior, GaussianPrior

F64 = torch.float64
ROUNDING = {"atol": 1e-9, "rtol": 0}


def f64(numbers: object) -> torch.Tensor:
    return torch.tensor(numbers, dtype=F64)


def affine(network: MLP, weight: torch.Tensor, bias: torch.Tensor, given: torch.Tensor | None = None) -> None:
    with torch.no_grad():
        network.head.weight.copy_(weight), network.head.bias.copy_(bias)
        if given is not None:
            network.beside.linear.weight.copy_(given)


def scalar_model(*, loc_y: float, loc_x: float, spread: float, learned_prior: bool = True) -> VAE:
    """A = .7, S = .5, B = 1.2, C = −.3, σ² = .2, with q(z|x, y) = N(loc_y y + loc_x x, spread).

    With a prior fixed at N(0, 1) in place of N(Ax, S), z = Ax + √S u is written out in the decoder.
    """
    A, S, B, C, noise = 0.7, 0.5, 1.2, -0.3, 0.2
    encoder = MLP(1, [], 2, given=1)
    prior = ConditionalPrior(MLP(1, [], 2)) if learned_prior else GaussianPrior(1)
    vae = VAE(prior, Gaussian(MLP(2, [], 1), scale=math.sqrt(noise)), GaussianPosterior(encoder)).double()
    one = torch.ones(1, 1, dtype=F64)
    bias = f64([0.0, 0.5 * math.log(spread)])
    affine(encoder, f64([[loc_y], [0.0]]), bias, f64([[loc_x], [0.0]]))
    if learned_prior:
        affine(prior.network, f64([[A], [0.0]]), f64([0.0, 0.5 * math.log(S)]))
        affine(vae.likelihood.network, f64([[B, C]]), 0 * one[0])
    else:
        affine(vae.likelihood.network, f64([[B * math.sqrt(S), B * A + C]]), 0 * one[0])
    return vae


X, Y = f64([[1.5]]), f64([[0.4]])
LOG_PY, MEAN, SPREAD = -0.968606424387, 0.7826086957, 0.1086956522  # golden


def test_under_the_exact_posterior_every_weight_is_the_golden_log_p():
    gain = 0.5 * 1.2 / (1.2**2 * 0.5 + 0.2)
    model = scalar_model(loc_y=gain, loc_x=0.7 - gain * (1.2 * 0.7 - 0.3), spread=0.5 - gain * 1.2 * 0.5)
    q = model.posterior(Y, X)
    assert_close(q.loc, f64([[MEAN]]), atol=1e-9, rtol=0)
    assert_close(q.variance, f64([[SPREAD]]), atol=1e-9, rtol=0)
    terms = model.terms(Batch(Y, given=X), model.noise(5, 1, seed=0))
    assert_close(terms.log_w, torch.full((5, 1), LOG_PY, dtype=F64), **ROUNDING)


def test_with_the_prior_as_posterior_the_bound_is_the_golden_one():
    model = scalar_model(loc_y=0.0, loc_x=0.7, spread=0.5)
    terms = model.terms(Batch(Y, given=X), cubature_for(1, 1))
    assert_close(ELBO()(terms), f64([-2.334469576988]), **ROUNDING)
    assert_close(terms.rate, torch.zeros(1, dtype=F64), **ROUNDING)


def test_a_fixed_prior_is_the_same_model_with_z_written_out():
    gain = 0.5 * 1.2 / (1.2**2 * 0.5 + 0.2)
    # u = (z − Ax)/√S: the posterior of u has its mean and spread divided by √S.
    root = math.sqrt(0.5)
    spread = (0.5 - gain * 1.2 * 0.5) / 0.5
    model = scalar_model(loc_y=gain / root, loc_x=-gain * (1.2 * 0.7 - 0.3) / root, spread=spread, learned_prior=False)
    terms = model.terms(Batch(Y, given=X), model.noise(5, 1, seed=0))
    assert_close(terms.log_w, torch.full((5, 1), LOG_PY, dtype=F64), **ROUNDING)


def test_in_more_dimensions_importance_sampling_finds_scipys_density():
    """Four standard errors of the log of a mean of 20,000 weights, and they are small."""
    generator = torch.Generator().manual_seed(3)
    draw = lambda *shape: torch.randn(*shape, dtype=F64, generator=generator)  # noqa: E731
    A, B, C, noise = draw(2, 3), draw(4, 2), draw(4, 3), 0.3
    spread = f64([0.5, 1.7])
    prior, encoder, decoder = MLP(3, [], 4), MLP(4, [], 4, given=3), MLP(5, [], 4)
    model = VAE(ConditionalPrior(prior), Gaussian(decoder, scale=math.sqrt(noise)), GaussianPosterior(encoder)).double()
    affine(prior, torch.cat([A, 0 * A]), torch.cat([0 * spread, 0.5 * spread.log()]))
    affine(decoder, torch.cat([B, C], 1), torch.zeros(4, dtype=F64))
    S = torch.diag(spread)
    marginal = B @ S @ B.T + noise * torch.eye(4, dtype=F64)
    gain = S @ B.T @ torch.linalg.inv(marginal)
    scale = 0.5 * (S - gain @ B @ S).diagonal().log()
    affine(
        encoder, torch.cat([gain, 0 * gain]), torch.cat([0 * scale, scale + 0.2]),
        torch.cat([A - gain @ (B @ A + C), torch.zeros(2, 3, dtype=F64)]),
    )  # fmt: skip
    x, y = draw(3, 3), draw(3, 4)
    log_w = model.terms(Batch(y, given=x), model.noise(20_000, 3, seed=0)).log_w.detach()
    truth = [multivariate_normal((B @ A + C) @ one, marginal).logpdf(other) for one, other in zip(x, y, strict=True)]
    weight = (log_w - log_w.max(0).values).exp()
    error = 4 * weight.std(0) / weight.mean(0) / math.sqrt(20_000)
    assert error.max() < 0.1
    assert ((torch.logsumexp(log_w, 0) - math.log(20_000) - f64(truth)).abs() < error).all()


@pytest.mark.parametrize("hidden", [[], [6]])
def test_what_is_given_may_have_draws_where_x_has_none(hidden):
    network = MLP(4, hidden, 3, given=2, activation="tanh").double()
    x, given = torch.randn(5, 4, dtype=F64), torch.randn(7, 5, 2, dtype=F64)
    both = network(x, given)
    assert both.shape == (7, 5, 3)
    for k in range(7):
        assert_close(both[k], network(x, given[k]))
