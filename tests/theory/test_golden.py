"""Worlds of more than one room with known answers: the ring, an encoder without error, a learned prior, diffusion."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from scipy.interpolate import CubicSpline
from torch import Tensor, nn
from torch.testing import assert_close
from worlds import split_of

from vael import ELBO, IWAE, VAE, Batch, Terms
from vael.distributions import DiagonalGaussian, find_kl
from vael.evidence import Quadrature
from vael.likelihoods import Gaussian
from vael.models import Latent
from vael.networks import MLP
from vael.posteriors import EnumeratedPosterior, GaussianPosterior, Posterior
from vael.priors import CategoricalPrior, GaussianPrior, Prior
from vael.units import bits_per_dim

# ── the ring: z/10 + z/‖z‖ ───────────────────────────────────────────────────────────────────────────────────


class Ring(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z / 10 + z / torch.linalg.vector_norm(z, dim=-1, keepdim=True).clamp(min=1e-12)


def ring_density(r: np.ndarray) -> np.ndarray:
    """p(y) at radius r: 100 (r − 1) exp(−50 (r − 1)²) / (2π r)."""
    return np.where(r > 1, 100 * (r - 1) * np.exp(-50 * (r - 1) ** 2), 0.0) / (2 * np.pi * r)


def test_the_ring_has_its_golden_radius():
    """Mean 1.1253314137, sd .0655136378, P(r < 1.1) = .3934693403; 4 standard errors of 200 000 pushed draws."""
    z = GaussianPrior(2)().from_noise(torch.randn(200_000, 2, generator=torch.Generator().manual_seed(0)).double())
    r = torch.linalg.vector_norm(Ring()(z), dim=-1)
    error = 0.0655136378 / 200_000**0.5
    assert abs(float(r.mean()) - 1.1253314137) < 4 * error
    assert abs(float(r.std()) - 0.0655136378) < 4 * error  # the sd of an sd is nearly the error of the mean / √2
    assert abs(float((r < 1.1).double().mean()) - 0.3934693403) < 4 * 0.5 / 200_000**0.5
    line = np.linspace(1, 2.5, 2_000_001)
    assert np.trapezoid(line * ring_density(line) * 2 * np.pi * line, line) == pytest.approx(1.1253314137, abs=1e-9)


def test_quadrature_sees_the_ring_through_a_little_noise():
    """log p(x) under noise of 0.02 is the ring's density averaged over that noise, by a grid around x in numpy."""
    scale = 0.02
    model = VAE(GaussianPrior(2), Gaussian(Ring(), scale=scale, event_shape=2), GaussianPosterior(MLP(2, [], 4)))
    x = torch.tensor([[1.1, 0.0], [0.0, -1.2], [0.85, -0.85]], dtype=torch.float64)
    found = Quadrature(nodes=1501, around="prior", rule="trapezoid")(model.double(), split_of(x))
    off = np.linspace(-8, 8, 1201) * scale
    dx, dy = np.meshgrid(off, off, indexing="ij")
    kernel = np.exp(-0.5 * (dx**2 + dy**2) / scale**2) / (2 * np.pi * scale**2) * (off[1] - off[0]) ** 2
    for (a, b), value in zip(x.tolist(), found.value.tolist(), strict=True):
        truth = np.log((kernel * ring_density(np.hypot(a + dx, b + dy))).sum())
        assert value == pytest.approx(truth, abs=2e-3)  # the density has a kink at r = 1


# ── an encoder without error in one dimension (Doersch 2016, appendix A) ──────────────────────────────────────

WEIGHTS, CENTRES, WIDTHS = np.array([0.3, 0.7]), np.array([-1.0, 1.5]), np.array([0.5, 0.8])


def density(x: np.ndarray) -> np.ndarray:
    return (WEIGHTS * stats.norm.pdf(x[..., None], CENTRES, WIDTHS)).sum(-1)


def cumulative(x: np.ndarray) -> np.ndarray:
    return (WEIGHTS * stats.norm.cdf(x[..., None], CENTRES, WIDTHS)).sum(-1)


