"""A prior of any shape, by an invertible network."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vael.distributions.autoregressive_map import AutoregressiveMap
from vael.distributions.diagonal_gaussian import DiagonalGaussian
from vael.distributions.flow import Flow
from vael.distributions.steps import Chain, OfNetwork, Turned
from vael.errors import RecipeError
from vael.names import closest
from vael.priors.base import Prior

KINDS: dict[str, dict[str, Any]] = {
    "nsf": {"univariate": "spline"},
    "maf": {"univariate": "affine"},
    "coupling": {"univariate": "affine", "groups": 2},
}


class FlowPrior(Prior):
    """p(z) = N(f(z); 0, I) |det ∂f(z)/∂z|, f a chain of autoregressive maps, every other one from the last number on.

    Args:
        latent: D.
        flow: "nsf", rational-quadratic splines on [−5, 5] and the identity outside; "maf", affine maps; "coupling",
            affine maps of one half given the other. A density takes one pass through each network, a draw D of them, or
            2 for a coupling.
        transforms: How many maps.
        hidden: Widths of the hidden layers of each one's network.

    Source: Chen et al. 2017, Variational lossy autoencoder (arXiv 1611.02731), for flows as priors; Durkan et al. 2019
        (arXiv 1906.04032), Papamakarios et al. 2017 (arXiv 1705.07057), Dinh et al. 2017 (arXiv 1605.08803) for maps.
    """

    family = Flow
    origin: Tensor

    def __init__(
        self, latent: int, flow: str = "nsf", *, transforms: int = 3, hidden: Sequence[int] = (64, 64)
    ) -> None:
        super().__init__()
        if latent < 1 or transforms < 1:
            raise RecipeError(
                f"FlowPrior: latent and transforms must be at least 1, got {latent} latents and {transforms} "
                f"transforms."
            )
        if flow not in KINDS:
            raise RecipeError(
                f"FlowPrior: unknown flow {flow!r}. There are: {', '.join(KINDS)}.{closest(str(flow), KINDS)}"
            )
        self.latent, self.flow, self.transforms, self.hidden = latent, flow, transforms, list(hidden)
        places = range(transforms)
        self.maps = nn.ModuleList(
            AutoregressiveMap(latent, hidden=hidden, reverse=bool(place % 2), **KINDS[flow]) for place in places
        )
        self.register_buffer("origin", torch.zeros(latent), persistent=False)

    def forward(self, given: Tensor | None = None) -> Flow:
        chain = Chain([OfNetwork(each) for each in self.maps])
        return Flow(DiagonalGaussian(self.origin, self.origin), Turned(chain))
