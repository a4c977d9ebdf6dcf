"""New examples: z from the prior, x from the likelihood."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from vael.data.given import given_code
from vael.data.schema import Schema
from vael.distributions.chained import known
from vael.errors import RecipeError
from vael.memory import keep_freed_memory
from vael.models.vae import VAE
from vael.noise import stream
from vael.posteriors.chain import ChainPosterior

AT_ONCE = 4096


def generate(
    model: VAE, count: int, *, seed: int, mean: bool = False, dtype: torch.dtype | None = None,
    given: Tensor | None = None, label: int | None = None,
) -> Tensor:  # fmt: skip
    """`count` draws of p(x), `(count, *event)`, in the model's units; with `mean`, centres of p(x|z) instead.

    given: Of a conditional model, what each is conditioned on, `(count, C)`, or `(1, C)` for all; see `told`.
    label: The code of the class that all shall be of; see `generated`.
    dtype: What they are held in, such as torch.uint8 for zeros and ones or grey values; the model's own when left out.
    The same seed gives the same examples. Raises RecipeError when `count` is below 1.
    """
    whole: Tensor | None = None
    for first, some in generated(model, count, seed=seed, mean=mean, given=given, label=label):
        if whole is None:
            whole = some.new_empty((count, *some.shape[1:]), dtype=dtype)
        whole[first : first + len(some)] = some
    assert whole is not None
    return whole


def generated(
    model: VAE, count: int, *, seed: int, mean: bool = False, given: Tensor | None = None, label: int | None = None
) -> Iterator[tuple[int, Tensor]]:
    """`generate` a few thousand at a time: the number of the first, counted from 0, and the examples `(n, *event)`.

    label: The code of the class that all shall be of, where a chain's first level is one.
    """
    if count < 1:
        raise RecipeError(f"sample: the number of examples must be at least 1, got {count}.")
    if model.given and given is None:
        raise RecipeError(
            f"sample: the model is p(x|given) with {model.given} numbers given, and nothing was.\n"
            f"  Say what, as in --given label=3, or name rows of data to take it from."
        )
    was_training = model.training
    keep_freed_memory()
    try:
        for place, first in enumerate(range(0, count, AT_ONCE)):
            model.eval()
            with torch.inference_mode():
                # A stream for each piece, whatever blocks training takes its noise in: a seed keeps its samples.
                like, shape = next(model.parameters()), (min(AT_ONCE, count - first), model.latent)
                eps = torch.randn(shape, dtype=like.dtype, generator=stream(seed, place, purpose="latent"))
                told = None if given is None else given[first : first + shape[0]] if len(given) > 1 else given
                told = None if told is None else told.to(like).expand(shape[0], -1)
                prior = model.prior(told)
                if label is not None:
                    prior.first = known(prior.first, torch.full(shape[:1], label, device=like.device))
                z = prior.from_noise(eps.to(like.device))
                some = decoded(model, z, seed=seed, place=place, mean=mean, given=told)
            yield first, some  # outside of inference mode, which would else be the caller's too
    finally:
        model.train(was_training)


def asked(model: VAE, schema: Schema, given: Mapping[str, Any] | None) -> tuple[int | None, Mapping[str, Any] | None]:
    """The code of the class that `given` names for a label that is learned, and the rest of what is given."""
    field = schema.label
    learns = isinstance(model.posterior, ChainPosterior) and model.posterior.summed
    if given is None or field is None or field.name not in given or not learns:
        return None, given
    code = given_code(field, given[field.name])
    return code, {name: value for name, value in given.items() if name != field.name} or None


def decoded(
    model: VAE, z: Tensor, *, seed: int, place: int = 0, mean: bool = True, given: Tensor | None = None
) -> Tensor:
    """x `(B, *event)` for z `(B, D)` and given `(B, C)`: the centre of p(x|z), or a draw of it by (seed, place)."""
    law = model.likelihood(z, given)
    if mean:
        return model.likelihood.centre(law)
    generator = stream(seed, place, purpose="draw x", device=z.device)
    return model.likelihood.draw(law, generator)


def centres(model: VAE, z: Tensor, given: Tensor | None = None) -> Tensor:
    """Centres of p(x|z, given), `(N, *event)`, for any number of z `(N, D)` and given `(N, C)` or `(1, C)`."""
    was_training, like = model.training, next(model.parameters())
    model.eval()
    try:
        with torch.inference_mode():
            told = None if given is None else given.to(like).expand(len(z), -1)
            pieces = range(0, len(z), AT_ONCE)
            return torch.cat(
                [
                    decoded(
                        model, z[at : at + AT_ONCE].to(like), seed=0,
                        given=None if told is None else told[at : at + AT_ONCE],
                    )
                    for at in pieces
                ]
            )  # fmt: skip
    finally:
        model.train(was_training)
