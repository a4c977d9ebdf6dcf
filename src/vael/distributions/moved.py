"""A step that moves and stretches each number on its own."""

from torch import Tensor

from vael.distributions.steps import Step


class Moved(Step):
    """z = loc + exp(log_scale) · u.

    Args:
        loc, log_scale: `(D,)` each.
    """

    def __init__(self, loc: Tensor, log_scale: Tensor) -> None:
        self.loc, self.log_scale = loc, log_scale

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return self.loc + self.log_scale.exp() * u, self.log_scale.sum().expand(u.shape[:-1])

    def inverse(self, z: Tensor) -> Tensor:
        return (z - self.loc) * (-self.log_scale).exp()

    def still(self) -> "Moved":
        return Moved(self.loc.detach(), self.log_scale.detach())

    def like(self) -> Tensor:
        return self.loc