class Pushed(nn.Module):
    """f = F⁻¹ ∘ Φ: roots on a fine line, cubic between them."""

    def __init__(self) -> None:
        super().__init__()
        line = np.linspace(-8.2, 8.2, 4001)
        levels = stats.norm.cdf(line)
        roots = [optimize.brentq(lambda x, u=u: cumulative(np.array(x)) - u, -9, 12, xtol=1e-14) for u in levels]
        self.spline = CubicSpline(line, roots)

    def forward(self, z: Tensor) -> Tensor:
        return torch.from_numpy(self.spline(np.clip(z.detach().numpy(), -8.2, 8.2)))


class Pulled(Posterior):
    """N(g(x), (g′(x) σ)²), g = Φ⁻¹ ∘ F, g′ = p / φ(g)."""

    family = DiagonalGaussian

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.latent, self.scale = 1, scale

    def forward(self, x: Tensor, given: Tensor | None = None, observed: Tensor | None = None) -> DiagonalGaussian:
        g = stats.norm.ppf(cumulative(x.numpy()))
        slope = density(x.numpy()) / stats.norm.pdf(g)
        return DiagonalGaussian(torch.from_numpy(g), torch.from_numpy(np.log(slope * self.scale)))


GOLDEN = {  # σ: log p of the model and KL(q‖posterior) at x = −1, 0, 1.5
    0.5: ((-1.725433, -1.924882, -1.216243), (0.42229, 0.25018, 0.17563)),
    0.1: ((-1.437395, -2.346894, -1.060218), (0.01275, 0.00446, 0.00139)),
    0.02: ((-1.419538, -2.378305, -1.052780), (3.7e-4, 1.3e-5, 4.7e-5)),
}


def test_the_error_of_one_latent_goes_with_the_noise():
    decoder = Pushed()
    x = torch.tensor([[-1.0], [0.0], [1.5]], dtype=torch.float64)
    assert np.log(density(x.numpy()))[:, 0] == pytest.approx([-1.418777, -2.379654, -1.052467], abs=1e-6)
    line = torch.linspace(-9, 9, 20_001, dtype=torch.float64)
    for scale, (log_px, kl) in GOLDEN.items():
        model = VAE(GaussianPrior(1), Gaussian(decoder, scale=scale, event_shape=1), Pulled(scale))
        found = Quadrature(nodes=20_001, around="prior", rule="trapezoid")(model, split_of(x))
        assert_close(found.value, torch.tensor(log_px).double(), atol=2e-6, rtol=0)
        q = model.posterior(x)
        z = q.loc + q.scale * line[:, None, None]
        log_w = model.log_joint(Batch(x), z) - q.log_prob(z)
        elbo = torch.trapezoid(torch.exp(-0.5 * line.square())[:, None] / math.sqrt(2 * math.pi) * log_w, line, dim=0)
        assert_close(found.value - elbo, torch.tensor(kl).double(), atol=1e-5, rtol=0.02)


# ── a learned prior p(z|x): linear, conditional ──────────────────────────────────────────────────────────────

A, SPREAD, B, C, NOISE = 0.7, 0.5, 1.2, -0.3, 0.2


class Learned(Prior):
    """N(A x, S)."""

    family = DiagonalGaussian

    def __init__(self) -> None:
        super().__init__()
        self.latent = 1

    def forward(self, given: Tensor | None = None) -> DiagonalGaussian:
        return DiagonalGaussian(A * given, torch.full_like(given, 0.5 * math.log(SPREAD)))


