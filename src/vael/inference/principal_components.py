"""Probabilistic PCA without iterations."""

import math

import torch

from vael.data.dataset import Split
from vael.errors import RecipeError
from vael.inference.em import check
from vael.inference.maximise import head, unfloored
from vael.likelihoods.gaussian import QUICKER, Gaussian
from vael.models.vae import VAE
from vael.posteriors.exact import LinearGaussianPosterior


@torch.no_grad()
def principal_components(model: VAE, split: Split) -> float:
    """Set a probabilistic PCA to its maximum of likelihood, in place, by the eigenvalues of the data's covariance.

        σ² = mean of λ_{q+1} … λ_d,    W = U (Λ − σ² I)^½,    b = mean of x
        mean log p = −½ [ d log 2π + Σ_{j ≤ q} log λ_j + (d − q) log σ² + d ]

    with λ_1 ≥ λ_2 ≥ … the eigenvalues and U the first q eigenvectors. W is found up to a rotation; this one has
    orthogonal columns, for which the exact posterior has independent components.

    split: Complete examples, more than one.
    Returns that maximum, in nats per example of the user's units.
    Raises RecipeError for a model that is not probabilistic PCA, for missing values, and for q ≥ d.
    Source: Tipping & Bishop 1999, equations 7–8 and appendix A.
    """
    check(model, 1)
    likelihood, latent, dims = model.likelihood, model.latent, model.likelihood.dims
    assert isinstance(likelihood, Gaussian)
    if likelihood.scale != "shared" or not isinstance(model.posterior, LinearGaussianPosterior):
        raise RecipeError("principal_components: needs probabilistic PCA: a normal z, and one σ that is learned.")
    if split.observed is not None and not bool(split.observed.all()):
        raise RecipeError("principal_components: needs complete examples; with missing values use em.")
    if not latent < dims:
        raise RecipeError(f"principal_components: needs fewer latents than features, got {latent} of {dims}.")
    x = split.settled(seed=0).batch(torch.arange(len(split))).x.flatten(1).double()
    centred = x - x.mean(0)
    values, vectors = torch.linalg.eigh(centred.mT @ centred / len(x))
    values, vectors = values.flip(0), vectors.flip(1)
    noise = torch.clamp(values[latent:].mean(), min=likelihood.floor**2)
    stretch = torch.clamp(values[:latent] - noise, min=0).sqrt()
    head(model).weight.copy_(vectors[:, :latent] * stretch)
    head(model).bias.copy_(x.mean(0))
    likelihood.slow_scale.copy_(unfloored(likelihood, noise.sqrt()) / QUICKER)
    kept = torch.maximum(values[:latent], noise).log().sum() + (dims - latent) * noise.log()
    spread = (values[:latent] / torch.maximum(values[:latent], noise)).sum() + values[latent:].sum() / noise
    return float(-0.5 * (dims * math.log(2 * math.pi) + kept + spread) + split.log_jacobian.mean())
