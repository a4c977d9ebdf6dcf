"""New examples: z from the prior, x from the likelihood."""

import torch
from torch import Tensor

from vael.errors import RecipeError
from vael.models.vae import VAE
from vael.noise import stream

AT_ONCE = 4096


def generate(model: VAE, count: int, *, seed: int, mean: bool = False) -> Tensor:
    """`count` draws of p(x), `(count, *event)`, in the model's units; with `mean`, centres of p(x|z) instead.

    The same seed gives the same examples. Raises RecipeError when `count` is below 1.
    """
    if count < 1:
        raise RecipeError(f"sample: the number of examples must be at least 1, got {count}.")
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            pieces = []
            for place, first in enumerate(range(0, count, AT_ONCE)):
                some = min(AT_ONCE, count - first)
                (eps,) = model.noise(1, some, seed=seed, step=place).latents
                prior = model.prior()
                pieces.append(decoded(model, prior.from_noise(eps[0]), seed=seed, place=place, mean=mean))
            return torch.cat(pieces)
    finally:
        model.train(was_training)


def decoded(model: VAE, z: Tensor, *, seed: int, place: int = 0, mean: bool = True) -> Tensor:
    """x `(B, *event)` for z `(B, D)`: the centre of p(x|z), or a draw of it by (seed, place)."""
    law = model.likelihood(z)
    if mean:
        return model.likelihood.centre(law)
    generator = stream(seed, place, purpose="draw x", device=z.device)
    return model.likelihood.draw(law, generator)


def centres(model: VAE, z: Tensor) -> Tensor:
    """Centres of p(x|z), `(N, *event)`, for any number of z `(N, D)`."""
    was_training, like = model.training, next(model.parameters())
    model.eval()
    try:
        with torch.inference_mode():
            return torch.cat([decoded(model, piece.to(like), seed=0) for piece in z.split(AT_ONCE)])
    finally:
        model.train(was_training)
