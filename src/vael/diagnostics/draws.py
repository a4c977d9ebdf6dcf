"""Draws of z for the examples of a split, with the model held still."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.distributions import Distribution

from vael.data.dataset import Split, positions
from vael.models.vae import VAE

EXAMPLES_AT_ONCE = 500


@contextlib.contextmanager
def at_rest(model: VAE) -> Iterator[None]:
    """While it lasts the model is in evaluation mode and no gradient is kept."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)


def some(split: Split, most: int | None, seed: int) -> Split:
    """At most `most` examples of a settled split, shuffled: files are often in order of class. All for None."""
    chosen = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
    return split.rows(chosen if most is None else chosen[:most])


def posteriors(model: VAE, split: Split, size: int = EXAMPLES_AT_ONCE) -> Iterator[tuple[Tensor, Distribution]]:
    """(positions `(B,)`, q(z|x) of batch shape `(B,)`) of a settled split, piece by piece."""
    for rows in positions(split, size):
        batch = split.batch(rows.to(split.x.device))
        yield rows, model.posterior(batch.x, batch.given, batch.observed)


def posterior_draws(model: VAE, split: Split, *, draws: int, seed: int) -> Tensor:
    """z `(K, N, D)`, K draws from each example's q(z|x), by (seed, row, draw) alone."""
    found = []
    for rows, q in posteriors(model, split):
        (eps,) = model.noise_for(split.index[rows].tolist(), range(draws), seed=seed).latents
        found.append(draw(q, eps))
    return torch.cat(found, 1)


def draw(q: Distribution, eps: Tensor) -> Tensor:
    """A draw `(K, B, D)` of q for each of the noise `(K, B, D)`; by torch's own generator, forked, if q takes none."""
    if hasattr(q, "from_noise"):
        z: Tensor = q.from_noise(eps)
        return z
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(eps.flatten()[0].view(torch.int32 if eps.dtype == torch.float32 else torch.int64)))
        drawn: Tensor = q.sample(torch.Size((len(eps),)))
    return drawn
