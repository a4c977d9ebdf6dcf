"""Several priors, each told the latents above it: hierarchies, and a class that comes first."""

from collections.abc import Sequence

from torch import Tensor, nn

from vael.distributions.chained import Chained, above_and_given
from vael.errors import RecipeError
from vael.priors.base import Prior


class ChainPrior(Prior):
    """p(z) = Π_l p_l(z_l | z_1 … z_{l−1}, given), levels of any kind of this room side by side in z.

    A level that depends on those above takes them as `given`, first to last and then what the model itself is given;
    one that does not, such as a standard normal, is independent of them.

    Args:
        levels: Top-down, at least one.

    Source: Sønderby et al. 2016, Ladder VAE (arXiv 1602.02282), section 2; Kingma et al. 2014 for a class above z
    (arXiv 1406.5298).
    """

    family = Chained

    def __init__(self, levels: Sequence[Prior]) -> None:
        super().__init__()
        if not levels:
            raise RecipeError("ChainPrior: levels must be at least one prior, got none.")
        self.levels = nn.ModuleList(levels)
        self.sizes = [level.latent for level in levels]
        self.latent = sum(self.sizes)

    def bind(self, posterior: nn.Module, likelihood: nn.Module) -> None:
        theirs = getattr(posterior, "levels", None)
        for place, level in enumerate(self.levels):
            one = theirs[place] if theirs is not None and place < len(theirs) else posterior
            level.bind(one, likelihood)  # type: ignore[operator]

    def begin(self, x: Tensor) -> None:
        for level in self.levels:
            level.begin(x)  # type: ignore[operator]

    def forward(self, given: Tensor | None = None) -> Chained:
        def below(level: nn.Module, parents: Tensor | None) -> object:
            return level(above_and_given(parents, given))

        return Chained([lambda z, level=level: below(level, z) for level in self.levels], self.sizes)  # type: ignore[misc]
