"""log p(x) by importance sampling from the posterior, for exactly the draws asked for."""

import math

import torch

from vael.data.dataset import Split, positions
from vael.errors import RecipeError
from vael.evidence.estimate import Estimate
from vael.models.vae import DRAWS_PER_STREAM, VAE

LARGEST_CHUNK = 2**19  # features decoded at once: 2 MiB a tensor stays in cache; 2**23 took 2 × the CPU time


def importance(model: VAE, split: Split, *, draws: int, seed: int = 0, chunk: int = LARGEST_CHUNK) -> Estimate:
    """log p(x) of every example of `split`, from the mean of K importance weights.

        log p̂(x) = log 1/K Σ_k w_k,    w_k = p(x, z_k) / q(z_k|x),   z_k ~ q(z|x)

    In expectation a lower bound of log p(x), with variance (1/ESS − 1/K) by the delta method and
    ESS = (Σ w)² / Σ w². Weights are streamed in pieces of at most `chunk` decoded features, so K is bounded by
    patience, not memory. The draws of an example depend on (seed, its row, K) alone: pieces and batches do not matter.

    Raises RecipeError when `draws` is below 1.
    Source: Rezende, Mohamed & Wierstra 2014, appendix E; Burda et al. 2016, section 3.
    """
    if draws < 1:
        raise RecipeError(f"importance: draws must be at least 1, got {draws}.")
    room = max(1, chunk // max(model.likelihood.dims, model.latent))  # examples × draws in one piece
    at_once = min(draws, max(1, room // DRAWS_PER_STREAM) * DRAWS_PER_STREAM)
    split, was_training = split.settled(seed=0).to(model.device), model.training
    model.eval()
    try:
        with torch.inference_mode():
            size = max(1, room // at_once)
            return Estimate.join(
                [_of_some(model, split, rows, draws, at_once, seed) for rows in positions(split, size)]
            )
    finally:
        model.train(was_training)


def _of_some(model: VAE, split: Split, rows: torch.Tensor, draws: int, at_once: int, seed: int) -> Estimate:
    batch = split.batch(rows.to(model.device))
    examples = split.index[rows].tolist()
    once = torch.full((len(rows),), -math.inf, dtype=torch.float64)
    twice = once.clone()
    for first in range(0, draws, at_once):
        noise = model.noise_for(examples, range(first, min(first + at_once, draws)), seed=seed)
        log_w = model.terms(batch, noise).log_w.to("cpu", torch.float64)  # (k, B)
        once = torch.logaddexp(once, log_w.logsumexp(0))
        twice = torch.logaddexp(twice, (2 * log_w).logsumexp(0))
    size = torch.exp(2 * once - twice)
    # One draw says nothing of its own spread.
    error = torch.sqrt(torch.clamp(1 / size - 1 / draws, min=0)) if draws > 1 else torch.full_like(once, math.nan)
    value = once - math.log(draws) + split.log_jacobian[rows]
    return Estimate(value, error, size, draws, "importance", "lower")
