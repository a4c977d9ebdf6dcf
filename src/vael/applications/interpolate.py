"""The way from one example to another through the latent space."""

from itertools import pairwise

import torch
from torch import Tensor

from vael.applications.generate import centres
from vael.applications.reconstruct import encode
from vael.data.dataset import Split
from vael.errors import RecipeError
from vael.models.vae import VAE

SAME = 1e-6  # radians: below it a great circle and a straight line are one, and sin Ω divides nothing


def interpolate(model: VAE, split: Split, *, steps: int = 10, spherical: bool = False) -> Tensor:
    """Centres of p(x|z) along the way between the posterior means of each example of `split` and the next.

    split: R examples, at least two, in the order of the way. steps: Points of each way, both ends among them.
    spherical: Along great circles instead of straight lines; see `arc`.

    Returns `(R − 1, steps, *event)` in the model's units; the ends of a way are the reconstructions of its examples.
    Raises RecipeError for fewer than two examples or steps, and where no single great circle joins two latents.
    """
    if len(split) < 2 or steps < 2:
        raise RecipeError(
            f"interpolate: needs at least two rows and two steps, the ends; got {len(split)} rows and {steps} steps."
        )
    means, _ = encode(model, split)
    way, shares = arc if spherical else line, torch.linspace(0, 1, steps, dtype=torch.float64)
    z = torch.cat([way(start, end, shares) for start, end in pairwise(means)])
    told = split.told()
    if told is not None:  # what is given goes straight from one to the other
        told = torch.cat([line(start, end, shares.to(told)) for start, end in pairwise(told)])
    x: Tensor = centres(model, z, told).unflatten(0, (len(split) - 1, steps))
    return x


def line(start: Tensor, end: Tensor, shares: Tensor) -> Tensor:
    """(1 − t) a + t b for a, b `(D,)` and every t of `shares` `(S,)`: `(S, D)`."""
    return torch.lerp(start, end, shares[:, None])


def arc(start: Tensor, end: Tensor, shares: Tensor) -> Tensor:
    """[sin((1 − t) Ω) a + sin(t Ω) b] / sin Ω, Ω the angle between a and b: `(S, D)`, ends included.

    A straight line between two draws of a normal prior in many dimensions passes through the middle, where the prior
    has hardly any mass; the great circle stays as far out as its ends. Raises RecipeError for opposite latents.
    Source: Shoemake 1985, SIGGRAPH; for latents White 2016, section 2 (arXiv 1609.04468).
    """
    unit_start, unit_end = (torch.nn.functional.normalize(z, dim=0) for z in (start, end))
    # atan2 keeps its digits at angles near 0 and π, where the arc cosine loses half of them.
    angle = 2 * torch.atan2((unit_start - unit_end).norm(), (unit_start + unit_end).norm())
    if angle < SAME:
        return line(start, end, shares)
    if torch.pi - angle < SAME:
        raise RecipeError(
            "interpolate: two latents lie opposite to each other, and no single great circle joins them.\n"
            "  Leave out --spherical, or choose another row."
        )
    t = shares[:, None]
    return (torch.sin((1 - t) * angle) * start + torch.sin(t * angle) * end) / torch.sin(angle)
