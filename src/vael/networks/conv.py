"""Convolutional networks for pictures of any size."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn

from vael.errors import RecipeError
from vael.networks.activations import activation_of
from vael.networks.mlp import Beside
from vael.networks.shapes import leading_axes

# Twice the stride, so that every pixel of a transposed convolution is made of as many pixels below it as its
# neighbour; with 3 they alternate, which shows as a chequerboard.
KERNEL = 4

Size = tuple[int, int]
Biases = Literal["per_pixel", "per_channel"]


class Residual(nn.Module):
    """x + branch(x) over `(B, C, H, W)`; the branch, two 3 × 3 convolutions, is zero until it has learned something."""

    def __init__(self, channels: int, activation: str) -> None:
        super().__init__()
        last = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(last.weight)
        self.branch = nn.Sequential(
            activation_of(activation, "Residual"),
            nn.Conv2d(channels, channels, 3, padding=1),
            activation_of(activation, "Residual"),
            last,
        )
        assert last.bias is not None
        nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.branch(x)
        return out


class ConvEncoder(nn.Module):
    """Pictures `(..., C, H, W)` → `(..., outputs)`: strides of two, then one linear layer.

    Each level halves height and width, rounded down, so any size will do, odd or oblong.

    Args:
        inputs: (C, H, W), the shape of one picture.
        channels: Of each level, the finest first.
        outputs: Number of outputs.
        blocks: Residual blocks after the stride of every level.
        activation: relu, tanh, silu, gelu or softplus.
        given: C, how many numbers it is told beside the picture; the first level adds V · given to its channels.

    Raises RecipeError when there are more levels than H and W can be halved, or a number is impossible.
    """

    def __init__(
        self, inputs: Sequence[int], channels: Sequence[int], outputs: int, *, blocks: int = 0,
        activation: str = "silu", given: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        sizes = halved(inputs, channels, blocks, "ConvEncoder")
        if not (isinstance(outputs, int) and outputs >= 1):
            raise RecipeError(f"ConvEncoder: outputs must be a whole number of at least 1, got {outputs!r}.")
        self.inputs, self.channels, self.outputs = list(inputs), list(channels), outputs
        self.blocks, self.activation = blocks, activation
        layers: list[nn.Module] = []
        for before, after in pairwise([inputs[0], *channels]):
            layers.append(nn.Conv2d(before, after, KERNEL, stride=2, padding=1))
            layers += [Residual(after, activation) for _ in range(blocks)]
            layers.append(activation_of(activation, "ConvEncoder"))
        self.levels = nn.Sequential(*layers)
        self.head = nn.Linear(prod(sizes[-1]) * channels[-1], outputs)
        self.given = given
        self.beside = Beside(given, channels[0], "ConvEncoder") if given else None

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """given `(..., C)` may have leading axes that x has not. Raises ShapeError when the last axes of x are not
        `inputs`, or given is not C numbers."""
        leading = leading_axes(x, self.inputs, "ConvEncoder")
        told = None if self.beside is None else self.beside(given)
        if told is not None and told.dim() - 1 > len(leading):
            leading = tuple(told.shape[:-1])
            x = x.expand(*leading, *self.inputs)
        # Channels last is what the kernels compute in: 3 % off the step of a 32 × 32 colour model on one thread.
        pictures = x.reshape(prod(leading), *self.inputs).contiguous(memory_format=torch.channels_last)
        first, *others = self.levels
        pictures = first(pictures)
        if told is not None:
            pictures = pictures + told.expand(*leading, told.shape[-1]).reshape(prod(leading), -1)[..., None, None]
        for level in others:
            pictures = level(pictures)
        features = pictures.permute(0, 2, 3, 1).flatten(1)  # a view of channels that come last
        out: Tensor = self.head(features)
        return out.reshape(*leading, self.outputs)


class ConvDecoder(nn.Module):
    """Latents `(..., inputs)` → `(..., C, H, W)`: a linear layer, then transposed strides of two to the exact size.

    Args:
        inputs: Number of inputs.
        channels: Of each level, the coarsest first.
        outputs: (C, H, W), the shape of one output; C counts each pixel's parameters.
        blocks: Residual blocks before the stride of every level.
        activation: relu, tanh, silu, gelu or softplus.
        bias: What is added in the end: a number for each output, "per_pixel", or for each channel, "per_channel".

    Raises RecipeError when there are more levels than H and W can be halved, or a number is impossible.
    """

    def __init__(
        self,
        inputs: int,
        channels: Sequence[int],
        outputs: Sequence[int],
        *,
        blocks: int = 0,
        activation: str = "silu",
        bias: Biases = "per_pixel",
    ) -> None:
        super().__init__()
        sizes = halved(outputs, channels, blocks, "ConvDecoder")[::-1]
        if not (isinstance(inputs, int) and inputs >= 1):
            raise RecipeError(f"ConvDecoder: inputs must be a whole number of at least 1, got {inputs!r}.")
        if bias not in ("per_pixel", "per_channel"):
            raise RecipeError(f"ConvDecoder: bias must be per_pixel or per_channel, got {bias!r}.")
        self.inputs, self.channels, self.outputs = inputs, list(channels), list(outputs)
        self.blocks, self.activation, self.bias = blocks, activation, bias
        self.coarse = (*sizes[0], channels[0])
        self.first = nn.Linear(inputs, prod(self.coarse))
        layers: list[nn.Module] = []
        for (before, after), (low, high) in zip(pairwise([*channels, outputs[0]]), pairwise(sizes), strict=True):
            layers += [Residual(before, activation) for _ in range(blocks)]
            layers += [activation_of(activation, "ConvDecoder"), doubling(before, after, low, high)]
        self.levels = nn.Sequential(*layers)
        self.offset = nn.Parameter(torch.zeros(outputs[0], *(outputs[1:] if bias == "per_pixel" else (1, 1))))

    @torch.no_grad()
    def begin(self, values: Tensor) -> None:
        """Start at the data's marginal: the bias becomes `values`, `(C, H, W)` numbers, or their mean for each channel.

        On the Frey faces a bias for each pixel is worth 150 nats after 900 steps: what the levels below would else
        have to learn is where the face is.
        """
        values = values.reshape(self.outputs)
        self.offset.copy_(values if self.bias == "per_pixel" else values.mean((1, 2), keepdim=True))

    def forward(self, z: Tensor) -> Tensor:
        """Raises ShapeError when the last axis of z is not `inputs`."""
        leading = leading_axes(z, self.inputs, "ConvDecoder")
        coarse = self.first(z.reshape(prod(leading), self.inputs)).unflatten(1, self.coarse).permute(0, 3, 1, 2)
        # Likelihoods read parameter by parameter, so channels come first again.
        out: Tensor = self.levels(coarse).contiguous() + self.offset
        return out.reshape(*leading, *self.outputs)


def doubling(before: int, after: int, low: Size, high: Size) -> nn.ConvTranspose2d:
    """The transposed convolution from pictures of size `low` to `high`, twice as large and perhaps a pixel more."""
    odd = (high[0] - 2 * low[0], high[1] - 2 * low[1])
    return nn.ConvTranspose2d(before, after, KERNEL, stride=2, padding=1, output_padding=odd)


def halved(picture: Sequence[int], channels: Sequence[int], blocks: int, name: str) -> list[Size]:
    """Height and width of a `picture` (C, H, W), and after each of the levels of `channels`, the finest first.

    Raises RecipeError, in the name of `name`, where that cannot be.
    """
    if isinstance(picture, int) or len(picture) != 3 or min(picture) < 1:
        raise RecipeError(f"{name}: works on pictures (channels, height, width), got {picture!r}.")
    if min(channels, default=1) < 1 or blocks < 0:
        raise RecipeError(f"{name}: takes channels of at least 1 and blocks of at least 0, got {channels}, {blocks}.")
    height, width = picture[1:]
    most = min(height, width).bit_length() - 1
    if not 1 <= len(channels) <= most:
        raise RecipeError(
            f"{name}: {len(channels)} channels, but {height} × {width} pixels can be halved {most} times.\n"
            f"  Give 1 to {most} channels, one for each level."
            if most
            else f"{name}: {height} × {width} pixels cannot be halved. Use an MLP."
        )
    return [(height >> level, width >> level) for level in range(len(channels) + 1)]
