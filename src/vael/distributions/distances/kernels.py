"""Maximum mean discrepancy: how far the means of two laws lie apart among the functions of a kernel."""

from collections.abc import Callable

import torch
from torch import Tensor

from vael.errors import RecipeError, ShapeError


def squared(x: Tensor, y: Tensor) -> Tensor:
    """‖x_i − y_j‖² of every pair, `(..., N, M)`, from x `(..., N, D)` and y `(..., M, D)`.

    Raises ShapeError where the points have other sizes.
    """
    if x.shape[-1] != y.shape[-1]:
        raise ShapeError(f"distances: points of {x.shape[-1]} numbers against points of {y.shape[-1]}.")
    return (x.unsqueeze(-2) - y.unsqueeze(-3)).square().sum(-1)


def positive(name: str, what: str, value: float | Tensor) -> None:
    """Raise RecipeError unless `value` is above 0."""
    if not isinstance(value, Tensor) and not value > 0:
        raise RecipeError(f"{name}: {what} must be above 0, got {value}.")


def two_sample(similarity: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, *, unbiased: bool = False) -> Tensor:
    """E s(X, X′) + E s(Y, Y′) − 2 E s(X, Y) for a similarity s of squared distances, `(...)`.

    As a V-statistic the means over a cloud's own pairs include a point with itself, and the same cloud twice over gives
    the same value; with k(0) = 1 it is too high by (1 − E k(X, X′)) / N + (1 − E k(Y, Y′)) / M in expectation.
    `unbiased` leaves those pairs out, the U-statistic: its mean is 0 for equal laws, so it may be negative. A cloud of
    one point has no other pair than that, and keeps it.
    """
    own = within(similarity(squared(x, x)), unbiased) + within(similarity(squared(y, y)), unbiased)
    return own - 2 * similarity(squared(x, y)).mean((-2, -1))


def within(values: Tensor, unbiased: bool) -> Tensor:
    """The mean over all pairs `(..., N, N)` of a cloud, or over those of two different points."""
    points = values.shape[-1]
    if not unbiased or points == 1:
        return values.mean((-2, -1))
    return (values.sum((-2, -1)) - values.diagonal(dim1=-2, dim2=-1).sum(-1)) / (points * (points - 1))


def mmd_rbf(x: Tensor, y: Tensor, *, width: float | Tensor, unbiased: bool = False) -> Tensor:
    """MMD² by the kernel exp(−‖x − y‖² / 2h²), between 0 and 2, `(...)`; see `two_sample`.

    width: h, in units of x. Raises RecipeError unless it is above 0.
    Source: Gretton et al. 2012, A kernel two-sample test, JMLR 13, eq. 3 and 5.
    """
    positive("mmd_rbf", "width", width)
    return two_sample(lambda square: torch.exp(-square / (2 * width**2)), x, y, unbiased=unbiased)


def mmd_imq(x: Tensor, y: Tensor, *, constant: float | Tensor, unbiased: bool = False) -> Tensor:
    """MMD² by the inverse multiquadric C / (C + ‖x − y‖²), whose tails are heavier: far points still feel each other.

    constant: C, in units of x². Raises RecipeError unless it is above 0.
    Source: Tolstikhin et al. 2018, Wasserstein auto-encoders, section 4 (arXiv 1711.01558).
    """
    positive("mmd_imq", "constant", constant)
    return two_sample(lambda square: constant / (constant + square), x, y, unbiased=unbiased)
