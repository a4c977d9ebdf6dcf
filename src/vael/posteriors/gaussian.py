"""A Gaussian with independent components."""

from torch import Tensor, nn

from vael.distributions.diagonal_gaussian import DiagonalGaussian
from vael.errors import RecipeError, ShapeError
from vael.posteriors.base import Posterior


class GaussianPosterior(Posterior):
    """q(z|x) = N(z; loc(x), diag(exp(2 log_scale(x)))),    (loc, log_scale) = network(x)

    Args:
        network: x `(B, *event)` → `(B, 2D)`, loc and log_scale from one layer. A network with `takes_mask` is also
            handed which features were observed.
        latent: D; half of `network.outputs` where the network has them.
    """

    family = DiagonalGaussian

    def __init__(self, network: nn.Module, latent: int | None = None) -> None:
        super().__init__()
        outputs = getattr(network, "outputs", None)
        if latent is None and not isinstance(outputs, int):
            raise RecipeError("GaussianPosterior: the network does not say its `outputs`; give latent, the size of z.")
        if isinstance(outputs, int) and (outputs % 2 or latent not in (None, outputs // 2)):
            raise ShapeError(
                f"GaussianPosterior: needs a loc and a log_scale for each latent, got a network with {outputs} outputs"
                + (f" for {latent} latents." if latent else ".")
            )
        self.network = network
        self.latent = latent if latent is not None else int(outputs or 0) // 2
        if self.latent < 1:
            raise RecipeError(f"GaussianPosterior: latent must be at least 1, got {self.latent}.")

    def forward(self, x: Tensor, given: Tensor | None = None, observed: Tensor | None = None) -> DiagonalGaussian:
        """Raises ShapeError when the network's output is not `(B, 2D)`."""
        masked = observed is not None and getattr(self.network, "takes_mask", False)
        out = self.network(x, observed) if masked else self.network(x)
        if out.shape[-1] != 2 * self.latent:
            raise ShapeError(
                f"GaussianPosterior: the network's output has shape {tuple(out.shape)}, expected "
                f"(…, {2 * self.latent}).\n  Give the network 2 × {self.latent} outputs, or say another latent."
            )
        loc, log_scale = out.chunk(2, -1)
        return DiagonalGaussian(loc, log_scale)
