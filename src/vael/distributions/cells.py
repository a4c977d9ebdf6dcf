"""Continuous laws of values on a grid: the probability of the cell around a value, not a density at it."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

NARROW = 0.05  # scale units: below it the two ends of an interval cancel, and a series is exact to 1e-8
# Scale units: further left erfc is no normal number of its type, and a series is exact to 2e-7 and 2e-10 of nats of 75
# and 450, which is beyond their digits.
FAR = {torch.float32: -12.0, torch.float64: -30.0}
RULES = {n: tuple(zip(*np.polynomial.legendre.leggauss(n), strict=True)) for n in (8, 16)}  # (node, weight) on [−1, 1]

LogMass = Callable[[Any, Tensor, Tensor], Tensor]
LogDensity = Callable[[Tensor], Tensor]


class Cells(Distribution):
    """A continuous law, scored by the probability of the grid cell that a value stands for.

        P(x) = ∫ p(t) dt over the cell x ± step/2, cut at the ends of the law's support      where step > 0
        p(x) = p(x)                                                                          where step = 0

    A density on a grid can be bought without limit by a narrow scale; a probability never exceeds one.

    Args:
        law: The continuous law, batch shape `(..., *event)`; its support has 0.5 inside.
        step: Width of a cell in the units of x, broadcastable; 0 where x is continuous.
        log_mass: (law, value, step) → log P of the cells in nats, for any positive step.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, law: Distribution, step: Tensor, log_mass: LogMass) -> None:
        self.law, self.step, self.log_mass = law, step, log_mass
        super().__init__(law.batch_shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.law.mean

    @property
    def variance(self) -> Tensor:
        return self.law.variance

    def log_prob(self, value: Tensor) -> Tensor:
        """Nats per feature: log-mass on a grid, log-density off it; shape `(..., *event)`."""
        on_grid = self.step > 0
        mass = self.log_mass(self.law, value, torch.where(on_grid, self.step, torch.ones_like(self.step)))
        # A density may be infinite where a mass is asked for; its gradient would be NaN even where it is not taken.
        density: Tensor = self.law.log_prob(torch.where(on_grid, torch.full_like(value, 0.5), value))
        return torch.where(on_grid, mass, density).to(value.dtype)


# ── closed forms ─────────────────────────────────────────────────────────────────────────────────────────────


def log_interval(centre: Tensor, width: Tensor) -> Tensor:
    """log [ Φ(centre + width/2) − Φ(centre − width/2) ] for the standard normal law, stable in both tails.

    Args:
        centre: Middle of the interval in units of the scale, any shape.
        width: Its width in the same units, positive, broadcastable with `centre`.

    Returns nats, the broadcast shape.
    """
    # Both ends in the left tail, where Φ is small and its logarithm exact.
    left = -centre.abs()
    wide = torch.clamp(width, min=NARROW)
    upper, lower = log_normal_cdf(left + wide / 2), log_normal_cdf(left - wide / 2)
    # log Φ has a slope above |t| in the left tail, so the ends differ by more than |c| w, which no rounding takes away.
    fall = torch.minimum(lower - upper, left * wide)
    by_ends = upper + torch.log1p(-torch.exp(fall))
    # ∫ φ(c + t) dt over ±w/2 with φ(c + t) = φ(c) e^{−ct} e^{−t²/2}: the tilt integrates to w sinh h / h, h = cw/2,
    # and the last factor is exp(−E[t²]/2) under the tilt up to Var(t²)/8 ≤ w⁴/1440, 4e-9 at w = 0.05.
    thin = torch.clamp(width, max=NARROW)
    half = thin * centre.abs() / 2
    by_series = _log_density(centre) + torch.log(thin) + log_sinhc(half) - thin.square() / 8 * _tilted_square(half)
    return torch.where(width > NARROW, by_ends, by_series)


def log_normal_cdf(t: Tensor) -> Tensor:
    """log Φ(t) in nats, with a gradient that holds in the far left tail: that of torch's is 6 times too large at −10⁴.

    log Φ(t) = log φ(t) − log(−t) + log(1 − t⁻² + 3 t⁻⁴ − 15 t⁻⁶ + …)        for t far to the left
    """
    end = FAR.get(t.dtype, -12.0)
    far = torch.clamp(t, max=end)
    inverse = far.square().reciprocal()
    series = _log_density(far) - torch.log(-far) + torch.log1p(-inverse * (1 - 3 * inverse * (1 - 5 * inverse)))
    close = torch.clamp(t, min=end)
    away = torch.where(close < 0, -close, close)  # |t|, but for its slope at 0, which abs takes for none
    tail = 0.5 * torch.special.erfc(away * math.sqrt(0.5))  # Φ(−|t|)
    # Far right the tail is no number, and its logarithm's slope none even where it is left out.
    near = torch.where(t < 0, torch.log(torch.clamp(tail, min=torch.finfo(t.dtype).tiny)), torch.log1p(-tail))
    return torch.where(t > end, near, series)


def _log_density(centre: Tensor) -> Tensor:
    return -0.5 * centre.square() - 0.5 * math.log(2 * math.pi)


def log_sinhc(half: Tensor) -> Tensor:
    """log (sinh h / h) for h ≥ 0, as h + log((1 − e^{−2h}) / 2h) without 0/0 at zero."""
    safe = torch.clamp(half, min=1e-3)
    near = torch.clamp(half, max=1e-3)
    share = torch.where(half > 1e-3, -torch.expm1(-2 * safe) / (2 * safe), 1 - near + 2 * near.square() / 3)
    return half + torch.log(share)


def _tilted_square(half: Tensor) -> Tensor:
    """E[u²] for u on [−1, 1] with density ∝ e^{−hu}: 1 + 2/h² − 2 coth(h)/h, which tends to 1/3 at h = 0."""
    safe = torch.clamp(half, min=0.3)
    series = 1 / 3 + 2 * half.square() / 45 - 4 * half.square().square() / 945
    return torch.where(half > 0.3, 1 + 2 / safe.square() - 2 / (safe * torch.tanh(safe)), series)


# ── quadrature ───────────────────────────────────────────────────────────────────────────────────────────────


def log_integral(log_density: LogDensity, lower: Tensor, upper: Tensor, *, nodes: int = 8) -> Tensor:
    """log ∫ exp(log_density(t)) dt from `lower` to `upper`, by eight or sixteen Gauss–Legendre `nodes`.

    With eight, exact to 1e-9 for a normal density over an interval two of its scales wide, up to five scales out.
    """
    middle, half = (upper + lower) / 2, (upper - lower) / 2
    pieces = [log_density(middle + half * node) + math.log(weight) for node, weight in RULES[nodes]]
    return torch.stack(pieces).logsumexp(0) + torch.log(half)


def log_end_integral(log_rest: LogDensity, power: Tensor, width: Tensor) -> Tensor:
    """log ∫ t^{power − 1} exp(log_rest(t)) dt from 0 to `width`, where the integrand may be infinite at 0.

    With t = width · v^{1/c}, c = power/⌈power⌉, it is width^power / c · ∫ v^{⌈power⌉ − 1} exp(log_rest(t)) dv over
    0 … 1, whose integrand is a polynomial times a smooth function; by sixteen nodes, exact to 1e-5 or better.
    """
    degree = torch.ceil(power)
    root = power / degree

    def integrand(v: Tensor) -> Tensor:
        return (degree - 1) * torch.log(v) + log_rest(width * v ** (1 / root))

    unit = torch.ones_like(width)
    return power * torch.log(width) - torch.log(root) + log_integral(integrand, unit - unit, unit, nodes=16)
