"""A network that looks at the end of its input alone."""

from torch import Tensor, nn

from vael.errors import RecipeError


class Last(nn.Module):
    """The last numbers of an input, then another network: for a decoder that sees the lowest level of a chain.

    Args:
        network: What comes after; it has as many `inputs` as it is to see.
        inputs: How many numbers there are in all.

    Raises RecipeError where there are fewer than the network takes.
    """

    def __init__(self, network: nn.Module, inputs: int) -> None:
        super().__init__()
        self.network, self.inputs = network, inputs
        self.outputs, self.seen = network.outputs, network.inputs
        if not (isinstance(self.seen, int) and self.seen <= inputs):
            raise RecipeError(f"Last: its network takes {self.seen} numbers, of {inputs} inputs.")

    def forward(self, x: Tensor) -> Tensor:
        """`(..., inputs)` → `(..., *outputs)`."""
        found: Tensor = self.network(x[..., self.inputs - self.seen :])  # type: ignore[operator]
        return found
