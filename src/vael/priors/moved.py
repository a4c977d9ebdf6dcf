"""Another prior, moved and stretched to where codes are."""

import torch
from torch import Tensor, nn

from vael.distributions.flow import Flow
from vael.distributions.moved import Moved
from vael.errors import RecipeError
from vael.priors.base import Prior


class MovedPrior(Prior):
    """p(z) of z = loc + exp(log_scale) · u, u ~ another prior: log p(z) = log p(u) − Σ_j log_scale_j; both learned.

    For codes that are far from N(0, I), such as an autoencoder's, where a prior made for N(0, I) would not begin.

    Args:
        prior: That of u; of numbers on the whole line, and of nothing given.

    Raises RecipeError for a prior over states, or in a curved space.
    """

    family = Flow

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        family = prior.family
        if any(getattr(family, word, False) for word in ("discrete", "atomic", "space")):
            raise RecipeError(
                f"MovedPrior: moves numbers on the whole line, and {type(prior).__name__} is a law of others.\n"
                f"  Use gaussian, mixture, flow or autoregressive."
            )
        self.latent, self.prior = prior.latent, prior
        self.loc = nn.Parameter(torch.zeros(prior.latent))
        self.log_scale = nn.Parameter(torch.zeros(prior.latent))

    def bind(self, posterior: nn.Module, likelihood: nn.Module) -> None:
        self.prior.bind(posterior, likelihood)

    def begin(self, x: Tensor) -> None:
        self.prior.begin(x)

    @torch.no_grad()
    def move(self, codes: Tensor) -> None:
        """Begin at the mean and deviation of codes `(N, D)`; a unit that never moves keeps a thousandth."""
        self.loc.copy_(codes.mean(0))
        self.log_scale.copy_(codes.std(0, correction=0).clamp(min=1e-3).log())

    def forward(self, given: Tensor | None = None) -> Flow:
        return Flow(self.prior(given), Moved(self.loc, self.log_scale))
