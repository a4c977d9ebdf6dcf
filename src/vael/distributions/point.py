"""All mass at one point."""

from typing import Any

from torch import Tensor
from torch.distributions import Distribution

from vael.errors import RecipeError


class Point(Distribution):
    """z = loc, without a density over the numbers around it: what a deterministic encoder says.

    Args:
        loc: Shape `(..., D)`.
        penalties: Named costs of each example `(...)`, beside any density.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012
    has_density = False

    def __init__(self, loc: Tensor, penalties: dict[str, Tensor] | None = None) -> None:
        self.loc, self.penalties = loc, penalties or {}
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self.loc * 0

    def from_noise(self, eps: Tensor) -> Tensor:
        """The point, whatever the noise `(K, ..., D)`, as many times as there is noise."""
        return self.loc.expand(eps.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Raises RecipeError: there is none."""
        raise RecipeError(
            "a deterministic encoder has no density q(z|x), so there is no rate, no bound and no log p(x).\n"
            "  Use posterior gaussian for numbers about log p(x)."
        )
