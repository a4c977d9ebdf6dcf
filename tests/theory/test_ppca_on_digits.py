"""A linear VAE trained by gradient reaches the maximum-likelihood solution of probabilistic PCA, on real data."""

import math

import numpy as np
import pytest
import torch
from worlds import cubature_for, split_of

from vael import ELBO, VAE, Training
from vael.evidence import Exact
from vael.likelihoods import Gaussian
from vael.networks import MLP
from vael.posteriors import GaussianPosterior
from vael.priors import GaussianPrior
from vael.training import Engine

LATENT, EPOCHS, BATCH = 8, 1000, 128


def ppca_optimum(x: np.ndarray) -> float:
    """−½ [d ln 2π + Σ_{j ≤ q} ln λ_j + (d − q) ln σ² + d], σ² the mean of the discarded λ (Tipping & Bishop 1999)."""
    values = np.sort(np.linalg.eigvalsh(np.cov(x.T, bias=True)))[::-1]
    noise = values[LATENT:].mean()
    d = x.shape[1]
    return -0.5 * (d * math.log(2 * math.pi) + np.log(values[:LATENT]).sum() + (d - LATENT) * math.log(noise) + d)


@pytest.mark.slow
def test_a_linear_vae_reaches_the_ppca_optimum_within_a_twentieth_of_a_nat():
    from sklearn.datasets import load_digits

    x = torch.from_numpy(load_digits().data / 16).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = VAE(
            GaussianPrior(LATENT),
            Gaussian(MLP(LATENT, [], 64), scale="shared"),
            GaussianPosterior(MLP(64, [], 2 * LATENT)),
        )
    steps = EPOCHS * len(x) // BATCH
    engine = Engine(model, ELBO(), split_of(x), Training(steps=steps, batch=BATCH, learning_rate=1e-2), seed=0)
    while engine.step < steps:
        engine.advance()
    model.double()
    optimum = ppca_optimum(x.double().numpy())
    with torch.no_grad():
        evidence = float(Exact()(model, split_of(x.double())).value.mean())
        bound = float(model.terms(x.double(), cubature_for(LATENT, len(x))).elbo.mean())
    print(f"pPCA optimum {optimum:.4f}; linear VAE log p(x) {evidence:.4f}, ELBO {bound:.4f} nats per example")
    assert bound <= evidence <= optimum + 1e-9
    assert optimum - bound < 0.05
