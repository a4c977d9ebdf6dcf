"""Fully connected networks."""

from collections.abc import Sequence
from itertools import islice, pairwise
from math import prod

import torch
from torch import Tensor, nn

from vael.errors import RecipeError, ShapeError
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
        given: C, how many numbers it is told beside its inputs; the first layer adds V · given.
        skip: Whether a linear map from inputs to outputs is added, past the hidden layers: S x. Without any it is none.
    """

    def __init__(
        self, inputs: Shape, hidden: Sequence[int], outputs: Shape, *, activation: str = "relu", given: int = 0,
        skip: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        widths = [prod(as_shape(inputs)), *hidden, prod(as_shape(outputs))]
        if min(widths) < 1:
            raise RecipeError(f"MLP: every layer needs at least one unit, got {widths}.")
        self.inputs, self.hidden, self.outputs, self.activation = inputs, list(hidden), outputs, activation
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), activation_of(activation, "MLP")]
        self.layers = nn.Sequential(*layers[:-1])
        self.given, self.skip = given, skip
        self.beside = Beside(given, widths[1], "MLP") if given else None
        self.past = nn.Linear(widths[0], widths[-1], bias=False) if skip and hidden else None

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

    @torch.no_grad()
    def begin_affine(self, weight: Tensor, bias: Tensor) -> None:
        """Become x ↦ weight x + bias, `(outputs, inputs)` and `(outputs,)`: the hidden layers add 0 to begin with.

        Raises RecipeError without a skip.
        """
        if self.past is None:
            raise RecipeError("MLP: begin_affine needs skip=True, a linear map past hidden layers.")
        self.past.weight.copy_(weight)
        self.head.weight.zero_()
        self.head.bias.copy_(bias)

    def body(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """What the last linear layer is handed, `(..., width)`. Raises ShapeError when x does not end in `inputs`."""
        leading_axes(x, self.inputs, "MLP")
        flattened = len(as_shape(self.inputs))
        hidden = x.flatten(-flattened) if flattened > 1 else x
        for place, layer in enumerate(islice(self.layers, len(self.layers) - 1)):
            hidden = layer(hidden)
            if place == 0 and self.beside is not None:
                hidden = hidden + self.beside(given)
        return hidden

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """given `(..., C)` may have leading axes that x has not. Raises ShapeError when the last axes of x are not
        `inputs`, or given is not C numbers."""
        out: Tensor = self.head(self.body(x, given))
        if self.beside is not None and not self.hidden:
            out = out + self.beside(given)
        if self.past is not None:
            out = out + self.past(x.flatten(-len(as_shape(self.inputs))))
        outputs = as_shape(self.outputs)
        return out.unflatten(-1, outputs) if len(outputs) > 1 else out


class Beside(nn.Module):
    """What a first layer adds for the numbers that are given beside x: V · given, without an offset."""

    def __init__(self, given: int, outputs: int, name: str) -> None:
        super().__init__()
        if given < 1:
            raise RecipeError(f"{name}: given must be at least 0, got {given}.")
        self.name, self.linear = name, nn.Linear(given, outputs, bias=False)

    def forward(self, given: Tensor | None) -> Tensor:
        """`(..., C)` → `(..., outputs)`. Raises ShapeError when nothing was given, or not C numbers."""
        wanted = self.linear.in_features
        if given is None or given.shape[-1] != wanted:
            got = "none" if given is None else f"shape {tuple(given.shape)}"
            raise ShapeError(
                f"{self.name}: is told {wanted} numbers beside x, and got {got}.\n"
                f"  Hand them over as Batch(x, given=…) of shape (batch, {wanted})."
            )
        told: Tensor = self.linear(given)
        return told


def affine_map(network: nn.Module) -> tuple[Tensor, Tensor] | None:
    """(W, b) when `network` computes W z + b, W `(outputs, inputs)`; None when it is anything else."""
    if isinstance(network, MLP) and not network.hidden and not network.given:
        network = network.head
    if not isinstance(network, nn.Linear):
        return None
    bias = torch.zeros_like(network.weight[:, 0]) if network.bias is None else network.bias
    return network.weight, bias
