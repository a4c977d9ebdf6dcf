"""Fully connected networks."""

from collections.abc import Sequence
from itertools import islice, pairwise
from math import prod

import torch
from torch import Tensor, nn

from vael.errors import RecipeError
from vael.networks.activations import activation_of
from vael.networks.shapes import Shape, as_shape, leading_axes


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
        widths = [prod(as_shape(inputs)), *hidden, prod(as_shape(outputs))]
        if min(widths) < 1:
            raise RecipeError(f"MLP: every layer needs at least one unit, got {widths}.")
        self.inputs, self.hidden, self.outputs, self.activation = inputs, list(hidden), outputs, activation
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), activation_of(activation, "MLP")]
        self.layers = nn.Sequential(*layers[:-1])

    @property
    def head(self) -> nn.Linear:
        """The last linear layer."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        return last

    @torch.no_grad()
    def begin(self, values: Tensor) -> None:
        """Start a decoder at the data's marginal: the last bias becomes `values`, as many as there are outputs."""
        self.head.bias.copy_(values.flatten())

    def body(self, x: Tensor) -> Tensor:
        """What the last linear layer is given, `(..., width)`. Raises ShapeError when x does not end in `inputs`."""
        leading_axes(x, self.inputs, "MLP")
        flattened = len(as_shape(self.inputs))
        hidden = x.flatten(-flattened) if flattened > 1 else x
        for layer in islice(self.layers, len(self.layers) - 1):
            hidden = layer(hidden)
        return hidden

    def forward(self, x: Tensor) -> Tensor:
        """Raises ShapeError when the last axes of x are not `inputs`."""
        out: Tensor = self.head(self.body(x))
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
