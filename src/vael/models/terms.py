"""The densities of one evaluation of a model: computed once, read by every objective and every estimate."""

import math
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from vael.data.batch import Batch
from vael.distributions.kl import ClosedKL


@dataclass(frozen=True)
class Latent:
    """One level of latents: where its draws came from and what the model says of them.

    q: Its posterior, batch shape `(B,)`, or `(K, B)` below another level.
    p: Its prior, batch shape `()`, `(B,)` or `(K, B)`.
    z: The draws, `(K, B, D)`.
    kl: The closed-form KL(q‖p) for these types, or None.
    unit_kl: The closed-form KL of each unit, where these types factorise over units, or None.
    """

    q: Any
    p: Any
    z: Tensor
    log_measure: Tensor
    kl: ClosedKL | None = None
    unit_kl: ClosedKL | None = None

    @cached_property
    def log_q(self) -> Tensor:
        """log q(z|x) of the draws, nats, `(K, B)`."""
        log_q: Tensor = self.q.log_prob(self.z)
        return log_q

    @cached_property
    def log_q_fixed(self) -> Tensor:
        """log q(z|x) of the draws with q's parameters held still, `(K, B)`: a gradient reaches them by z alone."""
        log_q: Tensor = detached(self.q).log_prob(self.z)
        return log_q

    @cached_property
    def log_p(self) -> Tensor:
        """log p(z) of the draws, nats, `(K, B)`."""
        log_p: Tensor = self.p.log_prob(self.z)
        return log_p

    @cached_property
    def rate(self) -> Tensor:
        """KL(q‖p) in nats, `(B,)`: in closed form where it is known, else the mean of log q − log p over draws."""
        if self.kl is None:
            return average(self.log_q - self.log_p, self.log_measure)
        exact = self.kl(self.q, self.p)
        # A lower level's KL depends on the draws above it, and is averaged over them.
        return average(exact, self.log_measure) if exact.dim() > 1 else exact

    @cached_property
    def unit_rate(self) -> Tensor:
        """KL of each group of units that has one of its own, nats, `(B, G)`; their sum is the rate.

        Each unit is a group where q and p factorise over units, else the whole latent is one.
        """
        if self.unit_kl is None:
            return self.rate.unsqueeze(-1)
        exact = self.unit_kl(self.q, self.p)
        return average(exact, self.log_measure) if exact.dim() > 2 else exact


def detached(law: Any) -> Any:
    """A distribution with the same parameters, none of which carries a gradient; one that is `still()` says how."""
    if hasattr(law, "still"):
        return law.still()
    still = copy(law)
    for name, value in vars(law).items():
        if isinstance(value, Tensor):
            setattr(still, name, value.detach())
        elif isinstance(value, Distribution):
            setattr(still, name, detached(value))
    return still


def average(values: Tensor, log_measure: Tensor) -> Tensor:
    """Σ_k exp(log_measure_k) values_k: the mean over draws, or the exact sum over an enumerated latent.

    values `(K, B, ...)`, log_measure `(K, B)` or a scalar → `(B, ...)`.
    """
    weight = torch.exp(log_measure)[(..., *(None,) * (values.dim() - 2))]
    return (weight * values).sum(0)


@dataclass(frozen=True)
class Terms:
    """log p(x|z), log p(z) and log q(z|x) of K draws for each of B examples, in nats.

    latents: The levels of latents, top-down; one for a plain VAE.
    log_px_z: log p(x|z) of the draws, observed features only, `(K, B)`.
    log_measure: Log of the weight a draw has in a mean: −log K for K draws, log q(z|x) for an enumerated z;
        `(K, B)` or, where all are equal, a scalar.
    penalties: Named per-example costs `(B,)` that are no part of a density.
    spare: Standard normals `(S, B, D)` that no draw is made of, where an objective asked for them; see `Noise`.
    batch: The examples themselves, for an objective that compares more of x with its decodings than log p(x|z).
    """

    latents: tuple[Latent, ...]
    log_px_z: Tensor
    log_measure: Tensor
    penalties: dict[str, Tensor] = field(default_factory=dict)
    spare: Tensor | None = None
    batch: Batch | None = None

    @cached_property
    def log_w(self) -> Tensor:
        """log p(x, z) − log q(z|x), `(K, B)`: the log importance weights."""
        total = self.log_px_z
        for latent in self.latents:
            total = total + latent.log_p - latent.log_q
        return total

    def log_w_of(self, draws: int) -> Tensor:
        """`log_w` of each of K `draws`, `(K, B)`, where states that go with it are summed over by their measure."""
        if not self.log_measure.dim():
            return self.log_w
        weighed = self.log_w + self.log_measure + math.log(draws)
        summed: Tensor = weighed.unflatten(0, (draws, -1)).logsumexp(1)
        return summed

    @cached_property
    def log_w_fixed(self) -> Tensor:
        """`log_w` with the posteriors' parameters held still but for their draws: see `Latent.log_q_fixed`."""
        total = self.log_px_z
        for latent in self.latents:
            total = total + latent.log_p - latent.log_q_fixed
        return total

    @cached_property
    def rate(self) -> Tensor:
        """KL(q(z|x)‖p(z)) over all levels, nats, `(B,)`."""
        total = self.latents[0].rate
        for latent in self.latents[1:]:
            total = total + latent.rate
        return total

    @cached_property
    def drawn_rate(self) -> Tensor:
        """The mean of log q(z|x) − log p(z) over the draws, nats, `(B,)`: the rate, but for their noise."""
        total = torch.zeros_like(self.log_px_z[0])
        for latent in self.latents:
            total = total + average(latent.log_q - latent.log_p, self.log_measure)
        return total

    @cached_property
    def unit_rate(self) -> Tensor:
        """The rate of each group of units, levels side by side, nats, `(B, G)`; see `Latent.unit_rate`."""
        return torch.cat([latent.unit_rate for latent in self.latents], -1)

    @cached_property
    def distortion(self) -> Tensor:
        """−E_q[log p(x|z)] over the draws, nats, `(B,)`."""
        return -average(self.log_px_z, self.log_measure)

    @property
    def elbo(self) -> Tensor:
        """−rate − distortion: the bound at β = 1, whatever is optimised; nats, `(B,)`."""
        return -self.rate - self.distortion

    def named(self) -> dict[str, Tensor]:
        """Every term by name, in the order it is computed: where a NaN is looked for."""
        found: dict[str, Tensor] = {}
        for level, latent in enumerate(self.latents):
            found[f"z[{level}]"] = latent.z
            if getattr(latent.q, "has_density", True):
                found[f"rate[{level}]"] = latent.rate
        return {**found, "log_px_z": self.log_px_z, **self.penalties}
