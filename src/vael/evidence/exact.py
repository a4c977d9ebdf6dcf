"""log p(x) in closed form, where the model is linear and Gaussian."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from vael.data.batch import Batch
from vael.data.dataset import Split
from vael.distributions.diagonal_gaussian import StandardGaussian
from vael.errors import RecipeError
from vael.evidence.estimate import LARGEST_CHUNK, Estimate
from vael.likelihoods.gaussian import Gaussian
from vael.models.vae import VAE
from vael.networks.mlp import affine_map
from vael.posteriors.exact import ComputedPosterior, ExactPosterior

AT_ONCE = 500  # examples
MOST_SUMMED = 2**13  # states: a sum over them costs no more than importance sampling, and is exact


class LinearGaussian:
    """The exact answers of x = W z + b + ε, z ~ N(0, I_q), ε ~ N(0, diag σ²): probabilistic PCA and factor analysis.

        p(x) = N(b, C),  C = W Wᵀ + diag σ²        p(z|x) = N(M⁻¹ Wᵀ σ⁻² (x − b), M⁻¹),  M = I + Wᵀ diag σ⁻² W

    Args:
        weight: W, `(d, q)`. bias: b, `(d,)`. variance: σ², `(d,)`.

    Source: Tipping & Bishop 1999, equations 4–8.
    """

    def __init__(self, weight: Tensor, bias: Tensor, variance: Tensor) -> None:
        self.weight, self.bias, self.variance = weight, bias, variance

    def evidence(self) -> MultivariateNormal:
        """p(x) over `(d,)`."""
        covariance = self.weight @ self.weight.T + torch.diag(self.variance)
        return MultivariateNormal(self.bias, covariance, validate_args=False)

    def log_px(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """log p(x) of the observed features of x `(B, *event)`, nats, `(B,)` float64; 0 where nothing is observed.

        observed: `(B, d)` booleans, or None when all are. A marginal of a Gaussian keeps its rows and columns.
        """
        x, law = x.flatten(1).to("cpu", torch.float64), self.evidence()
        if observed is None:
            every: Tensor = law.log_prob(x)
            return every
        patterns, pattern_of = observed.cpu().unique(dim=0, return_inverse=True)
        found = torch.zeros(len(x), dtype=torch.float64)
        for number, seen in enumerate(patterns):
            if seen.any():
                rows = pattern_of == number
                part = MultivariateNormal(law.loc[seen], law.covariance_matrix[seen][:, seen], validate_args=False)
                found[rows] = part.log_prob(x[rows][:, seen])
        return found

    def posterior(self, x: Tensor) -> MultivariateNormal:
        """p(z|x) for x `(B, d)`: batch shape `(B,)`, event shape `(q,)`."""
        scaled = self.weight / self.variance[:, None]
        identity = torch.eye(self.weight.shape[1], dtype=x.dtype, device=x.device)
        precision = identity + self.weight.T @ scaled
        loc = torch.linalg.solve(precision, ((x - self.bias) @ scaled).T).T
        return MultivariateNormal(loc, precision_matrix=precision.expand(len(x), -1, -1), validate_args=False)


def linear_gaussian(model: VAE) -> LinearGaussian | None:
    """The closed form behind `model`, or None where its likelihood is not linear-Gaussian with a scale free of z."""
    likelihood = model.likelihood
    if not isinstance(likelihood, Gaussian) or likelihood.network is None or likelihood.on_grid:
        return None
    affine = affine_map(likelihood.network)
    standard = model.prior.family is StandardGaussian and not model.given
    if affine is None or not standard or likelihood.scale == "per_example":
        return None
    # float64: a determinant of many small scales is no matter for seven digits.
    weight, bias = (part.detach().to("cpu", torch.float64) for part in affine)
    variance = (
        likelihood.noise_scale(affine[1])
        .detach()
        .to("cpu", torch.float64)
        .square()
        .expand(likelihood.event_shape)
        .flatten()
    )
    return LinearGaussian(weight, bias, variance)


@dataclass(frozen=True)
class Exact:
    """log p(x) without error: in closed form where the model is linear and Gaussian, or as a sum over all states of z.

    Raises RecipeError where neither is known.
    """

    def __call__(self, model: VAE, split: Split, *, seed: int = 0) -> Estimate:
        log_px = closed_form(model)
        if log_px is None:
            raise RecipeError(
                "exact: log p(x) has a closed form for a linear decoder with Gaussian noise of a scale that does not "
                "depend on z, and is a sum for a posterior that enumerates its states; this model is neither.\n"
                "  Use method importance."
            )
        split, was_training = split.settled(seed=0).to(model.device), model.training
        model.eval()
        try:
            with torch.inference_mode():
                batches = split.batches(examples_at_once(model))
                value = torch.cat([log_px(batch).to("cpu", torch.float64) for batch in batches])
        finally:
            model.train(was_training)
        return Estimate(value + split.log_jacobian.cpu(), torch.zeros_like(value), None, 0, "exact", "exact")


def closed_form(model: VAE) -> Callable[[Batch], Tensor] | None:
    """batch → log p(x) of what is observed, nats, `(B,)`, exactly; None where no way is known."""
    linear = linear_gaussian(model)
    if linear is not None:
        return lambda batch: linear.log_px(batch.x, batch.observed)
    if model.posterior.enumerates or isinstance(model.posterior, ExactPosterior):
        return lambda batch: of_terms(model, batch)
    few = model.states is not None and model.states <= MOST_SUMMED
    return (lambda batch: summed(model, batch)) if few else None


def of_terms(model: VAE, batch: Batch) -> Tensor:
    """log Σ_z p(x, z) over the states that the posterior enumerates, or any one weight of an exact one; `(B,)`."""
    terms = model.terms(batch, model.noise(1, len(batch), seed=0))
    return (terms.log_w + terms.log_measure).logsumexp(0)


def summed(model: VAE, batch: Batch) -> Tensor:
    """log Σ_z p(x, z) over all states of the prior, whatever the posterior, nats, `(B,)`."""
    z = model.prior().every().expand(-1, len(batch), -1)
    return model.log_joint(batch, z).logsumexp(0)


def examples_at_once(model: VAE) -> int:
    """How many examples can be summed over their states side by side."""
    posterior, states = model.posterior, 1
    if posterior.enumerates or isinstance(posterior, ComputedPosterior):
        states = getattr(posterior, "states", None) or model.states or 1
    elif model.states is not None and model.states <= MOST_SUMMED:
        states = model.states
    return max(1, min(AT_ONCE, LARGEST_CHUNK * 8 // (states * model.likelihood.dims)))
