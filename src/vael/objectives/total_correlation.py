"""The bound with the dependence among the units of z weighed by its own weight."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from vael.distributions.marginals import is_factorised, unit_log_prob
from vael.distributions.minibatch import (
    even_weights,
    log_aggregated,
    log_aggregated_units,
    stratified_weights,
    weighted_weights,
)
from vael.errors import RecipeError
from vael.models.terms import Terms, average
from vael.objectives.elbo import Warmed, check_draws

WEIGHTS = {"stratified": stratified_weights, "even": even_weights, "weighted": weighted_weights}


@dataclass(frozen=True)
class TotalCorrelation:
    """β-TC: the bound with the total correlation of the aggregated posterior q̄(z) = 1/N Σ_n q(z|x_n) weighed by β.

        L = −distortion − I(x; z) − β KL(q̄‖Π_j q̄_j) − Σ_j KL(q̄_j‖p_j)

    The rate, averaged over the data, is the three summands at β = 1. So it is taken as −distortion − rate
    − (β − 1) TC, the rate in closed form, and only TC = E[log q̄(z) − Σ_j log q̄_j(z_j)] is estimated: from the
    posteriors of the batch, with weights that know N. The log of an estimate is too low on average, that of the joint
    density more than those of the units, so TC comes out too low, less so the larger the batch: of 0.21 nats in two
    units, batches of 8, 64 and 512 see 0.09, 0.19 and 0.23 ± 0.01. A batch of one example has a TC of 0. Weights
    "weighted" lack a constant, (D − 1) log N, that only the value sees.

    Args:
        beta: β, at least 0. 1 is the ELBO.
        weights: How the batch stands for the data, "stratified", "even" or "weighted"; see `distributions.minibatch`.
        examples: N, the number of training examples; training fills it in.
        draws: K, at least 1.

    For a posterior whose units are independent. Call: `Terms` with one level of latents → nats per example, shape
    `(B,)`, higher is better; by the noise of TC it may be above log p(x).
    Source: Chen et al. 2018, Isolating sources of disentanglement in VAEs, eq. 4 (arXiv 1802.04942).
    """

    joins_examples: ClassVar[bool] = True
    is_bound: ClassVar[bool] = False
    beta: float | Tensor = 6.0
    weights: str = "stratified"
    examples: int | None = None
    draws: int = 1

    def __post_init__(self) -> None:
        check_draws("TotalCorrelation", self.draws)
        if not isinstance(self.beta, Tensor) and not self.beta >= 0:
            raise RecipeError(f"TotalCorrelation: beta must be at least 0, got {self.beta}.")
        if self.weights not in WEIGHTS:
            raise RecipeError(f"TotalCorrelation: weights must be one of {', '.join(WEIGHTS)}, got {self.weights!r}.")
        if self.examples is not None and self.examples < 1:
            raise RecipeError(f"TotalCorrelation: examples must be at least 1, got {self.examples}.")

    def for_examples(self, examples: int) -> "TotalCorrelation":
        """The objective that knows N, where it was not said."""
        return self if self.examples is not None else replace(self, examples=examples)

    def __call__(self, terms: Terms) -> Tensor:
        return -terms.distortion - self.cost(terms)

    def cost(self, terms: Terms) -> Tensor:
        """The rate, and (β − 1) times the total correlation."""
        return terms.rate + (self.beta - 1) * self.total_correlation(terms)

    def total_correlation(self, terms: Terms) -> Tensor:
        """log q̄(z) − Σ_j log q̄_j(z_j) at each example's draws, nats, `(B,)`: its mean is KL(q̄‖Π_j q̄_j)."""
        if self.examples is None:
            raise RecipeError(
                "TotalCorrelation: has to know how many training examples there are; training tells it.\n"
                "  Elsewhere say TotalCorrelation(examples=N)."
            )
        if len(terms.latents) != 1 or not is_factorised(terms.latents[0].q):
            raise RecipeError(
                f"TotalCorrelation: is for one level of latents with independent units, got {len(terms.latents)} of "
                f"{type(terms.latents[0].q).__name__}. Use a gaussian posterior."
            )
        (latent,) = terms.latents
        batch = latent.z.shape[1]
        if batch == 1:
            return torch.zeros_like(terms.distortion)
        # Unit j of z_i under the posterior of x_m, (K, B, B, D): i before m.
        units = unit_log_prob(latent.q, latent.z.unsqueeze(-2))
        assert units is not None
        weights = WEIGHTS[self.weights](batch, self.examples, like=latent.z)
        joint = log_aggregated(units.sum(-1), weights)
        return average(joint - log_aggregated_units(units, weights).sum(-1), terms.log_measure)

    def warmed(self, share: float | Tensor) -> Warmed:
        return Warmed(self, share)
