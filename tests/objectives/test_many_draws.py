"""Bounds of many draws: power means, means of weighted bounds, and wake–sleep, on draws and by quadrature."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from worlds import Linear

from vael import ELBO, IWAE, RecipeError, Terms
from vael.distributions import DiagonalGaussian, StandardGaussian
from vael.models import Latent
from vael.objectives import CIWAE, MIWAE, PIWAE, Objective, Renyi, WakeWake

F64 = torch.float64
LOG_W = 2 * torch.randn(12, 5, dtype=F64, generator=torch.Generator().manual_seed(0))
WORLD = Linear.random(2, 5, seed=4)
X = WORLD.sample(6)
ONE = torch.zeros((), dtype=F64)  # log of a weight
ROUNDING = {"atol": 1e-9, "rtol": 1e-9}


def terms_of(log_w: Tensor) -> Terms:
    """Terms with log p(x|z) = log_w and q = p."""
    draws, batch = log_w.shape
    law, z = StandardGaussian(2), torch.zeros(draws, batch, 2, dtype=F64)
    measure = torch.tensor(-math.log(draws), dtype=F64)
    return Terms((Latent(law, law, z, measure),), log_w, measure)


def value(objective: Objective, log_w: Tensor = LOG_W) -> np.ndarray:
    return objective(terms_of(log_w)).detach().numpy()


# ── Rényi ────────────────────────────────────────────────────────────────────────────────────────────────────


def by_quadrature(alpha: float) -> float:
    """L_α − log p for q = N(0, 1) and p(z|x) = N(0.3, 0.8²): nodes and weights stand in for draws and their measure."""
    nodes, weights = (torch.from_numpy(array) for array in np.polynomial.hermite_e.hermegauss(120))
    q = DiagonalGaussian(torch.zeros(1, 1, dtype=F64), torch.zeros(1, 1, dtype=F64))
    target = DiagonalGaussian(torch.full((1,), 0.3, dtype=F64), torch.full((1,), math.log(0.8), dtype=F64))
    z = nodes.reshape(-1, 1, 1)
    measure = (weights / weights.sum()).log().unsqueeze(-1)
    p = StandardGaussian(1)
    terms = Terms((Latent(q, p, z, measure),), target.log_prob(z) - p.log_prob(z), measure)
    return float(Renyi(alpha=alpha)(terms))


@pytest.mark.parametrize(
    ("alpha", "golden"),
    [(0.5, 0.0521316370), (0.9, 0.1103921897), (2.0, 0.5116243067), (-1.0, -0.0677888360), (0.0, 0.0)],
)
def test_the_renyi_bound_is_log_p_less_the_golden_divergence(alpha, golden):
    """Half a unit of the last golden digit, and what 120 nodes leave of integrands that grow like exp(0.3 z²)."""
    assert by_quadrature(alpha) == pytest.approx(-golden, abs=1e-9)


def test_around_one_the_renyi_bound_is_smooth_and_at_one_the_elbo():
    kl = math.log(0.8) + (1 + 0.3**2) / (2 * 0.64) - 0.5
    assert by_quadrature(1.0) == pytest.approx(-kl, abs=1e-9)
    for near in (1e-12, 1e-6, -1e-6):
        assert by_quadrature(1 + near) == pytest.approx(-kl, abs=2 * abs(near) + 1e-9)
    inside, outside = by_quadrature(1 - 0.0099), by_quadrature(1 - 0.0101)  # one formula here, the other there
    assert inside < outside
    assert inside == pytest.approx(outside, abs=2e-4)


@pytest.mark.parametrize("alpha", [-2.0, 0.3, 0.995, 1.0, 3.0])
def test_the_renyi_bound_of_draws_is_the_log_of_their_power_mean(alpha):
    weights = np.exp(LOG_W.numpy())
    mean = np.log(weights).mean(0) if alpha == 1 else np.log((weights ** (1 - alpha)).mean(0)) / (1 - alpha)
    np.testing.assert_allclose(value(Renyi(alpha=alpha)), mean, atol=1e-10)


def test_the_renyi_bound_falls_with_alpha_from_iwae_at_zero_to_the_elbo_at_one():
    np.testing.assert_allclose(value(Renyi(alpha=0.0)), value(IWAE()), atol=1e-12)
    np.testing.assert_allclose(value(Renyi(alpha=1.0)), value(ELBO()), atol=1e-12)
    found = [value(Renyi(alpha=alpha)) for alpha in (-3.0, -1.0, 0.0, 0.5, 0.995, 1.0, 1.005, 2.0)]
    assert (np.diff(found, axis=0) < 0).all()
    assert [Renyi(alpha=alpha).is_bound for alpha in (-0.1, 0.0, 2.0)] == [False, True, True]


@pytest.mark.parametrize("alpha", [0.4, 0.995, 1.005, 2.0])
def test_the_renyi_bounds_gradient_is_that_of_differences(alpha):
    log_w = LOG_W.clone().requires_grad_()
    (slope,) = torch.autograd.grad(Renyi(alpha=alpha)(terms_of(log_w)).sum(), log_w)
    power = torch.softmax((1 - alpha) * LOG_W, 0)
    assert_close(slope, power, atol=1e-9, rtol=0)  # shares of w^{1−α}
    assert_close(slope.sum(0), torch.ones(5, dtype=F64))


def test_weights_that_overflow_have_a_renyi_bound():
    for alpha in (0.0, 0.9, 1.0, 1.5):
        found = value(Renyi(alpha=alpha), LOG_W * 1e3)
        assert np.isfinite(found).all()


# ── MIWAE, CIWAE ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("means", "inner"), [(1, 12), (2, 6), (4, 3), (12, 1)])
def test_miwae_is_the_mean_of_bounds_of_consecutive_draws(means, inner):
    """log of the mean over K within, mean over M outside: not the other way round."""
    weights = np.exp(LOG_W.numpy()).reshape(means, inner, 5)
    np.testing.assert_allclose(value(MIWAE(12, means)), np.log(weights.mean(1)).mean(0), atol=1e-12)


def test_miwae_goes_from_iwae_to_the_elbo_with_the_number_of_means():
    np.testing.assert_allclose(value(MIWAE(12, 1)), value(IWAE(12)), atol=1e-12)
    np.testing.assert_allclose(value(MIWAE(12, 12)), value(ELBO(12)), atol=1e-12)
    found = [value(MIWAE(12, means)) for means in (1, 2, 4, 12)]
    assert (np.diff(found, axis=0) < 0).all()


def test_ciwae_mixes_the_elbo_and_iwae():
    np.testing.assert_allclose(value(CIWAE(beta=0.0)), value(IWAE()), atol=1e-12)
    np.testing.assert_allclose(value(CIWAE(beta=1.0)), value(ELBO()), atol=1e-12)
    mixed = 0.3 * value(ELBO()) + 0.7 * value(IWAE())
    np.testing.assert_allclose(value(CIWAE(beta=0.3)), mixed, atol=1e-12)


# ── PIWAE and WakeWake: who gets which gradient ──────────────────────────────────────────────────────────────


def gradients(objective: Objective, draws: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """The value, and the gradients by all parameters of the decoder and of the encoder, on one noise."""
    model = WORLD.model(torch.tensor([0.5, -0.2], dtype=F64), torch.tensor([2.0, 0.7], dtype=F64))
    pathwise = getattr(objective, "reparameterised", True)
    found = objective(model.terms(X, model.noise(draws, 6, seed=1), reparameterised=pathwise))
    decoder, encoder = list(model.likelihood.parameters()), list(model.posterior.parameters())
    flat = torch.autograd.grad(found.sum(), [*decoder, *encoder])
    split = len(decoder)
    return (
        found.detach(),
        torch.cat([part.flatten() for part in flat[:split]]),
        torch.cat([part.flatten() for part in flat[split:]]),
    )


@pytest.mark.parametrize("means", [1, 2, 6])
def test_piwae_is_iwae_for_the_decoder_and_miwae_for_the_encoder(means):
    found, by_decoder, by_encoder = gradients(PIWAE(6, means))
    bound, iwae_decoder, iwae_encoder = gradients(IWAE(6))
    _, miwae_decoder, miwae_encoder = gradients(MIWAE(6, means))
    assert_close(found, bound, **ROUNDING)
    assert_close(by_decoder, iwae_decoder, **ROUNDING)
    assert_close(by_encoder, miwae_encoder, **ROUNDING)
    if means > 1:
        assert float((miwae_decoder - iwae_decoder).abs().max()) > 1e-3
        assert float((miwae_encoder - iwae_encoder).abs().max()) > 1e-3


def test_wake_wake_is_iwae_for_the_decoder_and_the_weighted_score_for_the_encoder():
    found, by_decoder, by_encoder = gradients(WakeWake(6))
    bound, iwae_decoder, _ = gradients(IWAE(6))
    assert_close(found, bound, **ROUNDING)
    assert_close(by_decoder, iwae_decoder, **ROUNDING)
    # Σ_k w̃_k log q(z_k|x), written out for a diagonal Gaussian, with shares and draws from numpy
    model = WORLD.model(torch.tensor([0.5, -0.2], dtype=F64), torch.tensor([2.0, 0.7], dtype=F64))
    terms = model.terms(X, model.noise(6, 6, seed=1))
    z = terms.latents[0].z.detach()
    weights = np.exp(terms.log_w.detach().numpy())
    share = torch.from_numpy(weights / weights.sum(0))
    loc, log_scale = model.posterior.network(X).chunk(2, -1)
    log_q = (-0.5 * ((z - loc) / log_scale.exp()).square() - log_scale).sum(-1)
    expected = torch.autograd.grad((share * log_q).sum(), list(model.posterior.parameters()))
    assert_close(by_encoder, torch.cat([part.flatten() for part in expected]), **ROUNDING)


def test_wake_wake_comes_to_the_moments_of_the_posterior_where_the_elbo_cannot():
    """At q = N(μ, τ²) with the moments of a two-moded p(z|x), E_p ∂ log q = 0, while the ELBO would narrow q."""
    nodes = torch.linspace(-12, 12, 4801, dtype=F64).reshape(-1, 1, 1)
    loc, log_scale = (torch.full((1, 1), v, dtype=F64, requires_grad=True) for v in (0.0, 0.5 * math.log(4.25)))
    q, p = DiagonalGaussian(loc, log_scale), StandardGaussian(1)
    log_modes = [torch.distributions.Normal(m, 0.5).log_prob(nodes).squeeze(-1) - math.log(2) for m in (-2.0, 2.0)]
    log_joint = torch.logaddexp(*log_modes)
    # q's own mass at each node in place of a draw's 1/K: log_measure is a scalar, so its shape goes into log p(x|z).
    # q(z) in log p(x|z) is the mass that a node has beyond a draw's even weight.
    known = q.log_prob(nodes).detach()
    terms = Terms(
        (Latent(q, p, nodes, ONE),),
        log_joint + known - p.log_prob(nodes),
        ONE,
    )
    by_loc, by_log_scale = torch.autograd.grad(WakeWake()(terms).sum(), (loc, log_scale))
    assert abs(float(by_loc)) < 1e-9
    assert abs(float(by_log_scale)) < 1e-9
    modes = [torch.distributions.Normal(m, 0.5) for m in (-2.0, 2.0)]
    eps = torch.from_numpy(np.polynomial.hermite_e.hermegauss(80)[0]).reshape(-1, 1, 1)
    weights = torch.from_numpy(np.polynomial.hermite_e.hermegauss(80)[1])
    z = q.from_noise(eps)
    log_p = torch.logaddexp(*(mode.log_prob(z) - math.log(2) for mode in modes)).squeeze()
    (slope,) = torch.autograd.grad((weights / weights.sum() * log_p).sum() + log_scale.sum(), log_scale)
    assert float(slope) < -0.5


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: MIWAE(12, 5), "MIWAE: means must be at least 1 and divide the 12 draws, got 5"),
        (lambda: PIWAE(12, 0), "PIWAE: means must be at least 1 and divide the 12 draws, got 0"),
        (lambda: replace(MIWAE(), draws=0), "MIWAE: draws must be at least 1, got 0"),
        (lambda: CIWAE(beta=1.5), "CIWAE: beta must be between 0 and 1, got 1.5"),
        (lambda: CIWAE(draws=0), "CIWAE: draws must be at least 1, got 0"),
        (lambda: Renyi(alpha=math.inf), "Renyi: alpha must be a finite number, got inf"),
        (lambda: Renyi(draws=0), "Renyi: draws must be at least 1, got 0"),
        (lambda: WakeWake(draws=1), "WakeWake: draws must be at least 2"),
        (lambda: value(MIWAE(8, 8)), "MIWAE: 12 draws cannot be dealt out to 8 groups"),
        (lambda: MIWAE().warmed(0.5), "MIWAE: has no rate to warm up"),
        (lambda: PIWAE().warmed(0.5), "PIWAE: has no rate to warm up"),
        (lambda: CIWAE().warmed(0.5), "CIWAE: has no rate to warm up"),
        (lambda: Renyi().warmed(0.5), "Renyi: has no rate to warm up"),
        (lambda: WakeWake().warmed(0.5), "WakeWake: has no rate to warm up"),
    ],
)
def test_what_cannot_be_is_refused(make, complaint):
    with pytest.raises(RecipeError, match=complaint):
        make()


def test_draws_that_carry_a_gradient_are_refused_by_wake_wake_and_two_levels_by_piwae():
    model = WORLD.model()
    with pytest.raises(RecipeError, match="WakeWake: its draws carry a gradient"):
        WakeWake(3)(model.terms(X, model.noise(3, 6, seed=0)))
    terms = terms_of(LOG_W)
    with pytest.raises(RecipeError, match="PIWAE: is for one level of latents, got 2"):
        PIWAE(12, 2)(replace(terms, latents=terms.latents * 2))
