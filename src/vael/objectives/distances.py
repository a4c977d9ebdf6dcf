"""The distance of the draws of a batch to as many draws of the prior, by its name."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from vael.distributions import distances
from vael.errors import RecipeError
from vael.models.terms import Terms
from vael.names import closest

Width = float | Tensor


@dataclass(frozen=True)
class Named:
    """A distance by its name: how it is taken, and the width it has where none is said.

    between: (x, y, directions, width) → distance. width: In units of z, from the size of z; None if it has no width.
    """

    between: Callable[[Tensor, Tensor, Tensor, Width], Tensor]
    width: Callable[[int], float] | None
    spare: int = 1


# Under N(0, I) two draws are √(2D) apart. A shadow on a line knows no D: 0.4 is Silverman's rule for 128 points there.
DISTANCES = {
    "mmd_rbf": Named(lambda x, y, _, width: distances.mmd_rbf(x, y, width=width), math.sqrt),
    "mmd_imq": Named(lambda x, y, _, width: distances.mmd_imq(x, y, constant=2 * width**2), math.sqrt),
    "energy": Named(lambda x, y, _, width: distances.energy(x, y), None),
    "sliced": Named(lambda x, y, along, width: distances.sliced_wasserstein(x, y, along), None, spare=2),
    "sinkhorn": Named(lambda x, y, _, width: distances.sinkhorn(x, y, blur=width), lambda dims: math.sqrt(dims) / 4),
    "cramer_wold": Named(lambda x, y, _, width: distances.cramer_wold(x, y, width=width), lambda dims: 0.4),
    "cauchy_schwarz": Named(lambda x, y, _, width: distances.cauchy_schwarz(x, y, width=width), math.sqrt),
}


def check_distance(name: str, distance: str, width: Width | None) -> None:
    """Raise RecipeError unless `distance` is one of `DISTANCES` and `width` is above 0, where it has one."""
    if distance not in DISTANCES:
        raise RecipeError(
            f"{name}: distance must be one of {', '.join(DISTANCES)}, got {distance!r}.{closest(distance, DISTANCES)}"
        )
    if width is None or isinstance(width, Tensor):
        return
    if DISTANCES[distance].width is None:
        raise RecipeError(f"{name}: the distance {distance} has no width, got {width}. Leave it out.")
    if not width > 0:
        raise RecipeError(f"{name}: width must be above 0, got {width}.")


def distance_to_prior(name: str, terms: Terms, distance: str, width: Width | None) -> Tensor:
    """The distance between the B draws z of a batch and B draws of p(z), a scalar; with K draws each, their mean.

    It asks z, and no density of z, so a posterior may have none. The first of the spare normals make the prior's
    draws, the second the directions of shadows. Raises RecipeError where they are missing, or for several levels.
    """
    way = DISTANCES[distance]
    if len(terms.latents) != 1:
        raise RecipeError(f"{name}: is for one level of latents, got {len(terms.latents)}.")
    if terms.spare is None or len(terms.spare) < way.spare:
        raise RecipeError(
            f"{name}: draws from the prior with noise of its own, which these terms lack.\n"
            f"  Make it with model.noise(draws, batch, seed=…, spare={way.spare})."
        )
    (latent,) = terms.latents
    if width is None:
        width = 1.0 if way.width is None else way.width(latent.z.shape[-1])
    (prior,) = latent.p.from_noise(terms.spare[:1])  # (B, D)
    # (K, B, D) against (B, D): each set of draws has a distance of its own.
    return way.between(latent.z, prior.expand_as(latent.z), terms.spare[way.spare - 1], width).mean()
