"""Posteriors that are computed from the model itself: p(z|x) by Bayes' rule."""

from abc import ABC
from typing import cast

import torch
from torch import Tensor, nn
from torch.linalg import solve_triangular

from vael.distributions.diagonal_gaussian import StandardGaussian
from vael.distributions.full_gaussian import FullGaussian
from vael.distributions.listed import Listed
from vael.errors import RecipeError
from vael.likelihoods.base import Likelihood
from vael.likelihoods.gaussian import Gaussian
from vael.networks.mlp import affine_map
from vael.posteriors.base import Posterior
from vael.priors.base import Prior


class ComputedPosterior(Posterior, ABC):
    """A q(z|x) without parameters: computed from the prior and the likelihood of the model it joins.

    Args:
        latent: D, the size of z.

    Raises RecipeError when D is below 1, or when prior and likelihood are not what it can be computed from.
    """

    def __init__(self, latent: int) -> None:
        super().__init__()
        if latent < 1:
            raise RecipeError(f"{type(self).__name__}: latent must be at least 1, got {latent}.")
        self.latent = latent
        self.neighbours: tuple[nn.Module, ...] = ()

    def bind(self, prior: nn.Module, likelihood: nn.Module) -> None:
        refusal = self.refusal(cast(Prior, prior), cast(Likelihood, likelihood))
        if refusal:
            raise RecipeError(f"{type(self).__name__}: {refusal}")
        # A tuple: a module set as an attribute would become one of this posterior's own, its weights kept twice.
        self.neighbours = (prior, likelihood)

    def refusal(self, prior: Prior, likelihood: Likelihood) -> str | None:
        """Why q(z|x) cannot be computed from these two, in words, or None."""
        return None

    @property
    def states(self) -> int:
        """How many states of z its law lists for each example; 1 where it lists none."""
        return 1

    @property
    def prior(self) -> Prior:
        return cast(Prior, self._bound()[0])

    @property
    def likelihood(self) -> Likelihood:
        return cast(Likelihood, self._bound()[1])

    def _bound(self) -> tuple[nn.Module, ...]:
        if not self.neighbours:
            raise RecipeError(
                f"{type(self).__name__}: is computed from a model's prior and likelihood, and belongs to none yet.\n"
                f"  Give it to a VAE: VAE(prior, likelihood, {type(self).__name__}({self.latent}))."
            )
        return self.neighbours


class ExactPosterior(ComputedPosterior, ABC):
    """p(z|x) = p(z) p(x|z) / p(x): every log-weight log p(x, z) − log q(z|x) is log p(x), whatever z."""


class LinearGaussianPosterior(ExactPosterior):
    """p(z|x) of x = W z + b + ε, z ~ N(0, I), ε ~ N(0, diag σ²), whatever part of x is observed.

        p(z|x) = N(M⁻¹ Wᵀ diag(o/σ²) (x − b), M⁻¹),    M = I + Wᵀ diag(o/σ²) W,    o_f = 1 where x_f is observed

    For an affine decoder with a Gaussian scale that is a number, shared or per_feature, off the grid: probabilistic PCA
    and factor analysis.

    Source: Tipping & Bishop 1999, equations 4–8.
    """

    family = FullGaussian

    def refusal(self, prior: Prior, likelihood: Likelihood) -> str | None:
        if prior.family is not StandardGaussian:
            return f"needs the standard normal prior, got {type(prior).__name__}."
        return not_linear_gaussian(likelihood) or not_of_z_alone(likelihood, self.latent)

    def forward(self, x: Tensor, given: Tensor | None = None, observed: Tensor | None = None) -> FullGaussian:
        weight, bias, variance = linear_gaussian_map(self.likelihood)
        share = 1 / variance if observed is None else observed / variance  # (F,) or (B, F): precision of what is seen
        residual = (x.flatten(1) - bias) * share
        if observed is not None:
            residual = torch.where(observed, residual, 0.0)  # a hole may hold anything, NaN too
        inner = precision(weight, share)
        log_scale, shear, root = inverse_root(inner)
        loc = (root @ (root.mT @ (residual @ weight).unsqueeze(-1))).squeeze(-1)
        return FullGaussian(loc, log_scale.expand(loc.shape), shear.expand(*loc.shape, -1))


