"""Signal and noise of gradient estimators where both are known.

World: log p(x, z) = c + log N(z; m, s²) with c = −2, m = 0.3, s = 0.8, and q = N(μ, τ²). One draw's gradient is a
polynomial in its noise, so Gauss–Hermite nodes in place of draws give its mean and variance to rounding; with K draws
the signal-to-noise ratios are measured against golden ones.
"""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from worlds import Linear

from vael import ELBO, IWAE, Terms
from vael.distributions import DiagonalGaussian, StandardGaussian
from vael.models import Latent
from vael.objectives import MIWAE, PIWAE, STL, DReG, Score

F64 = torch.float64
C, M, S = -2.0, 0.3, 0.8
AT_POSTERIOR, AWAY = (0.3, 0.8), (0.0, 1.0)
NODES, WEIGHTS = (torch.from_numpy(array) for array in np.polynomial.hermite_e.hermegauss(40))
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def gradients(objective: object, eps: Tensor, mu: float, tau: float) -> Tensor:
    """∂L/∂μ and ∂L/∂τ of each of B independent examples `(B, 2)`, from noise `(K, B)`, for q = N(mu, tau²)."""
    loc = torch.full((eps.shape[1], 1), mu, dtype=F64, requires_grad=True)
    log_scale = torch.full((eps.shape[1], 1), math.log(tau), dtype=F64, requires_grad=True)
    q, p = DiagonalGaussian(loc, log_scale), StandardGaussian(1)
    z = q.from_noise(eps.unsqueeze(-1))
    if not getattr(objective, "reparameterised", True):
        z = z.detach()
    target = DiagonalGaussian(torch.full((1,), M, dtype=F64), torch.full((1,), math.log(S), dtype=F64))
    log_px_z = C + target.log_prob(z) - p.log_prob(z)
    log_measure = torch.tensor(-math.log(len(eps)), dtype=F64)
    value = objective(Terms((Latent(q, p, z, log_measure),), log_px_z, log_measure))
    by_loc, by_log_scale = torch.autograd.grad(value.sum(), (loc, log_scale))
    return torch.cat([by_loc, by_log_scale / tau], -1)


def moments(objective: object, mu: float, tau: float) -> tuple[Tensor, Tensor]:
    """Mean and variance of one draw's gradients by μ and τ, by quadrature."""
    found = gradients(objective, NODES.unsqueeze(0), mu, tau)
    mean = WEIGHTS @ found
    return mean, WEIGHTS @ (found - mean).square()


def expected_gain(mu: float, tau: float) -> float:
    """E log w = c − KL(N(μ, τ²) ‖ N(m, s²))."""
    return C - (math.log(S / tau) + (tau**2 + (mu - M) ** 2) / (2 * S**2) - 0.5)


# ── one draw ─────────────────────────────────────────────────────────────────────────────────────────────────

# without a registered KL the rate is the draws' own, and ELBO's gradient is −(z − m)/s² with the entropy in closed form
ONE_DRAW = {
    "score": lambda at: Score(1, "none"),
    "score with baseline": lambda at: Score(1, baseline=expected_gain(*at)),
    "reparameterised": lambda at: ELBO(),
    "sticking the landing": lambda at: STL(),
    "doubly reparameterised": lambda at: DReG(1),
}
GOLDEN = {
    AT_POSTERIOR: {
        "score": (6.25, 12.5),
        "score with baseline": (0.0, 0.0),
        "reparameterised": (1.5625, 3.125),
        "sticking the landing": (0.0, 0.0),
        "doubly reparameterised": (0.0, 0.0),
    },
    AWAY: {
        "score": (8.1551, 25.265),
        "score with baseline": (1.2305, 6.6270),
        "reparameterised": (2.4414, 5.1025),
        "sticking the landing": (0.3164, 0.85),
        "doubly reparameterised": (0.3164, 0.85),
    },
}
DIGITS = {0.85: 5e-3, 25.265: 5e-4}  # half a unit of the last golden digit, where it is not the fourth


