"""A chain of Gaussians that takes noise away step by step, all by one network."""

import math

import torch
from torch import Tensor, nn

from vael.distributions.chained import Chained, Level
from vael.distributions.diagonal_gaussian import DiagonalGaussian, StandardGaussian
from vael.errors import RecipeError
from vael.priors.base import Prior

VARIANCES = ("beta", "posterior", "learned")


class DiffusionPrior(Prior):
    """p(z) of z = (x_T, …, x_1): p(x_T) = N(0, I), and every step back by the same network, told t.

        p(x_{t−1}|x_t) = N( (x_t − β_t / √(1 − ᾱ_t) · ε) / √α_t, σ_t² I ),    ε = network(x_t, given = time features)

    β_t are the posterior's; σ_t² is β_t or β̃_t, the largest and the smallest that the best variance can be for an x
    of unit variance or less, or learned for each t, from β_t on: the fewer steps, the more that is worth. The features
    of time are cos(π k t/T), k = 1 … as many as the network is told.

    Args:
        network: x_t `(..., D)` → noise `(..., D)`, with `given` for the time, at least 1.
        steps: T.
        variance: "beta", "posterior", which is β̃, or "learned".

    Raises RecipeError for another network or variance, or a posterior that is no diffusion of T steps.
    Source: Ho, Jain & Abbeel 2020, eqs. 1, 11 and section 3.2 (arXiv 2006.11239).
    """

    family = Chained
    times: Tensor

    def __init__(self, network: nn.Module, steps: int, *, variance: str = "beta") -> None:
        super().__init__()
        if not (isinstance(steps, int) and steps >= 1):
            raise RecipeError(f"DiffusionPrior: steps must be a whole number of at least 1, got {steps!r}.")
        if variance not in VARIANCES:
            raise RecipeError(f"DiffusionPrior: variance must be one of {', '.join(VARIANCES)}, got {variance!r}.")
        features, told = getattr(network, "inputs", None), getattr(network, "given", 0)
        if not isinstance(features, int) or network.outputs != features or not told:
            raise RecipeError(
                "DiffusionPrior: needs a network with as many outputs as inputs, told the time, such as "
                "MLP(2, [64], 2, given=4)."
            )
        self.network, self.steps, self.variance, self.features = network, steps, variance, features
        self.sizes, self.latent = [features] * steps, features * steps
        self.betas: list[float] = []
        # by what the log scale of each step back, t = 2 … T, exceeds that of its β
        self.wider = nn.Parameter(torch.zeros(steps - 1)) if variance == "learned" else None
        turns = torch.arange(1, steps + 1).double()[:, None] * torch.arange(1, told + 1) / steps
        times = torch.cos(math.pi * turns).to(torch.get_default_dtype())  # (T, told)
        self.register_buffer("times", times, persistent=False)

    def bind(self, posterior: nn.Module, likelihood: nn.Module) -> None:
        betas = getattr(posterior, "betas", [])
        if len(betas) != self.steps:
            raise RecipeError(
                f"DiffusionPrior: takes back {self.steps} steps, and {type(posterior).__name__} makes {len(betas)}."
            )
        self.betas = list(betas)

    def forward(self, given: Tensor | None = None) -> Chained:
        if not self.betas:
            raise RecipeError("DiffusionPrior: takes back a posterior's steps, and belongs to no model yet.")

        def top(parents: Tensor | None) -> StandardGaussian:
            return StandardGaussian(self.features)

        return Chained([top, *(self.back(t) for t in range(self.steps, 1, -1))], self.sizes)

    def back(self, t: int) -> Level:
        """p(x_{t−1}|x_t), for parents that end with x_t."""
        beta = self.betas[t - 1]
        before, after = (math.prod(1 - one for one in self.betas[:end]) for end in (t - 1, t))
        variance = (1 - before) / (1 - after) * beta if self.variance == "posterior" else beta

        def law(parents: Tensor | None) -> DiagonalGaussian:
            assert parents is not None
            noisy = parents[..., -self.features :]
            noise: Tensor = self.network(noisy, given=self.times[t - 1])
            loc = (noisy - beta / math.sqrt(1 - after) * noise) / math.sqrt(1 - beta)
            log_scale = torch.full_like(loc, 0.5 * math.log(variance))
            return DiagonalGaussian(loc, log_scale if self.wider is None else log_scale + self.wider[t - 2])

        return law
