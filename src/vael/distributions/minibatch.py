"""The aggregated posterior q̄(z) = 1/N Σ_n q(z|x_n), from the posteriors of one minibatch.

z_i ~ q(z|x_i) for example i of a batch of B; row i of the weights says how much each posterior of the batch counts:

    q̄(z_i) ≈ Σ_m W_im q(z_i|x_m)

Example i is always among those that speak of z_i, so it must not count for more than the 1/N it has in q̄. Weights are
in float64 on the CPU, or of the type and place of a tensor that they are made `like`.
"""

import torch
from torch import Tensor

from vael.errors import RecipeError


def weighted_weights(batch: int, examples: int, *, like: Tensor | None = None) -> Tensor:
    """Every posterior of the batch counts 1/(N B), `(B, B)`: minibatch-weighted sampling.

    Rows sum to 1/N, not to 1: of the examples outside the batch nothing is said, so q̄ comes out far too small. Given
    that example i is in the batch, with q_i = q(z_i|x_i) and o the mean of the other N − 1 densities,

        E Σ_m W_im q(z_i|x_m) = 1/N [q_i/B + (B − 1)/B o],        q̄(z_i) = 1/N [q_i + (N − 1) o],

    so log q̄ is too low by log B where examples lie apart (q_i ≫ N o), by log(N − 1) + log B/(B − 1) ≈ log N where they
    overlap (q_i ≪ o), and each log q̄_j is in the same way. Hence KL(q̄‖p) comes out too low by up to about log N, and
    total correlation, log q̄ − Σ_j log q̄_j, far too HIGH: by about (D − 1) log N where units overlap. Only the factor
    1/N is a constant that a gradient does not see; it still sees the example itself count 1/B instead of 1/N.

    Raises RecipeError unless 2 ≤ batch ≤ examples.
    Source: Chen et al. 2018, Isolating sources of disentanglement in VAEs, appendix C.1 (arXiv 1802.04942).
    """
    _check("weighted_weights", batch, examples)
    return _full(batch, 1 / (examples * batch), like)


def stratified_weights(batch: int, examples: int, *, like: Tensor | None = None) -> Tensor:
    """The example itself counts 1/N, the next one (N − M)/(N M), each other one 1/M, M = B − 1; `(B, B)`.

        E Σ_m W_im q(z_i|x_m) = 1/N q(z_i|x_i) + [(M − 1)/M + (N − M)/(N M)] mean of the others = q̄(z_i),

    since the bracket is (N − 1)/N: unbiased over batches drawn without replacement, and rows sum to 1. The 1/N stands
    on the diagonal; ports of the authors' code have it in the first column, where it belongs to another example.

    Raises RecipeError unless 2 ≤ batch ≤ examples.
    Source: Chen et al. 2018, appendix C.2 (arXiv 1802.04942).
    """
    _check("stratified_weights", batch, examples)
    others = batch - 1
    weights = _full(batch, 1 / others, like)
    row = torch.arange(batch, device=weights.device)
    following = (row.unsqueeze(1) + 1) % batch == row
    weights = torch.where(following, (examples - others) / (examples * others), weights)
    return weights.fill_diagonal_(1 / examples)


def even_weights(batch: int, examples: int, *, like: Tensor | None = None) -> Tensor:
    """The example itself counts 1/N, each other one (N − 1)/(N M), M = B − 1; `(B, B)`.

    The mean of `stratified_weights` over which example comes next: unbiased as they are, with less variance, and for
    B = N it is q̄ itself, which theirs are not.

    Raises RecipeError unless 2 ≤ batch ≤ examples.
    """
    _check("even_weights", batch, examples)
    return _full(batch, (examples - 1) / (examples * (batch - 1)), like).fill_diagonal_(1 / examples)


def log_aggregated(log_q: Tensor, weights: Tensor) -> Tensor:
    """log Σ_m W_im q(z_i|x_m) in nats, `(..., B)`, from log q(z_i|x_m) `(..., B, B)`, m last, and weights `(B, B)`."""
    return torch.logsumexp(log_q + weights.to(log_q).log(), -1)


def log_aggregated_units(log_q: Tensor, weights: Tensor) -> Tensor:
    """The same for each unit alone, `(..., B, D)`, from log q_j(z_ij|x_m) `(..., B, B, D)`, m before the last axis."""
    return log_aggregated(log_q.movedim(-1, 0), weights).movedim(0, -1)


def _full(batch: int, value: float, like: Tensor | None) -> Tensor:
    dtype, device = (torch.float64, torch.device("cpu")) if like is None else (like.dtype, like.device)
    return torch.full((batch, batch), value, dtype=dtype, device=device)


def _check(name: str, batch: int, examples: int) -> None:
    if not 2 <= batch <= examples:
        raise RecipeError(
            f"{name}: needs a batch of at least 2 of the data's examples, got batch {batch} of {examples} examples."
        )
