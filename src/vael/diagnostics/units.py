"""What each latent unit carries."""

from typing import Any

import torch
from torch import Tensor

from vael.distributions.kl import find_unit_kl

ACTIVE = 0.01  # Var_x(E[z|x]) above which a unit counts as active (Burda et al. 2016, section 5)


def unit_rates(q: Any, p: Any) -> Tensor | None:
    """KL(q_j‖p_j) of each unit in nats, `(B, D)`, where both factorise over units in closed form; else None.

    The numbers of a one-hot choice have a rate together and none of their own.
    """
    if getattr(q, "drawn", p) is None:  # a chain's rates are those of draws, of which there are none
        return None
    by_unit = find_unit_kl(type(q), type(p))
    rates = None if by_unit is None else by_unit(q, p)
    return rates if rates is not None and rates.shape[-1] == q.event_shape[-1] else None


def active_units(means: Tensor, threshold: float = ACTIVE) -> int:
    """How many units move with the data: Var_x(E[z|x]) > `threshold`, for posterior means `(N, D)`, N ≥ 2.

    Use the whole split, or a shuffled part: files ordered by class show one class's variance.
    Source: Burda, Grosse & Salakhutdinov 2016, section 5.
    """
    return int((means.var(0) > threshold).sum()) if len(means) > 1 else 0


def posterior_mean(q: object) -> Tensor:
    """E_q[z], `(B, D)`."""
    mean = getattr(q, "mean", None)
    if not isinstance(mean, Tensor):
        raise TypeError(f"posterior_mean: {type(q).__name__} has no mean.")
    return mean.to(torch.float64)
