"""Whether the decoder uses z, whether it can do without, and what decoding a mean hides."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vael.data.batch import Batch
from vael.data.dataset import Split, positions
from vael.diagnostics.draws import EXAMPLES_AT_ONCE, at_rest, posterior_draws, posteriors, some
from vael.diagnostics.units import posterior_mean
from vael.errors import RecipeError
from vael.models.vae import VAE
from vael.noise import stream
from vael.numbers import Number


@dataclass(frozen=True)
class DecoderUse:
    """What z is worth to the decoder, in nats per example; differences are paired by example.

    distortion: −E_q[log p(x|z)]. of_z: by how much more it is when z comes from another example; near 0 the decoder
    ignores z. of_x: what the decoder knows of an example's features from one another, z aside; 0 where it takes
    features to be independent given z. at_mean: by how much less the distortion seems to be when E[z|x] is decoded.
    """

    distortion: Number
    of_z: Number
    of_x: Number
    at_mean: Number


def decoder_use(model: VAE, split: Split, *, examples: int | None = 2000, draws: int = 1, seed: int = 0) -> DecoderUse:
    """The four measurements on at most `examples` shuffled examples of `split`, `draws` draws of z for each.

    Raises RecipeError for fewer than two examples: there is no other one to take z from.
    """
    if len(split) < 2:
        raise RecipeError(f"decoder_use: needs at least 2 examples to exchange z between, got {len(split)}.")
    with at_rest(model):
        part = some(split.settled(seed=0).to(model.device), examples, seed)
        z = posterior_draws(model, part, draws=draws, seed=seed)
        own = distortions(model, part, z) - part.log_jacobian
        other = shuffled(model, part, z)
        means = torch.cat([posterior_mean(q) for _, q in posteriors(model, part)]).to(z)
        return DecoderUse(
            distortion=Number.of(own),
            of_z=Number.of(other - (own + part.log_jacobian)),
            of_x=Number.of(broken(model, part, z, seed=seed) - other),
            at_mean=Number.of(own + part.log_jacobian - distortions(model, part, means.unsqueeze(0))),
        )


def distortions(model: VAE, split: Split, z: Tensor) -> Tensor:
    """−mean over draws of log p(x|z) in the model's units, nats, `(N,)` float64, for z `(K, N, D)`."""
    return _over(model, _batches(split), z)


def shuffled(model: VAE, split: Split, z: Tensor) -> Tensor:
    """`distortions` with the z of the example before: none keeps its own, and the order of `split` is chance."""
    return distortions(model, split, z.roll(1, dims=1))


def broken(model: VAE, split: Split, z: Tensor, *, seed: int = 0) -> Tensor:
    """`shuffled` for examples put together of features from different examples, nats, `(N,)`.

    Where the decoder takes features to be independent given z, its mean is that of `shuffled`, for then only each
    feature's own distribution matters. A decoder that looks at other features than the one it scores is worse off by
    about what it has learned of how they go together.
    """
    rows = len(split)
    order = [torch.randperm(rows, generator=stream(seed, f, purpose="break")) for f in range(model.likelihood.dims)]
    places = torch.stack(order, 1).to(split.x.device)  # (N, F)
    x = torch.cat([batch.x for _, batch in _batches(split)])
    mixed = x.flatten(1).gather(0, places).reshape(x.shape)
    observed = None if split.observed is None else split.observed.gather(0, places)
    whole = replace(split, x=mixed, observed=observed, divisor=1.0)
    return _over(model, _batches(whole), z.roll(1, dims=1))


def _batches(split: Split) -> Iterator[tuple[Tensor, Batch]]:
    for rows in positions(split, EXAMPLES_AT_ONCE):
        yield rows, split.batch(rows.to(split.x.device))


def _over(model: VAE, batches: Iterator[tuple[Tensor, Batch]], z: Tensor) -> Tensor:
    return torch.cat([-model.log_px_z(batch, z[:, rows]).to("cpu", torch.float64).mean(0) for rows, batch in batches])
