"""A prior that depends on what is given."""

from torch import Tensor, nn

from vael.distributions.diagonal_gaussian import DiagonalGaussian
from vael.errors import RecipeError, ShapeError
from vael.priors.base import Prior


class ConditionalPrior(Prior):
    """p(z|given) = N(z; loc, diag(exp(2 log_scale))),    (loc, log_scale) = network(given)

    With a decoder that sees what is given too, the models of p(x|given) are the same as under a fixed N(0, I), since a
    decoder can undo any affine map of z; what changes is which of them is easy to learn. In a chain `given` are the
    levels above.

    Args:
        network: given `(..., C)` → `(..., 2D)`, loc and log_scale from one layer.
        latent: D; half of `network.outputs` where the network has them. Without a network, for its size alone.

    Source: Sohn, Lee & Yan 2015, Learning structured output representation using deep conditional generative models.
    """

    family = DiagonalGaussian

    def __init__(self, network: nn.Module | None = None, latent: int | None = None) -> None:
        super().__init__()
        outputs = getattr(network, "outputs", None)
        if latent is None:
            if not isinstance(outputs, int):
                raise RecipeError("ConditionalPrior: the network does not say its `outputs`; give latent, z's size.")
            latent = outputs // 2
        if latent < 1:
            raise RecipeError(f"ConditionalPrior: latent must be at least 1, got {latent}.")
        if isinstance(outputs, int) and outputs != 2 * latent:
            raise ShapeError(
                f"ConditionalPrior: needs a loc and a log_scale for each of {latent} latents, got a network with "
                f"{outputs} outputs."
            )
        self.network, self.latent = network, latent

    def forward(self, given: Tensor | None = None) -> DiagonalGaussian:
        """Raises RecipeError when nothing is given, or there is no network."""
        if self.network is None or given is None:
            lacks = "has no network" if self.network is None else "is p(z|given), and nothing is given"
            raise RecipeError(
                f"ConditionalPrior: {lacks}.\n  Condition on a column with --given COLUMN, or use prior gaussian."
            )
        loc, log_scale = self.network(given).chunk(2, -1)
        return DiagonalGaussian(loc, log_scale)
