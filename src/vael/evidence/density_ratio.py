"""log p(x) from draws of the posterior and a density fitted to them."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from vael.data.batch import Batch
from vael.data.dataset import Split
from vael.errors import RecipeError
from vael.evidence.annealed import Start, in_pieces
from vael.evidence.estimate import LARGEST_CHUNK, Estimate, check_count, check_number, mean_weight
from vael.inference.hmc import sample_posterior
from vael.inference.path import path_to_posterior
from vael.models.vae import VAE

RIDGE = 1e-6  # of the covariance's mean variance: chains that never moved still have a density


@dataclass(frozen=True)
class DensityRatio:
    """log p(x) by the density of posterior draws.

        1/p(x) = E_{p(z|x)}[ q̂(z) / p(x, z) ] ≈ 1/K Σ_k q̂(z_k) / p(x, z_k),    z_k ~ p(z|x) by HMC

    q̂ is a Gaussian with the mean and covariance of a first set of draws, each example's own; the sum is over a second,
    fresh one. 1/p̂ is unbiased when the chains have converged, and log p̂ then too high in expectation; a q̂ that misses
    a part of the posterior, or wastes itself where it is not, makes it err to either side: an estimate. For small
    latents of one mode: below five, says its source.

    Args:
        draws: K, the draws of the second set, and of the first; a multiple of `chains` is taken, no fewer.
        chains: Whose means tell the Monte Carlo error; at least 2 for one.
        warm_up, leapfrog, acceptance, start: Of the HMC.

    Source: Kingma & Welling 2013, appendix D (arXiv 1312.6114).
    """

    draws: int = 500
    chains: int = 10
    warm_up: int = 100
    leapfrog: int = 10
    acceptance: float = 0.65
    start: Start = "encoder"
    chunk: int = LARGEST_CHUNK

    def __post_init__(self) -> None:
        check_count("DensityRatio", draws=self.draws, chains=self.chains, leapfrog=self.leapfrog, warm_up=self.warm_up)
        check_number("DensityRatio", acceptance=self.acceptance)

    def __call__(self, model: VAE, split: Split, *, seed: int = 0) -> Estimate:
        if self.draws < model.latent + 2:
            raise RecipeError(
                f"DensityRatio: a Gaussian over {model.latent} latents takes at least {model.latent + 2} draws, got "
                f"{self.draws}."
            )
        each = -(-self.draws // self.chains)

        def of_some(batch: Batch, examples: list[int]) -> Estimate:
            path = path_to_posterior(model, batch, start=self.start)
            z = sample_posterior(
                path, examples, draws=2 * each, chains=self.chains, warm_up=self.warm_up, leapfrog=self.leapfrog,
                acceptance=self.acceptance, seed=seed,
            )  # fmt: skip
            first, second = z.to("cpu", torch.float64).split(each * self.chains)
            with torch.no_grad():
                log_joint = model.log_joint(batch, second.to(path.goal_width)).to("cpu", torch.float64)
            log_r = gaussian_of(first).log_prob(second) - log_joint
            value, _, size = mean_weight(log_r)
            return Estimate(
                -value, chain_error(log_r, self.chains), size, each * self.chains, "density_ratio", "estimate"
            )

        return in_pieces(model, split, self.chains, self.chunk, of_some)


def chain_error(log_r: Tensor, chains: int) -> Tensor:
    """Relative error of the mean of exp(log_r) `(K, B)`, draws of one chain `chains` apart: by the chains' own means.

    Draws of one chain resemble each other, so the spread of single draws would be too small a measure; NaN for one.
    """
    means = log_r.unflatten(0, (-1, chains)).logsumexp(0)  # (C, B)
    share: Tensor = torch.exp(means - means.logsumexp(0)) * chains
    return share.std(0) / chains**0.5 if chains > 1 else torch.full_like(share[0], torch.nan)


def gaussian_of(z: Tensor) -> MultivariateNormal:
    """The Gaussian with the mean and covariance of draws z `(K, B, D)`, batch shape `(B,)`."""
    loc = z.mean(0)
    centred = (z - loc).transpose(0, 1)  # (B, K, D)
    covariance = centred.mT @ centred / max(z.shape[0] - 1, 1)
    spread = covariance.diagonal(dim1=-2, dim2=-1).mean(-1).clamp(min=1e-12)
    ridge = RIDGE * spread[:, None, None] * torch.eye(z.shape[-1], dtype=z.dtype)
    return MultivariateNormal(loc, covariance + ridge, validate_args=False)
