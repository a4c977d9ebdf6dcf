"""The invertible maps that flows are made of.

Those with parameters of their own for each example take them as tensors `(..., D)` and are the identity where the
numbers they are read off are zero, with a slope there.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus

TINY = 1e-24  # a squared length below which a direction is none
ONE = math.log(math.expm1(1))  # softplus(ONE) = 1
INSIDE = 0.999


class Step(ABC):
    """An invertible map of vectors, u ↦ z, both `(..., D)`."""

    @abstractmethod
    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """z and log |det ∂z/∂u|, `(..., D)` and `(...)`."""

    @abstractmethod
    def inverse(self, z: Tensor) -> Tensor:
        """The u that becomes z."""

    def backward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """u and log |det ∂u/∂z|."""
        u = self.inverse(z)
        return u, -self.forward(u)[1]

    @abstractmethod
    def still(self) -> "Step":
        """The same map, none of whose parameters carries a gradient."""

    @abstractmethod
    def like(self) -> Tensor:
        """A tensor of the type and on the device of its parameters."""


class Chain(Step):
    """One step after another."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = list(steps)

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        total = u.new_zeros(())
        for step in self.steps:
            u, log_det = step.forward(u)
            total = total + log_det
        return u, total

    def inverse(self, z: Tensor) -> Tensor:
        for step in reversed(self.steps):
            z = step.inverse(z)
        return z

    def backward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        total = z.new_zeros(())
        for step in reversed(self.steps):
            z, log_det = step.backward(z)
            total = total + log_det
        return z, total

    def still(self) -> "Chain":
        return Chain([step.still() for step in self.steps])

    def like(self) -> Tensor:
        return self.steps[0].like()


class Turned(Step):
    """A step the other way round: what was its inverse is forward."""

    def __init__(self, step: Step) -> None:
        self.step = step

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return self.step.backward(u)

    def inverse(self, z: Tensor) -> Tensor:
        return self.step.forward(z)[0]

    def backward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.step.forward(z)

    def still(self) -> "Turned":
        return Turned(self.step.still())

    def like(self) -> Tensor:
        return self.step.like()


class OfNetwork(Step):
    """A step that a network computes.

    Args:
        map: (u `(..., D)`, context, "forward" or "inverse") → (z, log-determinant), or (u, None).
        context: What the network is told beside u, `(B, H)`, or None.
        values: Tensors to put in the place of the network's parameters.
    """

    def __init__(
        self, map: nn.Module, context: Tensor | None = None, values: Mapping[str, Tensor] | None = None
    ) -> None:
        self.map, self.context, self.values = map, context, values

    def _mapped(self, value: Tensor, way: str) -> Any:
        if self.values is None:
            return self.map(value, self.context, way)
        return functional_call(self.map, dict(self.values), (value, self.context, way))

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        z, log_det = self._mapped(u, "forward")
        return z, log_det

    def inverse(self, z: Tensor) -> Tensor:
        u: Tensor = self._mapped(z, "inverse")[0]
        return u

    def still(self) -> "OfNetwork":
        values = {name: parameter.detach() for name, parameter in self.map.named_parameters()}
        return OfNetwork(self.map, None if self.context is None else self.context.detach(), values)

    def like(self) -> Tensor:
        return next(self.map.parameters())


class Amortised(Step, ABC):
    """A step whose parameters are numbers that an encoder gives for each example.

    Args:
        numbers: Unconstrained, `(..., width(D))`; what they are is each step's own.
        dims: D.
        place: Which one it is of a chain; some take turns with directions by it.
    """

    def __init__(self, numbers: Tensor, dims: int, place: int = 0) -> None:
        self.numbers, self.dims, self.place = numbers, dims, place

    @staticmethod
    @abstractmethod
    def width(dims: int) -> int:
        """How many numbers it takes for D = `dims`."""

    def axis(self) -> Tensor:
        """The unit vector whose turn it is, `(D,)`."""
        chosen = torch.arange(self.dims, device=self.numbers.device) == self.place % self.dims
        return chosen.to(self.numbers.dtype)

    def still(self) -> "Amortised":
        return type(self)(self.numbers.detach(), self.dims, self.place)

    def like(self) -> Tensor:
        return self.numbers


