"""Fully connected networks."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from vael.errors import RecipeError, ShapeError

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
}

Shape = int | Sequence[int]


def as_shape(shape: Shape) -> tuple[int, ...]:
    """`shape` as a tuple: 784 is (784,)."""
    return (shape,) if isinstance(shape, int) else tuple(shape)


class MLP(nn.Module):
    """Linear layers with an activation between them: `(..., *inputs)` → `(..., *outputs)`.

    Without hidden layers it is an affine map, and a Gaussian VAE made of two of them is probabilistic PCA.

    Args:
        inputs: Number of inputs, or the shape of one, which is flattened.
        hidden: Widths of the hidden layers, possibly none.
        outputs: Number of outputs, or the shape of one.
        activation: relu, tanh, silu, gelu or softplus.
    """

    def __init__(self, inputs: Shape, hidden: Sequence[int], outputs: Shape, *, activation: str = "relu") -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise RecipeError(f"MLP: unknown activation {activation!r}. There are: {', '.join(ACTIVATIONS)}.")
        widths = [prod(as_shape(inputs)), *hidden, prod(as_shape(outputs))]
        if min(widths) < 1:
            raise RecipeError(f"MLP: every layer needs at least one unit, got {widths}.")
        self.inputs, self.hidden, self.outputs, self.activation = inputs, list(hidden), outputs, activation
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers[:-1])

    @property
    def head(self) -> nn.Linear:
        """The last linear layer, whose bias a likelihood may start at the data's own marginal."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        return last

    def forward(self, x: Tensor) -> Tensor:
        """Raises ShapeError when the last axes of x are not `inputs`."""
        shape = as_shape(self.inputs)
        if tuple(x.shape[x.dim() - len(shape) :]) != shape:
            raise ShapeError(
                f"MLP: got {tuple(x.shape)}, expected (…, {', '.join(map(str, shape))}).\n"
                f"  Reshape the data, or build the network with other inputs."
            )
        out: Tensor = self.layers(x.flatten(-len(shape)) if len(shape) > 1 else x)
        outputs = as_shape(self.outputs)
        return out.unflatten(-1, outputs) if len(outputs) > 1 else out


def affine_map(network: nn.Module) -> tuple[Tensor, Tensor] | None:
    """(W, b) when `network` computes W z + b, W `(outputs, inputs)`; None when it is anything else."""
    if isinstance(network, MLP) and not network.hidden:
        network = network.head
    if not isinstance(network, nn.Linear):
        return None
    bias = torch.zeros_like(network.weight[:, 0]) if network.bias is None else network.bias
    return network.weight, bias
