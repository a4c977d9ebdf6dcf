"""KL divergences in closed form, by the pair of distribution types; looked up once, when a model is built.

torch's own `kl_divergence` resolves the pair at every call, which breaks a full-graph compile; and a pair it does not
know raises, where we want to fall back to Monte Carlo.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

ClosedKL = Callable[[Any, Any], Tensor]

_KNOWN: dict[tuple[type, type], ClosedKL] = {}


def closed_kl(q: type, p: type) -> Callable[[ClosedKL], ClosedKL]:
    """Register a function (q, p) → KL(q‖p) in nats per example, shape of the batch, for these two types."""

    def register(function: ClosedKL) -> ClosedKL:
        _KNOWN[q, p] = function
        return function

    return register


def find_kl(q: type | None, p: type | None) -> ClosedKL | None:
    """The registered KL(q‖p) of two distribution types, or None where it must be estimated from draws."""
    return None if q is None or p is None else _KNOWN.get((q, p))
