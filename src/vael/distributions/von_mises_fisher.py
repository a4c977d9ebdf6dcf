"""The von Mises–Fisher law: what a Gaussian is to a line, on a sphere."""

import math
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution
from torch.types import _size

from vael.distributions.bessel import bessel_ratio, log_bessel
from vael.distributions.cells import RULES
from vael.distributions.diagonal_gaussian import LOG_2PI
from vael.distributions.kl import closed_kl
from vael.distributions.uniform_sphere import UniformSphere, log_area

PANELS = 24  # of the angle, each at most a width of the law: eight nodes see it to rounding
STEPS = 4  # of Newton within a panel: to rounding too
LEFT_OUT = 40.0  # minus the log of the mass beyond the largest angle
FURTHEST = 8.0  # noise is held within this: beyond it lies 1e-15 of the law


class VonMisesFisher(Distribution):
    """Unit vectors of R^D about a direction: a density with respect to the sphere's area, for any D ≥ 2.

        log p(z) = κ locᵀz − log ∫ exp(κ locᵀz) dz = κ locᵀz + ν log κ − (D/2) log 2π − log I_ν(κ),   ν = D/2 − 1

    Args:
        loc: The direction, unit vectors `(..., D)`.
        concentration: κ > 0, shape `(...)`.

    Source: Davidson, Falorsi, De Cao, Kipf & Tomczak 2018, Hyperspherical variational auto-encoders (arXiv 1804.00891).
    """

    space = "a sphere"

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 — torch's own declaration of it

    def __init__(self, loc: Tensor, concentration: Tensor) -> None:
        self.loc, self.concentration = loc, concentration
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @property
    def order(self) -> float:
        """ν = D/2 − 1, the order of the Bessel function."""
        return self.loc.shape[-1] / 2 - 1

    @property
    def shortening(self) -> Tensor:
        """E[locᵀz] = I_{ν+1}(κ) / I_ν(κ): how long the mean is."""
        return bessel_ratio(self.order, self.concentration)

    @property
    def mean(self) -> Tensor:
        """Inside the sphere, along loc."""
        return self.shortening.unsqueeze(-1) * self.loc

    @property
    def variance(self) -> Tensor:
        across = (self.shortening / self.concentration).unsqueeze(-1)  # E[z_j²] of a component at right angles to loc
        along = 1 - self.loc.shape[-1] * across - self.shortening.square().unsqueeze(-1)
        return across + along * self.loc.square()

    @property
    def log_peak(self) -> Tensor:
        """The log-density at loc, nats: log of κ^ν e^κ / ((2π)^{D/2} I_ν(κ))."""
        return -0.5 * self.loc.shape[-1] * LOG_2PI - log_bessel(self.order, self.concentration)

    def log_prob(self, value: Tensor) -> Tensor:
        # |z − loc|² = 2 − 2 locᵀz keeps what is small beside 1, where κ is large.
        return self.log_peak - 0.5 * self.concentration * (value - self.loc).square().sum(-1)

    def entropy(self) -> Tensor:
        """Nats, shape of the batch."""
        return self.concentration * (1 - self.shortening) - self.log_peak

    def from_noise(self, eps: Tensor) -> Tensor:
        """z `(K, ..., D)` from standard normals of that shape: the angle from the first, its direction from the rest.

        The vector (cos θ, sin θ · v) stands about the first axis; a reflection, turned round where that keeps it from
        being 0/0, brings the axis to loc.
        """
        angle = angle_of(eps[..., 0], self.concentration, self.loc.shape[-1]).unsqueeze(-1)
        around = eps[..., 1:] / eps[..., 1:].norm(dim=-1, keepdim=True).clamp(min=torch.finfo(eps.dtype).tiny)
        about = torch.cat([torch.cos(angle), torch.sin(angle) * around], -1)
        first = self.loc[..., :1]
        side = torch.where(first < 0, -torch.ones_like(first), torch.ones_like(first))
        axis = torch.cat([1 + first.abs(), side * self.loc[..., 1:]], -1)  # e₁ + side · loc
        reflected = about - axis * ((axis * about).sum(-1, keepdim=True) / (1 + first.abs()))
        return -side * reflected

    def rsample(self, sample_shape: _size = Size()) -> Tensor:  # noqa: B008 — torch's signature
        shape = Size(sample_shape) + self.loc.shape
        return self.from_noise(torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device))


