"""A prior of one number after another."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from zuko.nn import MaskedMLP

from vael.distributions.autoregressive import AutoregressiveMixture
from vael.errors import RecipeError
from vael.priors.base import Prior


class AutoregressivePrior(Prior):
    """p(z) = Π_j p(z_j | z_1 … z_{j−1}), each a mixture of Gaussians whose parameters a masked network gives.

    A density takes one pass through the network, a draw `latent` of them.

    Args:
        latent: D.
        components: Gaussians of each conditional.
        hidden: Widths of the network's hidden layers.

    Source: Germain et al. 2015, MADE (arXiv 1502.03509); Uria, Murray & Larochelle 2013, RNADE (arXiv 1306.0186).
    """

    family = AutoregressiveMixture

    def __init__(self, latent: int, components: int = 5, *, hidden: Sequence[int] = (64, 64)) -> None:
        super().__init__()
        if latent < 1 or components < 1:
            raise RecipeError(
                f"AutoregressivePrior: latent and components must be at least 1, got {latent} latents and {components} "
                f"components."
            )
        self.latent, self.components, self.hidden = latent, components, list(hidden)
        # Beside z stands a one that all may see: without it the first number's parameters would see nothing at all.
        earlier = torch.ones(latent, latent).tril(-1)
        seen = torch.cat([earlier, torch.ones(latent, 1)], -1).bool().repeat_interleave(3 * components, 0)
        self.network = MaskedMLP(seen, list(hidden), activation=nn.ELU)
        # Equal Gaussians would stay equal: their means start apart.
        self.start = nn.Parameter(torch.randn(components))

    def conditionals(self, z: Tensor) -> Tensor:
        """Logits, means and log scales of each number's mixture, `(..., D, 3, C)`, for z `(..., D)`."""
        out: Tensor = self.network(torch.cat([z, torch.ones_like(z[..., :1])], -1))
        logits, loc, log_scale = out.unflatten(-1, (self.latent, 3, self.components)).unbind(-2)
        return torch.stack([logits, loc + self.start, log_scale], -2)

    def forward(self, given: Tensor | None = None) -> AutoregressiveMixture:
        return AutoregressiveMixture(self.conditionals, self.latent, self.start)
