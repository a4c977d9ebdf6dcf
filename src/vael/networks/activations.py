"""What stands between two layers."""

from torch import nn

from vael.errors import RecipeError

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
}


def activation_of(kind: str, name: str) -> nn.Module:
    """The activation called `kind`. Raises RecipeError in the name of `name` when there is none."""
    if kind not in ACTIVATIONS:
        raise RecipeError(f"{name}: unknown activation {kind!r}. There are: {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[kind]()