class Conditional(Gaussian):
    """N(B z + C x, σ²)."""

    def parameters_of(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        return (B * z + C * given).unsqueeze(-2)


class Told(Posterior):
    """The prior, or the exact posterior N(Ax + K(y − (BA + C)x), S − KBS), K = SB / (B²S + σ²)."""

    family = DiagonalGaussian

    def __init__(self, exact: bool) -> None:
        super().__init__()
        self.latent, self.exact = 1, exact

    def forward(self, x: Tensor, given: Tensor | None = None, observed: Tensor | None = None) -> DiagonalGaussian:
        gain = SPREAD * B / (B * B * SPREAD + NOISE) if self.exact else 0.0
        loc = A * given + gain * (x - (B * A + C) * given)
        return DiagonalGaussian(loc, torch.full_like(loc, 0.5 * math.log(SPREAD - gain * B * SPREAD)))


def conditional(exact: bool) -> VAE:
    likelihood = Conditional(MLP(1, [], 1), scale=math.sqrt(NOISE))
    return VAE(Learned(), likelihood, Told(exact)).double()


def test_a_learned_prior_gives_the_golden_conditional_evidence():
    batch = Batch(torch.tensor([[0.4]], dtype=torch.float64), given=torch.tensor([[1.5]], dtype=torch.float64))
    model = conditional(exact=True)
    q = model.posterior(batch.x, batch.given)
    assert float(q.loc) == pytest.approx(0.7826086957, abs=1e-10)
    assert float(q.variance) == pytest.approx(0.1086956522, abs=1e-10)
    terms = model.terms(batch, model.noise(5, 1, seed=0))
    assert_close(terms.log_w, torch.full((5, 1), -0.968606424387, dtype=torch.float64), atol=1e-9, rtol=0)  # every draw
    nodes = type(model.noise(1, 1, seed=0))((torch.tensor([[[1.0]], [[-1.0]]]).double(),))  # exact for a quadratic
    blind = conditional(exact=False).terms(batch, nodes)
    assert float(blind.rate) == 0.0
    assert float(ELBO(draws=2)(blind)) == pytest.approx(-2.334469576988, abs=1e-9)


# ── diffusion as a hierarchy with a fixed encoder ────────────────────────────────────────────────────────────


def diffusion(steps: int, x: Tensor, draws: int, *, end: DiagonalGaussian | None = None) -> Terms:
    """Terms of q(x_t|x_{t−1}) = N(√(1−β) x_{t−1}, β) and the exact reverse kernels, for data N(m, v); top-down.

    end: p(x_T); the true marginal of x_T when left out.
    """
    m, v = 0.7, 1.9
    beta = torch.linspace(0.02, 0.3, steps, dtype=torch.float64)
    generator = torch.Generator().manual_seed(steps)
    means, variances, path = [m], [v], [x.expand(draws, -1, -1)]
    for b in beta.tolist():
        means.append(math.sqrt(1 - b) * means[-1])
        variances.append((1 - b) * variances[-1] + b)
        eps = torch.randn(draws, *x.shape, generator=generator, dtype=torch.float64)
        path.append(math.sqrt(1 - b) * path[-1] + math.sqrt(b) * eps)

    def normal(loc: Tensor, variance: float) -> DiagonalGaussian:
        return DiagonalGaussian(loc, torch.full_like(loc, 0.5 * math.log(variance)))

    def reverse(t: int) -> DiagonalGaussian:
        """p(x_{t−1}|x_t): the posterior of N(means, variances) under the step's noise."""
        b = float(beta[t - 1])
        gain = variances[t - 1] * math.sqrt(1 - b) / variances[t]
        return normal(means[t - 1] + gain * (path[t] - means[t]), variances[t - 1] * b / variances[t])

    log_measure = torch.tensor(-math.log(draws), dtype=torch.float64)
    kl = find_kl(DiagonalGaussian, DiagonalGaussian)
    kept = [1.0, *torch.cumprod(1 - beta, 0).tolist()]
    latents = []
    for t in range(steps, 0, -1):
        if t == steps:
            q, p = (
                normal(math.sqrt(kept[t]) * x, 1 - kept[t]),
                end or normal(torch.full_like(x, means[-1]), variances[-1]),
            )
        else:
            # q(x_t|x_{t+1}, x_0), the forward walk read from the top (Ho, Jain & Abbeel 2020, eq. 6–7).
            b = float(beta[t])
            down = math.sqrt(kept[t]) * b * x + math.sqrt(1 - b) * (1 - kept[t]) * path[t + 1]
            q, p = normal(down / (1 - kept[t + 1]), b * (1 - kept[t]) / (1 - kept[t + 1])), reverse(t + 1)
        latents.append(Latent(q, p, path[t], log_measure, kl))
    return Terms(tuple(latents), reverse(1).log_prob(x), log_measure)


@pytest.mark.parametrize("steps", [1, 10, 100])
def test_the_bound_of_a_diffusion_is_the_evidence_of_gaussian_data(steps):
    """With the exact reverse kernels every path has the weight log p(x), whatever the number of steps."""
    x = torch.tensor([[-2.0], [0.3], [1.0], [4.0]], dtype=torch.float64)
    log_px = torch.from_numpy(stats.norm.logpdf(x[:, 0].numpy(), 0.7, math.sqrt(1.9)))
    terms = diffusion(steps, x, 3)
    assert_close(terms.log_w, log_px.expand(3, -1), atol=1e-9, rtol=0)
    assert_close(IWAE(draws=3)(terms), log_px, atol=1e-9, rtol=0)
    many = diffusion(steps, x, 4000)
    off = ELBO(draws=4000)(many) - log_px  # the rates in closed form, the draws averaged
    assert float(off.abs().max()) < 0.15
    assert_close(many.rate + many.distortion, -ELBO(draws=4000)(many), atol=1e-9, rtol=0)


def test_a_standard_normal_end_costs_its_divergence_from_what_is_left_of_the_data():
    """E over data of the gap is KL(q(x_T)‖N(0, 1)); 4 standard errors of 40 000 data points."""
    x = 0.7 + math.sqrt(1.9) * torch.randn(40_000, 1, generator=torch.Generator().manual_seed(1)).double()
    log_px = torch.from_numpy(stats.norm.logpdf(x[:, 0].numpy(), 0.7, math.sqrt(1.9)))
    end = DiagonalGaussian(torch.zeros_like(x), torch.zeros_like(x))
    gap = (log_px - diffusion(10, x, 1, end=end).log_w[0]).double()
    beta = torch.linspace(0.02, 0.3, 10, dtype=torch.float64)
    kept = float((1 - beta).prod())
    mean, variance = 0.7 * math.sqrt(kept), 1.9 * kept + 1 - kept
    divergence = 0.5 * (mean**2 + variance - 1 - math.log(variance))
    assert abs(float(gap.mean()) - divergence) < 4 * float(gap.std()) / 200
    assert float(gap.std()) / 200 < divergence / 10


# ── the length of a code ─────────────────────────────────────────────────────────────────────────────────────


def test_with_the_exact_posterior_the_ideal_net_length_is_minus_log_two_p():
    """Bits back pays −ELBO / log 2 for whole numbers under a mixture: scipy's cell probabilities, which add up to 1."""
    shares, centres, widths = [0.5, 0.3, 0.2], [-2.0, 0.0, 3.0], [0.5, 1.0, 0.7]
    decoder = MLP(3, [], 2)
    with torch.no_grad():
        decoder.head.weight.copy_(torch.tensor([centres, [math.log(width) for width in widths]]))
        decoder.head.bias.zero_()
    prior = CategoricalPrior(3, learned=True)
    with torch.no_grad():
        prior.logits.copy_(torch.tensor([shares]).log())
    likelihood = Gaussian(decoder, scale="per_example", step=1.0, floor=0.0)
    model = VAE(prior, likelihood, EnumeratedPosterior(latent=3)).double()
    x = torch.arange(-9, 12, dtype=torch.float64)[:, None]
    terms = model.terms(x, model.noise(1, len(x), seed=0))
    floor = float(likelihood._floor)  # half a cell, added to every width on a grid
    scale = np.array(widths) + floor
    cells = stats.norm.cdf(x.numpy() + 0.5, centres, scale) - stats.norm.cdf(x.numpy() - 0.5, centres, scale)
    p = cells @ np.array(shares)
    assert p.sum() == pytest.approx(1.0, abs=1e-9)
    bits = bits_per_dim(-terms.elbo.detach(), 1)
    assert_close(bits, torch.from_numpy(-np.log2(p)), atol=1e-6, rtol=1e-6)  # the weights were float32