class EnumeratedPosterior(ExactPosterior):
    """p(z|x) over all states of a discrete z: softmax over z of log p(z) + log p(x|z).

    For any likelihood, under a prior whose states can be listed: `BernoulliPrior`, `CategoricalPrior`. It takes one
    decoded x for each state: 2^D for D bits.
    """

    # No family: a law of listed states meets any discrete prior, and its rate is the exact sum over them.
    enumerates = True

    @property
    def states(self) -> int:
        return len(self.prior().every())

    def refusal(self, prior: Prior, likelihood: Likelihood) -> str | None:
        if hasattr(prior.family, "every"):
            return None
        return f"needs a prior with states that can be listed, such as BernoulliPrior, got {type(prior).__name__}."

    def forward(self, x: Tensor, given: Tensor | None = None, observed: Tensor | None = None) -> Listed:
        p = self.prior(given)
        states = p.every()  # (S, 1, D)
        return Listed(states, p.log_prob(states) + seen_log_px_z(self.likelihood, x, states, given, observed))


def not_linear_gaussian(likelihood: Likelihood) -> str | None:
    """Why p(x|z) is not N(W z + b, diag σ²), in words, or None."""
    if not isinstance(likelihood, Gaussian):
        return (
            f"needs a Gaussian likelihood, got {type(likelihood).__name__}.\n"
            f"  Use likelihood gaussian with an affine decoder: likelihood.network.hidden=[], and likelihood.step=0."
        )
    if likelihood.network is None or affine_map(likelihood.network) is None:
        return "needs an affine decoder, such as MLP(latent, [], features); hidden layers make p(z|x) no Gaussian."
    if likelihood.on_grid:
        return "needs a density; this Gaussian scores cells of a grid. Set its step to 0."
    if likelihood.scale in ("per_example", "optimal"):
        return f"needs a scale that is a number, shared or per_feature, got {likelihood.scale!r}."
    return None


def not_of_z_alone(likelihood: Likelihood, latent: int) -> str | None:
    """Why the decoder is no function of z alone, in words, or None."""
    inputs = getattr(likelihood.network, "inputs", latent)
    return (
        None if inputs == latent else f"needs a decoder of z alone; this one has {inputs} inputs for {latent} latents."
    )


def linear_gaussian_map(likelihood: Likelihood) -> tuple[Tensor, Tensor, Tensor]:
    """(W, b, σ²) of p(x|z) = N(W z + b, diag σ²): `(F, D)`, `(F,)` and `(F,)`."""
    assert isinstance(likelihood, Gaussian)
    assert likelihood.network is not None
    affine = affine_map(likelihood.network)
    assert affine is not None
    weight, bias = affine
    scale = likelihood.noise_scale(bias).expand(likelihood.event_shape).flatten()
    return weight, bias, scale.square()


def precision(weight: Tensor, share: Tensor) -> Tensor:
    """I + Wᵀ diag(share) W for W `(F, D)`: `(1, D, D)` for share `(F,)`, `(B, D, D)` for `(B, F)`."""
    products = weight.unsqueeze(-1) * weight.unsqueeze(-2)  # (F, D, D)
    latent = weight.shape[1]
    summed: Tensor = (torch.atleast_2d(share) @ products.flatten(1)).unflatten(-1, (latent, latent))
    return summed + torch.eye(latent, dtype=weight.dtype, device=weight.device)


def inverse_root(inner: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The lower triangle L with L Lᵀ = inner⁻¹ `(..., D, D)`, as (log of its diagonal, L / diagonal − I, L).

    With the axes in reverse order inner = C Cᵀ, so C⁻ᵀ, turned back, is lower triangular: one Cholesky factor, and no
    inverse of an inverse.
    """
    factor = torch.linalg.cholesky(inner.flip(-1, -2))
    identity = torch.eye(inner.shape[-1], dtype=inner.dtype, device=inner.device)
    root = solve_triangular(factor, identity.expand_as(factor), upper=False).mT.flip(-1, -2)
    scale = root.diagonal(dim1=-2, dim2=-1)
    return scale.log(), (root / scale.unsqueeze(-1)).tril(-1), root


def seen_log_px_z(
    likelihood: Likelihood, x: Tensor, z: Tensor, given: Tensor | None, observed: Tensor | None
) -> Tensor:
    """log p(x|z) of the observed features, nats, `(K, B)`, for x `(B, *event)` and z `(K, 1 or B, D)`."""
    parts = likelihood.log_prob_parts(x, z, given, observed)
    if observed is not None:
        parts = torch.where(observed, parts, torch.zeros((), dtype=parts.dtype, device=parts.device))
    return parts.sum(-1)
