"""p(z|x) of spike-and-slab sparse coding: given which causes are on, everything is linear and Gaussian."""

from torch import Tensor

from vael.distributions.bits import Bits
from vael.distributions.spike_slab import SpikedGaussians, SpikeSlab
from vael.likelihoods.base import Likelihood
from vael.posteriors.exact import (
    ExactPosterior,
    inverse_root,
    linear_gaussian_map,
    not_linear_gaussian,
    precision,
    seen_log_px_z,
)
from vael.priors.base import Prior

MOST = 12  # causes whose patterns are enumerated: 4096 Gaussians an example


class SpikeSlabPosterior(ExactPosterior):
    """p(z|x) of x = W z + b + ε under `SpikeSlabPrior`, over all 2^D patterns s of what is on.

        p(w|s, x) = N(M_s⁻¹ h_s, M_s⁻¹),   M_s = I + S Wᵀ diag(o/σ²) W S,   h_s = S Wᵀ diag(o/σ²) (x − b),   S = diag s
        log p(x, s) = log p(s) + log N(x; b, σ²) + ½ h_sᵀ M_s⁻¹ h_s − ½ log |M_s|

    For at most 12 latents and an affine decoder with a Gaussian scale that is a number, shared or per_feature.
    Source: Goodfellow, Courville & Bengio 2012 (arXiv 1201.3382); Sheikh, Shelton & Lücke 2014 (arXiv 1211.3589).
    """

    family = SpikedGaussians

    def refusal(self, prior: Prior, likelihood: Likelihood) -> str | None:
        if prior.family is not SpikeSlab:
            return f"needs SpikeSlabPrior, got {type(prior).__name__}."
        if self.latent > MOST:
            return f"enumerates the 2^latent patterns of at most {MOST} latents, got {self.latent}."
        return not_linear_gaussian(likelihood)

    @property
    def states(self) -> int:
        return int(2**self.latent)

    def forward(self, x: Tensor, given: Tensor | None = None, observed: Tensor | None = None) -> SpikedGaussians:
        weight, bias, variance = linear_gaussian_map(self.likelihood)
        share = 1 / variance if observed is None else observed / variance
        residual = (x.flatten(1) - bias) * share
        if observed is not None:
            residual = residual.where(observed, 0.0)
        p = self.prior(given)
        spikes = Bits(p.logits)
        patterns = spikes.every()  # (S, 1, D)
        both = patterns.unsqueeze(-1) * patterns.unsqueeze(-2)
        inner = precision(weight, share) * both + (1 - patterns).diag_embed()  # the identity where a cause is off
        log_scale, _, root = inverse_root(inner)
        pull = patterns * (residual @ weight)  # (S, B, D)
        white = rows_times(pull, root)  # Rᵀ h
        nothing = x.new_zeros(1, len(x), self.latent)
        log_joint = spikes.log_prob(patterns) + seen_log_px_z(self.likelihood, x, nothing, given, observed)
        log_joint = log_joint + 0.5 * white.square().sum(-1) + log_scale.sum(-1)  # log_scale: −½ log |M_s|
        return SpikedGaussians(patterns[:, 0], log_joint, rows_times(white, root.mT), root)


def rows_times(rows: Tensor, matrix: Tensor) -> Tensor:
    """Each of rows `(S, B, D)` times its matrix `(S, 1 or B, D, D)`; a matrix that all examples share, all at once."""
    if matrix.shape[1] == 1:
        return rows @ matrix[:, 0]
    return (rows.unsqueeze(-2) @ matrix).squeeze(-2)
