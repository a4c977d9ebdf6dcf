"""The E-step: exact, or over states that each example keeps from step to step."""

from collections.abc import Callable

from torch import Tensor

from vael.data.dataset import Split, positions
from vael.distributions.listed import Listed
from vael.inference.moments import AT_ONCE, Moments, double, expect, of_law
from vael.models.vae import VAE
from vael.noise import stream
from vael.posteriors.truncated import TruncatedPosterior, evolved

EStep = Callable[[VAE, Split, Tensor], Moments]

GENERATIONS = 3  # of the states of each example, between two M-steps


def e_step_of(model: VAE, *, seed: int = 0) -> EStep:
    """The E-step for the posterior that `model` has."""
    return KeptStates(seed=seed) if isinstance(model.posterior, TruncatedPosterior) else expect


class KeptStates:
    """The truncated E-step: K(x) of every example, improved by a few generations at each call.

    q(z) ∝ p(x, z) for z in K(x), so the sum over examples of log Σ_{z ∈ K} p(x, z), a lower bound of log p, rises with
    every call and with every M-step between two calls.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.seed, self.calls = seed, 0
        self.kept: list[Tensor] = []

    def __call__(self, model: VAE, split: Split, centre: Tensor) -> Moments:
        """`expect`, with the bound in place of log p(x); always with the same split."""
        posterior = model.posterior
        assert isinstance(posterior, TruncatedPosterior)
        size = max(1, AT_ONCE // (2 * posterior.states * model.likelihood.dims))
        total: Moments | None = None
        for piece, rows in enumerate(positions(split, size)):
            batch = double(split.batch(rows))
            if piece == len(self.kept):
                self.kept.append(posterior.begin(len(rows), like=batch.x))
            generator = stream(self.seed, self.calls, piece, purpose="evolve", device=batch.x.device)
            log_joint = posterior.log_joint(batch.x, observed=batch.observed)
            self.kept[piece], value = evolved(self.kept[piece], log_joint, GENERATIONS, generator)
            log_px = value.logsumexp(0) + split.log_jacobian[rows].to(value)
            found = of_law(Listed(self.kept[piece], value), log_px, batch, centre)
            total = found if total is None else total + found
        self.calls += 1
        assert total is not None
        return total
