"""A law carried along by Hamiltonian dynamics: places and momenta together."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from vael.distributions.diagonal_gaussian import LOG_2PI


class Hamiltonian(Distribution):
    """(z, ρ), `(..., 2D)`: where leapfrog steps up a log-density lead from z₀ ~ base with momentum ρ₀ ~ N(0, I/β₀).

        K times:  ρ += ½ h g(z),  z += h ρ,  ρ += ½ h g(z),  ρ *= √(β_{k−1}/β_k),    g = ∇ log f
        1/√β_k = 1/√β₀ + (1 − 1/√β₀) k²/K²

        log q(z, ρ) = log base(z₀) + log N(√β₀ ρ₀; 0, I)

    Each half step shears, so that volume is kept; what tempering takes of it, β₀^{D/2}, is what ρ₀ was widened by. The
    steps run backwards as well, so that the density is known anywhere. The bound of p(x, z) N(ρ; 0, I) under this law
    is one of log p(x).

    Args:
        base: The law of z₀, with `from_noise`, event shape `(D,)`.
        log_density: log f of places `(..., D)`, in nats, such as log p(x, z); twice differentiable where a gradient is
            to pass.
        step: h, a number or a tensor that broadcasts with z.
        leapfrog: K.
        temperature: 1/β₀ ≥ 1: how hot the momenta start; they end at 1.

    Source: Caterini, Doucet & Sejdinovic 2018, Hamiltonian variational auto-encoder, section 3 (arXiv 1805.11328).
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 — torch's own declaration of it

    def __init__(
        self,
        base: Distribution,
        log_density: Callable[[Tensor], Tensor],
        step: float | Tensor,
        leapfrog: int,
        temperature: float = 1.0,
    ) -> None:
        self.base, self.step, self.leapfrog, self.temperature = base, step, leapfrog, temperature
        self.slope = torch.func.grad(lambda z: log_density(z).sum())
        super().__init__(base.batch_shape, Size((2 * base.event_shape[0],)), validate_args=False)

    def cooling(self, after: int) -> float:
        """√(β_{k−1}/β_k) for the step k that is `after`, from 1 to K."""
        hot = math.sqrt(self.temperature)
        before, now = (hot + (1 - hot) * (k / self.leapfrog) ** 2 for k in (after - 1, after))
        return now / before

    def from_noise(self, eps: Tensor) -> Tensor:
        """(z, ρ) from standard normals `(K, ..., 2D)`: of the base, then of the momenta."""
        first, momentum = eps.chunk(2, -1)
        z, momentum = self.base.from_noise(first), math.sqrt(self.temperature) * momentum  # type: ignore[attr-defined]
        for k in range(1, self.leapfrog + 1):
            momentum = momentum + 0.5 * self.step * self.slope(z)
            z = z + self.step * momentum
            momentum = (momentum + 0.5 * self.step * self.slope(z)) * self.cooling(k)
        return torch.cat([z, momentum], -1)

    def begun(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """z₀ and √β₀ ρ₀ from which the steps lead to (z, ρ)."""
        z, momentum = value.chunk(2, -1)
        for k in range(self.leapfrog, 0, -1):
            momentum = momentum / self.cooling(k) - 0.5 * self.step * self.slope(z)
            z = z - self.step * momentum
            momentum = momentum - 0.5 * self.step * self.slope(z)
        return z, momentum / math.sqrt(self.temperature)

    def log_prob(self, value: Tensor) -> Tensor:
        z, momentum = self.begun(value)
        log_q: Tensor = self.base.log_prob(z)
        return log_q - 0.5 * (momentum.square() + LOG_2PI).sum(-1)
