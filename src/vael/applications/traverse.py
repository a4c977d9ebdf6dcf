"""Moving a latent and looking at what x does: along units, over a plane, by differences."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vael.applications.generate import centres
from vael.applications.reconstruct import encode
from vael.data.dataset import Split
from vael.distributions.diagonal_gaussian import StandardGaussian
from vael.errors import RecipeError
from vael.models.vae import VAE
from vael.priors.base import Prior


def quantiles(steps: int, *, ends: float = 0.02) -> Tensor:
    """`steps` numbers that part N(0, 1) into equal masses, from its `ends` quantile to that of 1 − ends, `(S,)`."""
    if steps < 2:
        raise RecipeError(f"traverse: needs at least 2 steps, the ends; got {steps}.")
    found: Tensor = torch.special.ndtri(torch.linspace(ends, 1 - ends, steps, dtype=torch.float64))
    return found


def most_told(model: VAE, split: Split, count: int) -> list[int]:
    """The `count` units on a line whose posterior mean moves most over `split`, counted from 0, most first."""
    means, _ = encode(model, split)
    straight = torch.tensor(on_a_line(model.prior))
    return [unit for unit in torch.argsort(means.var(0), descending=True).tolist() if straight[unit]][:count]


def traverse(model: VAE, z: Tensor, units: Sequence[int], values: Tensor, *, given: Tensor | None = None) -> Tensor:
    """Centres of p(x|z) with one unit of z `(D,)` at a time put to each of `values` `(S,)`: `(units, S, *event)`.

    Raises RecipeError for a unit that z does not have, or one that is part of a state or of a point in curved space.
    """
    check_units(model, units)
    straight = on_a_line(model.prior)
    if not any(straight) or not all(straight[unit] for unit in units):
        bent = "z" if not any(straight) else next(f"z{unit + 1}" for unit in units if not straight[unit])
        raise RecipeError(
            f"traverse: {bent} is part of a state, or of a point in curved space, and has no line of its own to move "
            f"along.\n  Use vael interpolate, from one row to another."
        )
    lines = z.expand(len(units), len(values), -1).clone()
    for line, unit in enumerate(units):
        lines[line, :, unit] = values.to(lines)
    x: Tensor = centres(model, lines.flatten(0, 1), given).unflatten(0, (len(units), len(values)))
    return x


def manifold(model: VAE, *, units: tuple[int, int] = (0, 1), steps: int = 20, given: Tensor | None = None) -> Tensor:
    """Centres of p(x|z) over the plane of two units at the prior's quantiles, the others at 0: `(S, S, *event)`.

    The first unit grows to the right, the second upwards, and every picture stands for an equal share of the prior's
    mass in the plane. Raises RecipeError unless the prior is N(0, I) of at least two numbers.
    Source: Kingma & Welling 2013, appendix A (arXiv 1312.6114).
    """
    if model.prior.family is not StandardGaussian or model.latent < 2:
        raise RecipeError(
            f"manifold: goes by the quantiles of N(0, I) in at least two numbers; the prior is "
            f"{type(model.prior).__name__} of {model.latent}.\n  Use vael traverse."
        )
    check_units(model, units)
    at = torch.special.ndtri(shares(steps))
    up, right = torch.meshgrid(at.flip(0), at, indexing="ij")
    z = torch.zeros(steps, steps, model.latent, dtype=torch.float64)
    z[..., units[0]], z[..., units[1]] = right, up
    x: Tensor = centres(model, z.flatten(0, 1), given).unflatten(0, (steps, steps))
    return x


def shares(steps: int) -> Tensor:
    """The middles of `steps` equal parts of [0, 1], `(S,)`."""
    return (torch.arange(steps, dtype=torch.float64) + 0.5) / steps


def analogy(model: VAE, split: Split) -> Tensor:
    """The centre of p(x|z) at z_c + z_b − z_a for three examples a, b, c of `split`: a is to b as c is to it.

    `(1, *event)`. Raises RecipeError unless there are three.
    """
    if len(split) != 3:
        raise RecipeError(f"analogy: needs three rows, as in 3,8,11 for 3 is to 8 as 11 is to what; got {len(split)}.")
    (a, b, c), _ = encode(model, split)
    told = split.told()
    return centres(model, (c + b - a)[None], None if told is None else told[2:])


def direction(model: VAE, split: Split, towards: Tensor, away: Tensor) -> Tensor:
    """Mean z of the examples that `towards` `(N,)` marks less that of those `away` marks, `(D,)`: an attribute.

    Raises RecipeError where one of them marks none.
    """
    if not towards.any() or not away.any():
        raise RecipeError("analogy: no example has the value moved towards, or none that moved away from.")
    means, _ = encode(model, split)
    return means[towards.cpu()].mean(0) - means[away.cpu()].mean(0)


def on_a_line(prior: Prior) -> list[bool]:
    """Of each number of z, whether it may be any number: no part of a state, or of a point in curved space."""
    return [
        not (getattr(level.family, "discrete", False) or getattr(level.family, "space", ""))
        for level in getattr(prior, "levels", [prior])
        for _ in range(level.latent)
    ]


def check_units(model: VAE, units: Sequence[int]) -> None:
    """Raise RecipeError for a unit that z does not have."""
    wrong = [unit for unit in units if not 0 <= unit < model.latent]
    if wrong:
        raise RecipeError(f"unit z{wrong[0] + 1}: is not there; z has {model.latent} numbers, z1 … z{model.latent}.")
