"""A mixture of Gaussians with independent components."""

from torch import Tensor, nn

from vael.distributions.reparameterised_mixture import ReparameterisedMixture
from vael.errors import RecipeError
from vael.posteriors.base import EncodedPosterior


class MixturePosterior(EncodedPosterior):
    """q(z|x) = Σ_m w_m(x) N(z; loc_m(x), diag(exp(2 log_scale_m(x)))),    (logits, loc, log_scale) = network(x)

    For posteriors with several modes. Draws are smooth in all of it, the weights too: see `ReparameterisedMixture`,
    which finds one number of z after the other: on the digits with 16 latents a step takes ten times a Gaussian's. The
    KL to a prior is estimated from draws.

    Args:
        network: x `(B, *event)` → `(B, M (2D + 1))`: the logits, then the locs of each component, then the log_scales.
            A network with `takes_mask` is also handed which features were observed.
        latent: D; found from `network.outputs` where the network has them.
        components: M; one is the diagonal Gaussian.

    Raises RecipeError for fewer than one component.
    Source: Graves 2016, Stochastic backpropagation through mixture density distributions (arXiv 1607.05690).
    """

    family = ReparameterisedMixture

    def __init__(self, network: nn.Module | None = None, latent: int | None = None, components: int = 2) -> None:
        if not isinstance(components, int) or components < 1:
            raise RecipeError(f"MixturePosterior: components must be a whole number of at least 1, got {components!r}.")
        self.components = components
        super().__init__(network, latent)

    def width(self, latent: int) -> int:
        return self.components * (2 * latent + 1)

    def needs(self) -> str:
        return f"needs {self.components} (2D + 1) outputs for D latents: a weight, a loc and a scale of each component"

    def law(self, outputs: Tensor) -> ReparameterisedMixture:
        places = self.components * self.latent
        logits, loc, log_scale = outputs.split([self.components, places, places], -1)
        shape = (self.components, self.latent)
        return ReparameterisedMixture(logits, loc.unflatten(-1, shape), log_scale.unflatten(-1, shape))