class Planar(Amortised):
    """z = u + v̂ tanh(wᵀu + b), with v̂ = v + (m(wᵀv) − wᵀv) w / |w|² so that wᵀv̂ = m(wᵀv) > −1.

        log |det| = log(1 + wᵀv̂ (1 − tanh²(wᵀu + b)))

    m(a) = softplus(a + log(e − 1)) − 1 keeps zero zero; w is its numbers plus a unit vector. The inverse is an equation
    for one number, a = wᵀu + b: a + wᵀv̂ tanh a = wᵀz + b. Numbers: v, w, b.
    Source: Rezende & Mohamed 2015, section 4.1 and appendix A.1 (arXiv 1505.05770), there with another m.
    """

    @staticmethod
    def width(dims: int) -> int:
        return 2 * dims + 1

    def _parameters(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """v̂, w `(..., D)`, b and wᵀv̂ `(...)`."""
        v, w, b = self.numbers.split([self.dims, self.dims, 1], -1)
        w = w + self.axis()
        along = (w * v).sum(-1, keepdim=True)
        share = w / w.square().sum(-1, keepdim=True).clamp_min(TINY)
        v = v + (softplus(along + ONE) - 1 - along) * share
        return v, w, b.squeeze(-1), (w * v).sum(-1)

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        v, w, b, gain = self._parameters()
        h = torch.tanh((w * u).sum(-1) + b)
        return u + v * h.unsqueeze(-1), torch.log1p(gain * (1 - h.square()))

    def inverse(self, z: Tensor) -> Tensor:
        v, w, b, gain = self._parameters()
        a = solved((w * z).sum(-1) + b, gain, torch.ones_like(gain), torch.zeros_like(gain))
        return z - v * torch.tanh(a).unsqueeze(-1)


class Radial(Amortised):
    """z = u + β (u − c) / (α + r),  r = |u − c|, α > 0, β > −α: towards or away from a centre c.

        log |det| = (D − 1) log(1 + β/(α + r)) + log(1 + αβ/(α + r)²)

    Its inverse is a quadratic equation for r. Numbers: c, then those of α = softplus(·) + 10⁻⁶ and of
    β/α = softplus(· + log(e − 1)) − 1.
    Source: Rezende & Mohamed 2015, section 4.1 and appendix A.2 (arXiv 1505.05770).
    """

    @staticmethod
    def width(dims: int) -> int:
        return dims + 2

    def _parameters(self) -> tuple[Tensor, Tensor, Tensor]:
        """c `(..., D)`, α and β `(..., 1)`."""
        centre, alpha, beta = self.numbers.split([self.dims, 1, 1], -1)
        alpha = softplus(alpha) + 1e-6  # at a reach of zero the map would have no derivative
        return centre, alpha, alpha * (softplus(beta + ONE) - 1)

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        centre, alpha, beta = self._parameters()
        away = u - centre
        reach = alpha + length(away)
        stretch, along = beta / reach, alpha * beta / reach.square()
        log_det = (self.dims - 1) * torch.log1p(stretch) + torch.log1p(along)
        return u + stretch * away, log_det.squeeze(-1)

    def inverse(self, z: Tensor) -> Tensor:
        centre, alpha, beta = self._parameters()
        away = z - centre
        far = length(away)
        middle = far - alpha - beta  # r² − middle r − α |z − c| = 0
        root = torch.sqrt(middle.square() + 4 * alpha * far)
        # Of the two forms of the root, the one that does not take the difference of near numbers.
        safe = torch.where(middle < 0, root - middle, torch.ones_like(root))
        r = torch.where(middle < 0, 2 * alpha * far / safe, 0.5 * (middle + root))
        return centre + away / (1 + beta / (alpha + r))


class Householder(Amortised):
    """z = u − 2 v vᵀu / |v|²: a reflection, which turns a diagonal covariance into any that a few of them reach.

    log |det| = 0, and it is its own inverse. v is its numbers plus a unit vector.
    Source: Tomczak & Welling 2016, Improving variational auto-encoders using Householder flow (arXiv 1611.09630).
    """

    @staticmethod
    def width(dims: int) -> int:
        return dims

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        v = self.numbers + self.axis()
        share = (v * u).sum(-1, keepdim=True) / v.square().sum(-1, keepdim=True).clamp_min(TINY)
        z = u - 2 * share * v
        return z, torch.zeros_like(z[..., 0])

    def inverse(self, z: Tensor) -> Tensor:
        return self.forward(z)[0]


class Sylvester(Amortised):
    """z = u + Q R tanh(S Qᵀu + b), R and S upper triangular, Q the identity or, at odd places, its rows reversed.

        log |det| = Σ_i log(1 + R_ii S_ii (1 − tanh²(S Qᵀu + b)_i))

    The diagonals are 0.999 tanh(·), so that R_ii S_ii > −1, in S of its numbers plus 1. Entries beside them are divided
    by D, as in `FullGaussianPosterior`. The inverse solves one equation for one number after another, the last
    first. Numbers: a matrix whose upper half and diagonal are R's and whose lower half is S's, S's diagonal, b.
    Source: van den Berg et al. 2018, Sylvester normalizing flows, section 3.3, the triangular one (arXiv 1803.05649).
    """

    @staticmethod
    def width(dims: int) -> int:
        return dims * (dims + 2)

    def _parameters(self) -> tuple[Tensor, Tensor, Tensor]:
        """R, S `(..., D, D)` and b `(..., D)`."""
        matrix, inner, b = self.numbers.split([self.dims**2, self.dims, self.dims], -1)
        matrix = matrix.unflatten(-1, (self.dims, self.dims))
        outer = INSIDE * torch.tanh(matrix.diagonal(dim1=-2, dim2=-1))
        inner = INSIDE * torch.tanh(1 + inner)
        beside = matrix / self.dims
        return beside.triu(1) + outer.diag_embed(), beside.mT.triu(1) + inner.diag_embed(), b

    def _turn(self, u: Tensor) -> Tensor:
        return u.flip(-1) if self.place % 2 else u

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        outer, inner, b = self._parameters()
        h = torch.tanh(times(inner, self._turn(u)) + b)
        slope = outer.diagonal(dim1=-2, dim2=-1) * inner.diagonal(dim1=-2, dim2=-1)
        return u + self._turn(times(outer, h)), torch.log1p(slope * (1 - h.square())).sum(-1)

    def inverse(self, z: Tensor) -> Tensor:
        outer, inner, b = self._parameters()
        z = self._turn(z)
        found: list[Tensor] = []  # u_i … u_D
        bent: list[Tensor] = []  # and the tanh of each
        for i in reversed(range(self.dims)):
            shift, rest = b[..., i], z[..., i]
            for place, (u, h) in enumerate(zip(found, bent, strict=True), start=i + 1):
                shift, rest = shift + inner[..., i, place] * u, rest - outer[..., i, place] * h
            u = solved(rest, outer[..., i, i], inner[..., i, i], shift)
            found, bent = [u, *found], [torch.tanh(inner[..., i, i] * u + shift), *bent]
        return self._turn(torch.stack(found, -1))


def length(values: Tensor) -> Tensor:
    """|v| over the last axis, kept; with a slope where it is zero."""
    return torch.sqrt(values.square().sum(-1, keepdim=True) + TINY)


def times(matrix: Tensor, values: Tensor) -> Tensor:
    """M v for M `(..., D, D)` and v `(K, ..., D)`: all draws of an example at once, as columns."""
    draws = values.shape[: max(0, values.dim() - matrix.dim() + 1)]
    columns = values.reshape(draws.numel(), *values.shape[len(draws) :]).movedim(0, -1)
    product = (matrix @ columns).movedim(-1, 0)
    return product.reshape(*draws, *product.shape[1:])


def solved(y: Tensor, gain: Tensor, rate: Tensor, shift: Tensor) -> Tensor:
    """The a with a + gain tanh(rate a + shift) = y, where gain · rate > −1: all of shapes that broadcast.

    The left side rises and is within |gain| of a: that interval is halved until half of a float's digits are right, and
    Newton's steps double them. The last one carries the gradient, which is that of the implicit function; a second
    derivative it does not have.
    """
    goal, c, r, k = (value.detach() for value in torch.broadcast_tensors(y, gain, rate, shift))
    low, high = goal - c.abs(), goal + c.abs()
    for _ in range(16 if y.dtype == torch.float32 else 30):
        middle = 0.5 * (low + high)
        above = middle + c * torch.tanh(r * middle + k) > goal
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    a = 0.5 * (low + high)
    for _ in range(2):
        h = torch.tanh(r * a + k)
        a = a - (a + c * h - goal) / (1 + c * r * (1 - h.square()))
    h = torch.tanh(r * a + k)
    miss = a + gain * torch.tanh(rate * a + shift) - y
    found: Tensor = a - miss / (1 + c * r * (1 - h.square()))
    return found
