"""Any law on the line is a normal pushed through a map, and an encoder can then be exact (Doersch 2016, appendix A).

With F the law's distribution function and p its density, g = Φ⁻¹ ∘ F takes x to a standard normal. A decoder
g⁻¹ = F⁻¹ ∘ Φ with noise σ, and an encoder N(g(x), (g'(x) σ)²) with g' = p/φ(g), leave KL(q(z|x)‖p(z|x)) → 0 and
p(x) → the law as σ → 0. (arXiv 1606.05908.)
"""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm
from torch import Tensor, nn

from vael import VAE, Batch
from vael.likelihoods import Gaussian
from vael.posteriors import GaussianPosterior
from vael.priors import GaussianPrior, MixturePrior

WEIGHT, LOC, SCALE = np.array([0.3, 0.7]), np.array([-1.0, 1.5]), np.array([0.5, 0.8])
X = torch.tensor([[-1.0], [0.0], [1.5]], dtype=torch.float64)

# σ: (log p(x), KL(q(z|x)‖p(z|x))) at x = −1, 0, 1.5, by an independent quadrature
TRUTH = {
    0.5: ((-1.725433, -1.924882, -1.216243), (0.42229, 0.25018, 0.17563)),
    0.1: ((-1.437395, -2.346894, -1.060218), (0.01275, 0.00446, 0.00139)),
    0.02: ((-1.419538, -2.378305, -1.052780), (3.7e-4, 1.3e-5, 4.7e-5)),
}


def distribution(x: np.ndarray) -> np.ndarray:
    """F(x)."""
    return (WEIGHT * norm.cdf(np.asarray(x)[..., None], LOC, SCALE)).sum(-1)


class Quantile(nn.Module):
    """F⁻¹(Φ(z)), read off a table by numpy."""

    outputs = 1

    def __init__(self) -> None:
        super().__init__()
        self.x = np.linspace(-9, 14, 400_001)
        self.z = norm.ppf(distribution(self.x).clip(1e-300, 1 - 1e-16))

    def forward(self, z: Tensor) -> Tensor:
        return torch.from_numpy(np.interp(z.numpy(), self.z, self.x))


class Gaussianised(nn.Module):
    """g(x) and log(g'(x) σ)."""

    outputs = 2

    def __init__(self, noise: float) -> None:
        super().__init__()
        self.noise = noise

    def forward(self, x: Tensor) -> Tensor:
        density = (WEIGHT * norm.pdf(x.numpy(), LOC, SCALE)).sum(-1, keepdims=True)
        loc = norm.ppf(distribution(x.numpy()[..., 0]))[..., None]
        return torch.from_numpy(np.concatenate([loc, np.log(density / norm.pdf(loc) * self.noise)], -1))


def test_the_map_is_the_inverse_of_the_distribution_function():
    for u in (0.01, 0.3, 0.9):
        wanted = brentq(lambda x, u=u: float(distribution(x)) - u, -9, 14)
        assert abs(float(Quantile()(torch.tensor([norm.ppf(u)]))) - wanted) < 1e-7


@pytest.mark.parametrize("noise", TRUTH)
def test_the_encoder_becomes_exact_and_the_density_the_laws_as_the_noise_falls(noise):
    """log p(x) and KL by a sum over z as fine as σ asks; to the digits they are known to."""
    posterior, likelihood = GaussianPosterior(Gaussianised(noise)), Gaussian(Quantile(), scale=noise, event_shape=1)
    model = VAE(GaussianPrior(1), likelihood, posterior).double()
    line = torch.linspace(-7, 7, 280_001, dtype=torch.float64)
    z = line[:, None, None].expand(-1, len(X), 1)
    log_joint = model.log_joint(Batch(X), z)
    log_px = torch.logsumexp(log_joint, 0) + math.log(line[1] - line[0])
    log_q = model.posterior(X).log_prob(z)
    kl = (log_q.exp() * (log_q - log_joint)).sum(0) * (line[1] - line[0]) + log_px
    wanted_px, wanted_kl = TRUTH[noise]
    assert (log_px - torch.tensor(wanted_px).double()).abs().max() < 2e-6
    assert ((kl - torch.tensor(wanted_kl).double()).abs() < 0.03 * torch.tensor(wanted_kl)).all()


def test_a_mixture_prior_says_the_laws_own_density():
    prior = MixturePrior(1, components=2).double()
    with torch.no_grad():
        prior.loc.copy_(torch.from_numpy(LOC)[:, None])
        prior.log_scale.copy_(torch.from_numpy(SCALE).log()[:, None])
        prior.logits.copy_(torch.from_numpy(WEIGHT).log())
    truth = torch.tensor([-1.418777, -2.379654, -1.052467]).double()
    assert (prior().log_prob(X) - truth).abs().max() < 1e-6
