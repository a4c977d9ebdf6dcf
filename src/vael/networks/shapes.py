"""Shapes as networks speak of them."""

from collections.abc import Sequence

from torch import Tensor

from vael.errors import ShapeError

Shape = int | Sequence[int]


def as_shape(shape: Shape) -> tuple[int, ...]:
    """`shape` as a tuple: 784 is (784,)."""
    return (shape,) if isinstance(shape, int) else tuple(shape)


def leading_axes(x: Tensor, inputs: Shape, name: str) -> tuple[int, ...]:
    """The axes of x before its last ones, which must be `inputs`. Raises ShapeError in the name of `name`."""
    shape = as_shape(inputs)
    if tuple(x.shape[max(x.dim() - len(shape), 0) :]) != shape:
        raise ShapeError(
            f"{name}: got {tuple(x.shape)}, expected (…, {', '.join(map(str, shape))}).\n"
            f"  Reshape the data, or build the network with other inputs."
        )
    return tuple(x.shape[: x.dim() - len(shape)])