def angle_of(eps: Tensor, concentration: Tensor, dims: int) -> Tensor:
    """The angle θ between a draw and its direction, whose share of the law below it is Φ(eps); shape of both.

        F(θ) = ∫₀^θ g / ∫₀^π g,   g(t) = exp(κ (cos t − 1)) sin(t)^{D − 2},   dθ/dκ = −∂F/∂κ / ∂F/∂θ

    F is summed over panels from both ends, one table for all draws of an example; within its panel a draw is found by
    Newton's steps in F^{1/(D − 1)}, or 1 − F so, which are straight near the ends 0 and π. The gradient is that of the
    implicit function, not of the search. All in float64, whatever eps is.

    Source: Figurnov, Mohamed & Mnih 2018, Implicit reparameterization gradients, eq. 5 (arXiv 1805.08498).
    """
    law, power = _Angles(concentration.double(), dims), 1 / (dims - 1)
    wide, sign = eps.double().clamp(-FURTHEST, FURTHEST), torch.where(eps > 0, -1.0, 1.0).double()
    far = (sign < 0).unsqueeze(-1)  # in the half that is summed from π
    wanted = 0.5 * torch.special.erfc(math.sqrt(0.5) * wide.abs()) * law.upto[..., -1].detach()
    upto, beyond = law.upto.detach(), law.beyond.detach()
    outside = torch.where(far, beyond > wanted.unsqueeze(-1), upto < wanted.unsqueeze(-1))
    panel = outside[..., 1:-1].sum(-1, keepdim=True)
    nearer = panel + torch.where(far, 1, 0)  # the panel's end on the side that is summed from
    outer, inner = (_at(beyond, place, upto, far) for place in (nearer, 2 * panel + 1 - nearer))
    start, low = law.width * nearer.squeeze(-1), law.width * panel.squeeze(-1)
    roots = [values**power for values in (outer, wanted, inner)]
    angle = start + sign * law.width * ((roots[1] - roots[0]) / (roots[2] - roots[0])).clamp(0, 1)
    for _ in range(STEPS):
        share = outer + law.between(start, angle, law.kappa.detach())
        ahead = torch.expm1(power * torch.log(wanted / share)) / power * share / law.rate(angle)
        angle = torch.minimum(torch.maximum(angle + sign * ahead, low), low + law.width)
    share = _at(law.beyond, nearer, law.upto, far) + law.between(start, angle, law.kappa)
    moved = sign * share / law.upto[..., -1]
    return (angle - (moved - moved.detach()) * law.upto[..., -1].detach() / law.rate(angle)).to(eps.dtype)


def _at(beyond: Tensor, place: Tensor, upto: Tensor, far: Tensor) -> Tensor:
    """An example's own entries `(K, ...)` of its tables `(..., P)`, at places `(K, ..., 1)`: `beyond` where far."""
    near, off = (table.expand(*place.shape[:-1], table.shape[-1]).gather(-1, place) for table in (upto, beyond))
    return torch.where(far, off, near).squeeze(-1)


class _Angles:
    """g over its peak, its integral up to the ends of P panels from 0, and beyond them, `(..., P + 1)`.

    kappa: Concentrations, with a gradient. width: Of a panel, held still.
    """

    def __init__(self, kappa: Tensor, dims: int) -> None:
        self.kappa, self.power, still = kappa, dims - 2, kappa.detach()
        # κ (1 − cos t) is below a gamma variable of this shape, so less than e^−LEFT_OUT lies further out than `most`.
        # Source: Laurent & Massart 2000, Annals of Statistics 28, p. 1325, for that variable's tail.
        shape = (dims - 1) / 2
        most = shape + math.sqrt(2 * shape * LEFT_OUT) + LEFT_OUT
        panels = max(PANELS, 4 * math.ceil(math.sqrt(dims)))  # the law is 1/√D as wide as what it lies on
        self.width = 2 * torch.asin(torch.sqrt((most / still / 2).clamp(max=1.0))) / panels
        root = torch.sqrt(self.power**2 + 4 * still.square())
        peak = torch.acos((2 * still / (self.power + root)).clamp(max=1.0))
        self.log_peak = self.log_height(peak, still)
        low = self.width.unsqueeze(-1) * torch.arange(panels, dtype=kappa.dtype, device=kappa.device)
        pieces = self.between(low, low + self.width.unsqueeze(-1), kappa.unsqueeze(-1))
        nothing = torch.zeros_like(pieces[..., :1])
        self.upto = torch.cat([nothing, pieces.cumsum(-1)], -1)
        self.beyond = torch.cat([pieces.flip(-1).cumsum(-1).flip(-1), nothing], -1)

    def log_height(self, angle: Tensor, kappa: Tensor) -> Tensor:
        near = torch.sin(angle / 2).square()
        log_sine = 0.5 * torch.log((4 * near * (1 - near)).clamp(min=torch.finfo(angle.dtype).tiny))
        return self.power * log_sine - 2 * kappa * near

    def rate(self, angle: Tensor) -> Tensor:
        return torch.exp(self.log_height(angle, self.kappa.detach()) - self.log_peak)

    def between(self, one: Tensor, other: Tensor, kappa: Tensor) -> Tensor:
        """∫ g between two angles of a panel, by eight Gauss–Legendre nodes."""
        middle, half = (one + other) / 2, (other - one).abs() / 2
        places = torch.stack([middle + half * node for node, _ in RULES[8]])
        peak = self.log_peak.reshape(self.log_peak.shape + (1,) * (kappa.dim() - self.log_peak.dim()))
        heights = torch.exp(self.log_height(places, kappa) - peak)
        parts = [weight * height for (_, weight), height in zip(RULES[8], heights, strict=True)]
        return half * torch.stack(parts).sum(0)


@closed_kl(VonMisesFisher, UniformSphere)
def _to_uniform(q: VonMisesFisher, p: UniformSphere) -> Tensor:
    """κ I_{ν+1}(κ) / I_ν(κ) − log ∫ exp(κ locᵀz) dz + log area, nats, shape of the batch."""
    return log_area(q.loc.shape[-1]) - q.entropy()
