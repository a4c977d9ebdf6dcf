"""KL divergences in closed form, by the pair of distribution types; looked up once, when a model is built.

torch's own `kl_divergence` resolves the pair at every call, which breaks a full-graph compile; and a pair it does not
know raises, where we want to fall back to Monte Carlo.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

ClosedKL = Callable[[Any, Any], Tensor]

_KNOWN: dict[tuple[type, type], ClosedKL] = {}
_BY_UNIT: dict[tuple[type, type], ClosedKL] = {}


def closed_kl(q: type, p: type) -> Callable[[ClosedKL], ClosedKL]:
    """Register a function (q, p) → KL(q‖p) in nats per example, shape of the batch, for these two types."""

    def register(function: ClosedKL) -> ClosedKL:
        _KNOWN[q, p] = function
        return function

    return register


def closed_unit_kl(q: type, p: type) -> Callable[[ClosedKL], ClosedKL]:
    """Register a function (q, p) → KL(q_j‖p_j) of each unit, `(..., D)`, for two types that factorise over units.

    Their sum is the pair's KL, which is registered with it.
    """

    def register(function: ClosedKL) -> ClosedKL:
        def whole(q: Any, p: Any) -> Tensor:
            return function(q, p).sum(-1)

        _BY_UNIT[q, p], _KNOWN[q, p] = function, whole
        return function

    return register


def find_kl(q: type | None, p: type | None) -> ClosedKL | None:
    """The registered KL(q‖p) of two distribution types, or None where it must be estimated from draws."""
    return None if q is None or p is None else _KNOWN.get((q, p))


def find_unit_kl(q: type | None, p: type | None) -> ClosedKL | None:
    """The registered KL of each unit of two distribution types, or None where they do not factorise over units."""
    return None if q is None or p is None else _BY_UNIT.get((q, p))
