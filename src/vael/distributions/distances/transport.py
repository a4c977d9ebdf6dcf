"""What it costs to carry one cloud of points onto the other, by squared distance."""

import math

import torch
from torch import Tensor

from vael.distributions.distances.kernels import positive, squared
from vael.errors import ShapeError


def sliced_wasserstein(x: Tensor, y: Tensor, directions: Tensor) -> Tensor:
    """The mean over directions θ of W₂² between the clouds' shadows θᵀx and θᵀy, `(...)`.

    On a line the cheapest way keeps the order, so W₂² is the mean squared difference of sorted shadows.

    x, y: `(..., N, D)`, equally many points each. directions: `(L, D)`, brought to length 1 here.
    Raises ShapeError where one cloud has more points than the other.
    Source: Kolouri et al. 2018, Sliced Wasserstein auto-encoders, eq. 14 (arXiv 1804.01947).
    """
    if x.shape[-2] != y.shape[-2]:
        raise ShapeError(f"sliced_wasserstein: {x.shape[-2]} points against {y.shape[-2]}; their shadows do not pair.")
    unit = torch.nn.functional.normalize(directions, dim=-1)
    shadows = ((cloud @ unit.mT).sort(-2).values for cloud in (x, y))  # (..., N, L)
    return (next(shadows) - next(shadows)).square().mean((-2, -1))


def sinkhorn(x: Tensor, y: Tensor, *, blur: float | Tensor, iterations: int = 30) -> Tensor:
    """The Sinkhorn divergence OT_ε(x, y) − ½ OT_ε(x, x) − ½ OT_ε(y, y), `(...)`, ε = 2 blur².

        OT_ε = min over plans P of Σ P_ij ‖x_i − y_j‖² + ε KL(P ‖ 1/NM)

    It goes from W₂² at blur → 0 to the squared distance of the means at blur → ∞, and is 0 for equal clouds.
    `iterations` of Sinkhorn's steps are made on the logs; their number grows with the clouds' spread over ε. The last
    one alone carries a gradient, Σ P ∂‖x − y‖²: at the optimum the potentials' own derivative is zero.

    blur: In units of x: what is nearer counts as one. Raises RecipeError unless it is above 0.
    Source: Feydy et al. 2019 (arXiv 1810.08278), eq. 3; in an autoencoder Patrini et al. 2019 (arXiv 1810.01118).
    """
    positive("sinkhorn", "blur", blur)
    epsilon = 2 * blur**2

    def between(one: Tensor, other: Tensor) -> Tensor:
        return transport_cost(squared(one, other), epsilon, iterations)

    return between(x, y) - 0.5 * between(x, x) - 0.5 * between(y, y)


def transport_cost(cost: Tensor, epsilon: float | Tensor, iterations: int) -> Tensor:
    """OT_ε of two even clouds, `(...)`, from the cost of every pair `(..., N, M)`, by its dual: mean f + mean g."""
    scaled = cost.detach() / epsilon
    by_row, by_column = torch.zeros_like(scaled[..., 0]), torch.zeros_like(scaled[..., 0, :])  # f/ε and g/ε
    for _ in range(iterations):
        by_row = softmin(scaled - by_column.unsqueeze(-2), -1)
        by_column = softmin(scaled - by_row.unsqueeze(-1), -2)
    last = softmin(cost / epsilon - by_column.unsqueeze(-2), -1)
    return epsilon * (last.mean(-1) + by_column.mean(-1))


def softmin(values: Tensor, dim: int) -> Tensor:
    """−log of the mean of exp(−values) along `dim`."""
    return math.log(values.shape[dim]) - torch.logsumexp(-values, dim)