@pytest.mark.parametrize("name", ONE_DRAW)
@pytest.mark.parametrize("at", [AT_POSTERIOR, AWAY])
def test_every_estimator_has_the_true_gradient_as_its_mean(name, at):
    mean, _ = moments(ONE_DRAW[name](at), *at)
    mu, tau = at
    assert_close(mean, torch.tensor([(M - mu) / S**2, 1 / tau - tau / S**2], dtype=F64), atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", ONE_DRAW)
@pytest.mark.parametrize("at", [AT_POSTERIOR, AWAY])
def test_the_variance_of_one_draws_gradient_is_golden(name, at):
    _, variance = moments(ONE_DRAW[name](at), *at)
    for found, golden in zip(variance.tolist(), GOLDEN[at][name], strict=True):
        assert found == pytest.approx(golden, abs=DIGITS.get(golden, 5.1e-5 if golden else 1e-12))


def test_without_a_baseline_the_score_at_the_posterior_has_the_variance_of_a_constant():
    """There log w = c for every z, and c (z − μ)/τ² has variance c²/τ²."""
    assert float(moments(Score(1, "none"), *AT_POSTERIOR)[1][0]) == pytest.approx(C**2 / S**2, rel=1e-9)


@pytest.mark.parametrize(("mu", "tau"), [(0.0, 1.0), (-0.5, 0.4), (0.3, 1.7)])
def test_variances_by_the_mean_are_closed_forms_at_any_posterior(mu, tau):
    assert float(moments(ELBO(), mu, tau)[1][0]) == pytest.approx(tau**2 / S**4, rel=1e-9)
    assert float(moments(STL(), mu, tau)[1][0]) == pytest.approx(tau**2 * (tau**-2 - S**-2) ** 2, rel=1e-9)


# ── K draws ──────────────────────────────────────────────────────────────────────────────────────────────────

# K: (mean, signal-to-noise of IWAE, of DReG) of ∂L_K/∂μ at q = N(0, 1)
SIGNALS = {
    1: (0.46875, 0.300, 0.833),
    4: (0.0729, 0.1145, 1.126),
    16: (0.01632, 0.0550, 2.304),
    64: (0.003980, 0.0271, 4.625),
    256: (0.000989, 0.0128, 9.254),
}
EXAMPLES = {1: 400_000, 4: 400_000, 16: 200_000, 64: 100_000, 256: 60_000}
AT_ONCE = 2_000_000


def by_loc(objective: object, draws: int) -> Tensor:
    """∂L_K/∂μ of independent examples, in pieces that fit in memory."""
    generator, examples = torch.Generator().manual_seed(draws), EXAMPLES[draws]
    size = min(examples, AT_ONCE // draws)
    pieces = []
    for _ in range(examples // size):
        eps = torch.randn(draws, size, dtype=F64, generator=generator)
        pieces.append(gradients(objective, eps, *AWAY)[:, 0])
    return torch.cat(pieces)


@pytest.fixture(scope="module")
def measured() -> dict[int, dict[str, tuple[float, float, float, float]]]:
    """K → estimator → mean, its standard error, signal-to-noise ratio, its standard error."""
    table: dict[int, dict[str, tuple[float, float, float, float]]] = {}
    for draws in SIGNALS:
        table[draws] = {}
        for name, objective in (("iwae", IWAE(draws)), ("dreg", DReG(draws))):
            found = by_loc(objective, draws)
            mean, deviation = float(found.mean()), float(found.std())
            ratio = mean / deviation
            # delta method: the ratio's influence is (g − mean)/sd − ratio ((g − mean)²/var − 1)/2
            scaled = (found - mean) / deviation
            influence = scaled - ratio * (scaled.square() - 1) / 2
            root = math.sqrt(len(found))
            table[draws][name] = (mean, deviation / root, ratio, float(influence.std()) / root)
    return table


@pytest.mark.parametrize("draws", SIGNALS)
def test_both_gradients_have_the_golden_mean(measured, draws):
    golden = SIGNALS[draws][0]
    for name, bound in (("iwae", 0.012), ("dreg", 0.0015)):
        mean, error, *_ = measured[draws][name]
        assert abs(mean - golden) < 3 * error + 0.005 * golden  # the golden means of K > 1 have errors of their own
        assert error < bound


@pytest.mark.parametrize("draws", SIGNALS)
def test_signal_to_noise_is_golden(measured, draws):
    _, standard, doubly = SIGNALS[draws]
    *_, ratio, error = measured[draws]["iwae"]
    assert abs(ratio - standard) < 3 * error + 5e-4
    assert error < 0.0045
    *_, ratio, error = measured[draws]["dreg"]
    assert abs(ratio - doubly) < 3 * error + 0.01 * doubly
    assert error < 0.015 * doubly


def slope(draws: list[int], ratios: list[float]) -> float:
    """The slope of log ratio over log K."""
    return float(np.polyfit(np.log(draws), np.log(ratios), 1)[0])


def test_signal_to_noise_falls_like_the_root_of_draws_and_grows_like_it_when_doubly_reparameterised(measured):
    """The signal of the standard estimator is taken from the other one, whose mean is the same and known better."""
    draws = [4, 16, 64, 256]
    doubly = [measured[k]["dreg"][2] for k in draws]
    standard = [measured[k]["dreg"][0] / (measured[k]["iwae"][1] * math.sqrt(EXAMPLES[k])) for k in draws]
    assert slope(draws, doubly) == pytest.approx(0.5, abs=0.02)
    assert slope(draws, standard) == pytest.approx(-0.5, abs=0.05)


@pytest.mark.parametrize("objective", [MIWAE(64, means=16), PIWAE(64, means=16)], ids=["miwae", "piwae"])
def test_averaging_bounds_of_few_draws_brings_the_encoders_signal_back(objective):
    """16 means of 4 draws: the golden mean of K = 4, and √16 times its signal-to-noise ratio; 20 000 examples."""
    eps = torch.randn(64, 20_000, dtype=F64, generator=torch.Generator().manual_seed(1))
    found = gradients(objective, eps, *AWAY)[:, 0]
    golden, of_four, _ = SIGNALS[4]
    deviation = float(found.std())
    root = math.sqrt(len(found))
    assert deviation / root < 0.002
    assert abs(float(found.mean()) - golden) < 4 * deviation / root
    assert float(found.mean()) / deviation == pytest.approx(4 * of_four, abs=4 / root)  # a ratio's error, near 1/√n
    assert float(found.mean()) / deviation > 10 * SIGNALS[64][1]  # of IWAE with as many draws


# ── twenty latents ───────────────────────────────────────────────────────────────────────────────────────────


class Bed:
    """z ~ N(μ, I₂₀), x|z ~ N(z, I₂₀), q = N(A x + b, ⅔ I): optimal for A = ½ I, b = μ/2, here a little off it."""

    def __init__(self, draws: int, repeats: int, examples: int = 8) -> None:
        generator = torch.Generator().manual_seed(20)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, dtype=F64, generator=generator)

        self.mu = normal(20).requires_grad_()
        matrix, shift = 0.5 * torch.eye(20, dtype=F64) + 0.03 * normal(20, 20), self.mu.detach() / 2 + 0.1 * normal(20)
        self.x = self.mu.detach() + 2**0.5 * normal(examples, 20)
        # A copy of A and b for every repeat: their gradients are independent samples of one mean.
        self.matrix = matrix.expand(repeats, 20, 20).clone().requires_grad_()
        self.shift = shift.expand(repeats, 20).clone().requires_grad_()
        loc = torch.einsum("rij,bj->rbi", self.matrix, self.x) + self.shift.unsqueeze(1)
        self.loc = loc.flatten(0, 1)  # (R · B, D)
        q = DiagonalGaussian(self.loc, torch.full_like(self.loc, 0.5 * math.log(2 / 3)))
        p = DiagonalGaussian(self.mu, torch.zeros(20, dtype=F64))
        z = q.from_noise(normal(draws, repeats * examples, 20))
        log_px_z = DiagonalGaussian(z, torch.zeros_like(z)).log_prob(self.x.repeat(repeats, 1))
        log_measure = torch.tensor(-math.log(draws), dtype=F64)
        self.terms = Terms((Latent(q, p, z, log_measure),), log_px_z, log_measure)
        self.examples = examples

    def gradient(self, objective: object) -> tuple[Tensor, Tensor, Tensor]:
        """By A `(R, 400)`, by b `(R, 20)`, and by μ `(20,)`, of the mean over examples."""
        value = objective(self.terms).sum() / self.examples
        by_matrix, by_shift, by_mu = torch.autograd.grad(value, (self.matrix, self.shift, self.mu), retain_graph=True)
        return by_matrix.flatten(1), by_shift, by_mu


def test_sticking_the_landing_is_unbiased_in_twenty_dimensions():
    """∂ELBO/∂b = mean over x of (x − z̄) − (z̄ − μ), z̄ = A x + b; ∂ELBO/∂A the same times xᵀ."""
    bed = Bed(draws=1, repeats=2_000)
    z = bed.loc.detach()[: bed.examples]
    pull = (bed.x - z) - (z - bed.mu.detach())
    truth = torch.einsum("bi,bj->ij", pull, bed.x).flatten() / bed.examples, pull.mean(0)
    for found, true in zip(bed.gradient(STL()), truth, strict=False):
        error = found.std(0) / math.sqrt(len(found))
        off = (found.mean(0) - true) / error
        assert (off.square().mean() - 1).abs() < 4 * math.sqrt(2 / len(off))  # χ² over its degrees of freedom
        assert error.max() < 0.02


@pytest.mark.parametrize("draws", [2, 8])
def test_doubly_reparameterised_and_standard_gradients_agree_in_twenty_dimensions(draws):
    """For A and b in the mean, by the same draws; for the prior's mean, which has one estimator, to rounding."""
    bed = Bed(draws, repeats=1_000)
    doubly, standard = bed.gradient(DReG(draws)), bed.gradient(IWAE(draws))
    assert_close(doubly[2], standard[2], atol=1e-9, rtol=1e-9)
    for one, other in zip(doubly[:2], standard[:2], strict=True):
        error = (one - other).std(0) / math.sqrt(len(one))
        off = (one - other).mean(0) / error
        assert (off.square().mean() - 1).abs() < 4 * math.sqrt(2 / len(off))
        assert error.max() < 0.04 * max(1.0, float(bed.x.abs().max()))
        assert one.var(0).mean() < 0.7 * other.var(0).mean()


def test_at_the_optimum_the_encoders_mean_gradient_is_zero():
    """A = ½ I, b = μ/2 are the posterior's own mean: by symmetry no gradient is left by b, whatever the scale."""
    bed = Bed(draws=4, repeats=500)
    with torch.no_grad():
        bed.matrix.copy_(0.5 * torch.eye(20, dtype=F64).expand_as(bed.matrix))
        bed.shift.copy_((bed.mu / 2).expand_as(bed.shift))
    loc = torch.einsum("rij,bj->rbi", bed.matrix, bed.x) + bed.shift.unsqueeze(1)
    q = DiagonalGaussian(loc.flatten(0, 1), torch.full_like(loc.flatten(0, 1), 0.5 * math.log(2 / 3)))
    eps = torch.randn(4, len(q.loc), 20, dtype=F64, generator=torch.Generator().manual_seed(1))
    z = q.from_noise(eps)
    log_measure = bed.terms.log_measure
    log_px_z = DiagonalGaussian(z, torch.zeros_like(z)).log_prob(bed.x.repeat(500, 1))
    bed.terms = Terms((Latent(q, bed.terms.latents[0].p, z, log_measure),), log_px_z, log_measure)
    _, found, _ = bed.gradient(DReG(4))
    off = found.mean(0) / (found.std(0) / math.sqrt(500))
    assert off.abs().max() < 4
    assert found.std(0).max() / math.sqrt(500) < 0.01


# ── correlated posteriors ────────────────────────────────────────────────────────────────────────────────────

LOADINGS = torch.tensor([[1.0, -0.3], [0.2, 0.8], [-0.6, 0.7], [0.4, -0.9]], dtype=F64)
WORLD = Linear(LOADINGS, torch.ones(4, dtype=F64), 0.5)


@pytest.mark.parametrize("objective", [STL(5), DReG(5)], ids=lambda objective: type(objective).__name__)
@pytest.mark.parametrize("member", ["full", "low_rank"])
def test_at_the_posterior_of_a_linear_model_the_encoder_rests_and_the_decoder_learns(objective, member):
    """p(z|x) has correlations: every parameter of the law has to be held still, whatever it is made of."""
    model = WORLD.model_with_full_posterior() if member == "full" else WORLD.model_with_low_rank_posterior()
    x = WORLD.sample(6)
    terms = model.terms(x, model.noise(5, 6, seed=0))
    assert_close(terms.log_w.detach(), WORLD.log_px(x).expand(5, 6), atol=1e-9, rtol=0)
    objective(terms).sum().backward()
    for parameter in model.posterior.parameters():
        assert_close(parameter.grad, torch.zeros_like(parameter), atol=1e-9, rtol=0)
    assert model.likelihood.network.head.weight.grad.norm() > 0.1
    model.zero_grad()
    ELBO(5)(model.terms(x, model.noise(5, 6, seed=0))).sum().backward()
    assert model.posterior.network.head.weight.grad.norm() > 0.1  # noise, which the closed form leaves
