"""Which of several components a draw comes from, by the normals that the draw is made of."""

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.special import ndtr, ndtri


def choose(eps: Tensor, log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """A component for each standard normal, and a standard normal that is left over.

        u = Φ(ε),   k = the cell of (0, 1) that u falls into, cells as wide as the weights,   ε' = Φ⁻¹((u − l_k) / w_k)

    with l_k the sum of the weights before w_k. u is uniform, so P(k) = w_k; given k it is uniform on (l_k, l_k + w_k),
    so that (u − l_k) / w_k is uniform on (0, 1), whatever k is: ε' is standard normal and independent of k. One normal
    is thus enough for a choice and a normal.

    The cells are cut in float64, since a float32 u has no more than 24 bits to share among them. No gradient comes to
    the weights: a draw jumps where they move, and a derivative of ε' alone would leave the jumps out.

    Args:
        eps: Standard normals, any shape S. log_weights: Normalised, `(..., C)`, `...` broadcastable with S.

    Returns k and ε', each of shape S.
    """
    weights = log_weights.detach().double().exp()
    upto = weights.cumsum(-1)
    u = ndtr(eps.double()).unsqueeze(-1)
    number = (u > upto[..., :-1]).sum(-1, keepdim=True)
    below = picked(pad(upto[..., :-1], (1, 0)), number)
    limits = torch.finfo(torch.float64)
    rest = (u - below) / picked(weights, number).clamp_min(limits.tiny)
    return number.squeeze(-1), ndtri(rest.clamp(limits.tiny, 1 - limits.eps)).squeeze(-1).to(eps.dtype)


def picked(values: Tensor, number: Tensor) -> Tensor:
    """values `(..., C)` at the places `number` `(S, 1)`, shape `(S, 1)`."""
    shape = torch.broadcast_shapes(values.shape[:-1], number.shape[:-1])
    return values.expand(*shape, -1).gather(-1, number.expand(*shape, 1))
