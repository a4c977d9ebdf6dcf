"""A Gaussian pushed through invertible maps."""

from collections.abc import Sequence

from torch import Tensor, nn

from vael.distributions.autoregressive_map import AutoregressiveMap
from vael.distributions.diagonal_gaussian import DiagonalGaussian
from vael.distributions.flow import Flow
from vael.distributions.steps import (
    Amortised,
    Chain,
    Householder,
    OfNetwork,
    Planar,
    Radial,
    Step,
    Sylvester,
    Turned,
)
from vael.errors import RecipeError
from vael.names import closest
from vael.posteriors.base import EncodedPosterior

AMORTISED: dict[str, type[Amortised]] = {
    "planar": Planar,
    "radial": Radial,
    "householder": Householder,
    "sylvester": Sylvester,
}
BY_NETWORK = ("iaf", "maf")
FLOWS = (*AMORTISED, *BY_NETWORK)


class FlowPosterior(EncodedPosterior):
    """q(z|x): z = T(u; x), u ~ N(loc(x), diag(exp(2 log_scale(x)))), T a chain of invertible maps.

        log q(z|x) = log N(u; loc, scale²) − log |det ∂T/∂u|

    Every kind has an inverse, so that log q is known of any z, also with its parameters held still, as `STL` and `DReG`
    want it. Of its own draws it is known from drawing them.

    The rate has no closed form, and by `ELBO` its gradient has the score's noise: on the digits `STL` is worth 2 to 3
    nats.

    Planar, radial, householder and sylvester maps have parameters for each x, which are outputs of the encoder; iaf and
    maf are masked networks that see `context` outputs of it. iaf draws in one pass and takes D for the density of a
    foreign z, maf the other way round; planar inverts by an equation in one unknown for each map, sylvester by D of
    them, radial and householder in closed form.

    Args:
        network: x `(B, *event)` → `(B, width)`: loc, log_scale, then each map's numbers, or the context. A network with
            `takes_mask` is also handed which features were observed.
        latent: D; found from `network.outputs` where the network has them.
        flow: "planar", "radial", "householder", "sylvester", "iaf" or "maf".
        transforms: How many maps.
        context: Outputs that the networks of iaf and maf see; no other flow has use for them.
        hidden: Widths of the hidden layers of those networks.

    Source: Rezende & Mohamed 2015 (arXiv 1505.05770); Kingma et al. 2016, Improved variational inference with inverse
        autoregressive flow (arXiv 1606.04934); van den Berg et al. 2018 (arXiv 1803.05649) for parameters by x.
    """

    family = Flow

    def __init__(
        self, network: nn.Module | None = None, latent: int | None = None, *, flow: str = "planar", transforms: int = 4,
        context: int = 16, hidden: Sequence[int] = (64, 64),
    ) -> None:  # fmt: skip
        if flow not in FLOWS:
            raise RecipeError(
                f"FlowPosterior: unknown flow {flow!r}. There are: {', '.join(FLOWS)}.{closest(str(flow), FLOWS)}"
            )
        for name, value in {"transforms": transforms, "context": context}.items():
            if not (isinstance(value, int) and value >= 1):
                raise RecipeError(f"FlowPosterior: {name} must be a whole number of at least 1, got {value!r}.")
        self.flow, self.transforms, self.context, self.hidden = flow, transforms, context, list(hidden)
        super().__init__(network, latent)
        places = range(transforms if flow in BY_NETWORK else 0)
        self.maps = nn.ModuleList(
            AutoregressiveMap(self.latent, context=context, hidden=hidden, reverse=bool(place % 2)) for place in places
        )

    def width(self, latent: int) -> int:
        if self.flow in BY_NETWORK:
            return 2 * latent + self.context
        return 2 * latent + self.transforms * AMORTISED[self.flow].width(latent)

    def needs(self) -> str:
        if self.flow in BY_NETWORK:
            return (
                f"needs a loc and a log_scale for each latent, and {self.context} numbers for the {self.flow} networks"
            )
        return f"needs a loc and a log_scale for each latent, and the numbers of {self.transforms} {self.flow} maps"

    def law(self, outputs: Tensor) -> Flow:
        loc, log_scale, rest = outputs.split([self.latent, self.latent, self.width(self.latent) - 2 * self.latent], -1)
        return Flow(DiagonalGaussian(loc, log_scale), Chain(self.steps(rest)))

    def steps(self, rest: Tensor) -> list[Step]:
        """T's maps, from what the encoder says beside loc and log_scale."""
        if self.flow == "iaf":
            return [OfNetwork(each, rest) for each in self.maps]
        if self.flow == "maf":
            return [Turned(OfNetwork(each, rest)) for each in self.maps]
        each = rest.unflatten(-1, (self.transforms, -1)).unbind(-2)
        member = AMORTISED[self.flow]
        return [member(numbers, self.latent, place) for place, numbers in enumerate(each)]
