"""What mean and covariance alone say of the aggregated posterior: no number of examples caps it."""

import torch
from torch import Tensor

from vael.data.dataset import Split
from vael.diagnostics.draws import at_rest, posterior_draws
from vael.distributions.diagonal_gaussian import StandardGaussian
from vael.models.vae import VAE


def gaussian_kl(z: Tensor) -> float:
    """KL(N(m, S)‖N(0, I)) in nats, for mean m and covariance S of z `(N, D)`, less its bias D(D + 3)/4N.

        KL(q̄‖p) = KL(q̄‖N(m, S)) + KL(N(m, S)‖p) for p = N(0, I), since log N(m, S) − log p is quadratic;

    so it is a lower bound of KL(q̄‖p), and one that N < exp(rate) examples can tell.
    """
    count, dims = z.shape
    z = z.to(torch.float64)
    loc, covariance = z.mean(0), torch.cov(z.T).reshape(dims, dims)
    _, log_det = torch.linalg.slogdet(covariance)
    kl = 0.5 * (covariance.diagonal().sum() + loc.square().sum() - dims - log_det)
    return max(0.0, float(kl) - dims * (dims + 3) / (4 * count))


def marginal_gap(model: VAE, split: Split, *, seed: int = 0) -> float | None:
    """A lower bound of KL(q̄‖p) in nats from one draw of each example's posterior; see `gaussian_kl`.

    None where the prior is not N(0, I), or the examples are not many more than the latents.
    """
    if model.prior.family is not StandardGaussian or len(split) < 4 * model.latent:
        return None
    with at_rest(model):
        return gaussian_kl(posterior_draws(model, split.settled(seed=0).to(model.device), draws=1, seed=seed)[0].cpu())
