"""A prior made of examples' own codes."""

import torch
from torch import Tensor, nn

from vael.distributions.gaussian_mixture import GaussianMixture
from vael.errors import RecipeError, ShapeError
from vael.priors.base import Prior

WIDTHS = 200  # that are tried, at even distances in their logs
PIECE = 2**22  # numbers held at once


class ExemplarPrior(Prior):
    """p(z) = 1/C Σ_c N(z; z_c, h² I): every code z_c of an example with a Gaussian of one width around it.

    The codes are held and not learned, see `hold`; until then they are draws of N(0, I). Draws of it are neighbours of
    codes: the sampler of a kernel density estimate.

    Args:
        latent: D.
        examples: C.

    Source: Norouzi, Fleet & Norouzi 2020, Exemplar VAE (arXiv 2004.04795), there with the encoder in the loop.
    """

    family = GaussianMixture
    codes: Tensor

    def __init__(self, latent: int, examples: int = 1000) -> None:
        super().__init__()
        if latent < 1 or examples < 1:
            raise RecipeError(
                f"ExemplarPrior: latent and examples must be at least 1, got {latent} latents and {examples} examples."
            )
        self.latent, self.examples = latent, examples
        self.register_buffer("codes", torch.randn(examples, latent))
        self.log_scale = nn.Parameter(torch.zeros(()))

    @torch.no_grad()
    def hold(self, codes: Tensor, others: Tensor) -> None:
        """Hold codes `(C, D)`, with the h under which `others` `(N, D)`, of other examples, are likeliest.

        Raises ShapeError for another number of codes.
        """
        if codes.shape != self.codes.shape:
            raise ShapeError(
                f"ExemplarPrior: holds codes of shape {tuple(self.codes.shape)}, got {tuple(codes.shape)}.\n"
                f"  Say examples={len(codes)}."
            )
        self.codes.copy_(codes)
        far = others.std(0, correction=0).norm().clamp(min=1e-6)
        widths = torch.logspace(-4, 0.5, WIDTHS, dtype=codes.dtype, device=codes.device) * far
        totals = torch.zeros(WIDTHS, dtype=torch.float64, device=codes.device)
        for piece in others.split(max(1, PIECE // (len(codes) * WIDTHS))):
            squares = torch.cdist(piece, codes, compute_mode="donot_use_mm_for_euclid_dist").square()
            near = torch.logsumexp(-0.5 * squares / widths.square()[:, None, None], -1)  # (WIDTHS, N)
            totals += (near - self.latent * widths.log()[:, None]).sum(1, dtype=torch.float64)
        self.log_scale.copy_(widths[totals.argmax()].log())

    def forward(self, given: Tensor | None = None) -> GaussianMixture:
        return GaussianMixture(self.codes, self.log_scale.expand_as(self.codes), self.codes.new_zeros(self.examples))
