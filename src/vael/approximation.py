"""Variational inference for a density that a person wrote: no data set, no model, log p̃(z) alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vael.errors import RecipeError, ShapeError, TrainingError
from vael.evidence.annealed import Annealed
from vael.evidence.estimate import Estimate, check_count, mean_weight
from vael.inference import Path, ascend
from vael.models.terms import detached
from vael.noise import stream
from vael.posteriors import EncodedPosterior, FullGaussianPosterior

LogJoint = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Approximation:
    """A law q(z) near the one whose log-density, but for a constant, is `log_joint`.

    log_joint: z `(K, D)` → `(K,)`, nats. q: Batch shape `(1,)`, event shape `(D,)`.
    """

    log_joint: LogJoint
    q: Any

    def sample(self, draws: int, *, seed: int = 0) -> Tensor:
        """Draws from q, `(K, D)`; the same for the same seed."""
        eps = torch.randn(
            (draws, 1, *self.q.event_shape), dtype=self.q.mean.dtype, generator=stream(seed, purpose="approximation")
        )
        z: Tensor = self.q.from_noise(eps)[:, 0]
        return z.detach()

    def log_weights(self, draws: int = 5000, *, seed: int = 0) -> Tensor:
        """log p̃(z) − log q(z) of draws from q, nats, `(K,)` float64."""
        z = self.sample(draws, seed=seed)
        with torch.no_grad():
            log_w: Tensor = self.log_joint(z) - self.q.log_prob(z[:, None])[:, 0]
        return log_w.double()

    def elbo(self, draws: int = 5000, *, seed: int = 0) -> tuple[float, float]:
        """E_q[log p̃(z) − log q(z)] ≤ log ∫ p̃, and its standard error, nats."""
        log_w = self.log_weights(draws, seed=seed)
        return float(log_w.mean()), float(log_w.std() / draws**0.5)

    def evidence(self, draws: int = 5000, *, seed: int = 0, annealed: Annealed | None = None) -> Estimate:
        """log ∫ p̃(z) dz: importance-sampled from q, or `annealed` from q."""
        if annealed is None:
            value, error, size = mean_weight(self.log_weights(draws, seed=seed)[:, None])
            return Estimate(value, error, size, draws, "importance", "lower")
        width = self.q.variance.sqrt().detach()
        path = Path(self.q.log_prob, lambda z: self.log_joint(z[:, 0])[:, None], self.q.from_noise, width, width)
        value, error, size = mean_weight(annealed.log_weights(path, [0], seed=seed))
        return Estimate(value, error, size, annealed.chains, "annealed", "lower")


def approximate(
    log_joint: LogJoint, latent: int, *, posterior: EncodedPosterior | None = None, steps: int = 2000, draws: int = 16,
    learning_rate: float = 0.05, begin: Tensor | None = None, seed: int = 0,
) -> Approximation:  # fmt: skip
    """The law q(z) of a family that is nearest, by KL(q‖p), to the law with log-density `log_joint` + constant.

        max over λ of E_{q_λ}[log p̃(z) − log q_λ(z)],    z by reparameterisation, in float64

    log_joint: z `(K, D)` → `(K,)`, nats, differentiable; built of what you know, such as log p(data, z).
    latent: D. posterior: The family, without a network, such as GaussianPosterior(latent=D); a full Gaussian when left
    out. steps, draws, learning_rate: Of Adam, the rate falling to zero along a half cosine. begin: The mean to start
    from, `(D,)`; zeros when left out.

    Raises ShapeError when log_joint returns another shape, RecipeError when the family is of another size,
    TrainingError when log_joint is not finite where q is.
    Source: Kucukelbir et al. 2017, Automatic differentiation variational inference (arXiv 1603.00788).
    """
    family = posterior or FullGaussianPosterior(latent=latent)
    if family.latent != latent:
        raise RecipeError(f"approximate: the posterior has {family.latent} latents, latent is {latent}.")
    if family.path != "smooth":
        raise RecipeError(f"approximate: draws of {type(family).__name__} carry no gradient; use a Gaussian family.")
    check_count("approximate", latent=latent, draws=draws)
    outputs = torch.zeros(1, family.width(latent), dtype=torch.float64)
    if begin is not None:
        if tuple(torch.as_tensor(begin).shape) != (latent,):
            raise ShapeError(
                f"approximate: begin has shape {tuple(torch.as_tensor(begin).shape)}, expected ({latent},), a mean."
            )
        outputs[0, :latent] = torch.as_tensor(begin, dtype=torch.float64)

    def bound(outputs: Tensor, step: int) -> Tensor:
        q: Any = family.law(outputs)
        shape = (draws, 1, latent)
        eps = torch.randn(shape, dtype=torch.float64, generator=stream(seed, step, purpose="approximate"))
        z = q.from_noise(eps)
        log_p = log_joint(z[:, 0])
        if tuple(log_p.shape) != (draws,):
            raise ShapeError(
                f"approximate: log_joint returned shape {tuple(log_p.shape)} for z of shape ({draws}, {latent}), "
                f"expected ({draws},): one log-density for each draw."
            )
        if not log_p.requires_grad:
            raise RecipeError("approximate: log_joint carries no gradient to z; write it in torch, without detach().")
        # q's parameters held still in log q: where q is the target the gradient is then zero draw by draw
        # (Roeder et al. 2017, arXiv 1703.09194).
        value: Tensor = (log_p - detached(q).log_prob(z)[:, 0]).mean(0, keepdim=True)
        if not torch.isfinite(value).all():
            raise TrainingError(
                f"approximate, step {step}: log_joint is not finite at a draw of q, whose mean is "
                f"{q.mean[0].tolist()}.\n  Let z range over the whole line, as by z = log of what is positive; or "
                f"begin nearer."
            )
        return value

    found = ascend(bound, outputs, steps=steps, learning_rate=learning_rate)
    return Approximation(log_joint, family.law(found))
