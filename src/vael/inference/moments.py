"""What the maximisation needs to know of the examples and their latents: sums over the data, in float64."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vael.data.batch import Batch
from vael.data.dataset import Split, positions
from vael.models.vae import VAE
from vael.noise import Noise

AT_ONCE = 2**21  # decoded numbers held at once, states × examples × features: 16 MiB in float64


@dataclass(frozen=True)
class Moments:
    """Sums over the examples of expectations under q(z|x), with z̃ = (z, 1) and x measured from a centre.

    zz: Σ E[z̃ z̃ᵀ], `(1, D + 1, D + 1)`; with missing values `(F, D + 1, D + 1)`, over the examples that have f.
    xz, xxz: Σ x_f E[z̃] and Σ x_f² E[z̃] over the examples that have f, `(F, D + 1)`.
    on: Σ E[z] or, where z is a product of a spike and a slab, Σ P(spike), `(D,)`.
    log_px: Σ log p(x). examples: How many there are.
    """

    zz: Tensor
    xz: Tensor
    xxz: Tensor
    on: Tensor
    log_px: Tensor
    examples: int

    @property
    def mean_log_px(self) -> float:
        """log p(x) in nats per example."""
        return float(self.log_px) / self.examples

    def __add__(self, other: "Moments") -> "Moments":
        names = ("zz", "xz", "xxz", "on", "log_px", "examples")
        return Moments(**{name: getattr(self, name) + getattr(other, name) for name in names})


def expect(model: VAE, split: Split, centre: Tensor) -> Moments:
    """The E-step over a settled `split`, x measured from `centre` `(F,)`."""
    states = getattr(model.posterior, "states", 1)
    size = max(1, AT_ONCE // (states * model.likelihood.dims))
    total: Moments | None = None
    for rows in positions(split, size):
        batch = double(split.batch(rows))
        terms = model.terms(batch, Noise((batch.x.new_zeros(1, len(batch), model.latent),)))
        # That of any weight, or the sum over an enumerated latent.
        log_px = (terms.log_w + terms.log_measure).logsumexp(0) + split.log_jacobian[rows].to(terms.log_w)
        found = of_law(terms.latents[0].q, log_px, batch, centre)
        total = found if total is None else total + found
    assert total is not None
    return total


def double(batch: Batch) -> Batch:
    """x and what is observed of it, in float64."""
    return Batch(batch.x.double(), batch.observed)


def of_law(q: Any, log_px: Tensor, batch: Batch, centre: Tensor) -> Moments:
    """The moments of one batch under its q(z|x), which has a mean and a covariance; log_px `(B,)`."""
    mean, covariance = q.mean, q.covariance
    extended = torch.cat([mean, torch.ones_like(mean[:, :1])], -1)
    x = batch.x.flatten(1) - centre
    padded = torch.nn.functional.pad(covariance, (0, 1, 0, 1))
    if batch.observed is None:
        zz = (extended.mT @ extended + padded.sum(0)).unsqueeze(0)
    else:
        x = torch.where(batch.observed, x, torch.zeros_like(x))
        second = extended.unsqueeze(-1) * extended.unsqueeze(-2) + padded
        zz = (batch.observed.to(x.dtype).mT @ second.flatten(1)).unflatten(-1, second.shape[1:])
    on = getattr(q, "on", mean).sum(0)
    return Moments(zz, x.mT @ extended, x.square().mT @ extended, on, log_px.sum(), len(batch))
