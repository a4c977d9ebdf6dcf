"""Maps of one number after another, by masked networks."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from zuko.flows import MaskedAutoregressiveTransform
from zuko.transforms import MonotonicRQSTransform

BINS = 8
UNIVARIATE = {
    "affine": {},
    "spline": {"univariate": partial(MonotonicRQSTransform, slope=1e-3), "shapes": [(BINS,), (BINS,), (BINS - 1,)]},
}


class AutoregressiveMap(nn.Module):
    """u ↦ z with z_j = f(u_j; parameters that a masked network makes of u_1 … u_{j−1} and a context), f increasing.

        log |det ∂z/∂u| = Σ_j log f'(u_j)

    It is the identity to begin with: the network's last layer is zero. z takes one pass through the network, u from z
    as many as the numbers stand in groups behind each other.

    Args:
        dims: D.
        context: How many numbers the network is told beside u; 0 for none.
        hidden: Widths of its hidden layers.
        univariate: f is "affine", with a scale between 10⁻³ and 10³, or a "spline": rational-quadratic with 8 bins on
            [−5, 5], the identity outside.
        groups: In how many groups the numbers stand behind each other: D, each behind all before it, when left out;
            with 2, the second half behind the first, it is a coupling.
        reverse: Whether the last number comes first.

    Source: Papamakarios, Pavlakou & Murray 2017 (arXiv 1705.07057); Durkan et al. 2019, Neural spline flows
        (arXiv 1906.04032); by zuko's transforms.
    """

    def __init__(
        self, dims: int, *, context: int = 0, hidden: Sequence[int] = (64, 64), univariate: str = "affine",
        groups: int | None = None, reverse: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        order = torch.arange(dims)
        self.transform = MaskedAutoregressiveTransform(
            features=dims, context=context, passes=groups, order=order.flip(0) if reverse else order,
            hidden_features=list(hidden), activation=nn.ELU, **UNIVARIATE[univariate],
        )  # fmt: skip
        network = getattr(self.transform, "hyper", None)  # a single number without context has bare parameters instead
        for parameter in (self.transform if network is None else network[-1]).parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, value: Tensor, context: Tensor | None = None, way: str = "forward"
    ) -> tuple[Tensor, Tensor | None]:
        """z and its log-determinant `(...)` of u, or, the other `way` "inverse", u of z and None."""
        transform = self.transform(context)
        if way == "inverse":
            return transform.inv(value), None
        z, log_det = transform.call_and_ladj(value)
        return z, log_det
