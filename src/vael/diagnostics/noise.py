"""The decoder's noise beside what it has to explain: a Gaussian's σ against the errors, and against the data."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vael.data.dataset import Split, positions
from vael.diagnostics.draws import EXAMPLES_AT_ONCE, at_rest, posterior_draws, some
from vael.diagnostics.linear_theory import active_by_theory, eigenvalues
from vael.likelihoods.gaussian import Gaussian
from vael.models.vae import VAE

MOST_ROWS, MOST_OF_WIDE = 20_000, 3_000  # training rows whose covariance is taken, and of more than 3 000 features


@dataclass(frozen=True)
class DecoderNoise:
    """A Gaussian decoder's noise, which does not depend on z; the model's units, features weighed by their own σ.

    scale: σ, the geometric mean over features. fixed: whether it was given, not learned.
    errors: E[(x − loc(z))²/σ²] over features and examples; 1 where σ is as wide as the errors.
    eigenvalues: Of the covariance of x/σ over the training rows: λ/σ², largest first.
    latent: Size of z.
    """

    scale: float
    fixed: bool
    errors: float
    eigenvalues: Tensor
    latent: int

    def predicted(self, beta: float = 1.0) -> int:
        """Active units of the best linear model, λ > βσ²."""
        return active_by_theory(self.eigenvalues, 1.0, beta=beta, latent=self.latent)


def decoder_noise(
    model: VAE, split: Split, training: Split, *, examples: int = 2000, seed: int = 0
) -> DecoderNoise | None:
    """σ against the errors on `split` and the covariance of the `training` rows; None unless there is one σ.

    None too where values are missing, for then the covariance is not that of whole rows.
    """
    likelihood = model.likelihood
    if not isinstance(likelihood, Gaussian) or likelihood.scale == "per_example" or training.observed is not None:
        return None
    with at_rest(model):
        part = some(split.settled(seed=0).to(model.device), examples, seed)
        z = posterior_draws(model, part, draws=1, seed=seed)
        scale = likelihood.noise_scale(z).expand(likelihood.event_shape)
        squares = []
        for rows in positions(part, EXAMPLES_AT_ONCE):
            batch = part.batch(rows.to(part.x.device))
            loc = likelihood.centre(likelihood(z[0, rows], batch.given))
            squares.append(((batch.x - loc) / scale).square().flatten(1).mean(1).cpu())
        return DecoderNoise(
            scale=float(scale.double().log().mean().exp()),
            fixed=not isinstance(likelihood.scale, str),
            errors=float(torch.cat(squares).double().mean()),
            eigenvalues=eigenvalues(seen_rows(training, seed=seed).to(scale.device) / scale),
            latent=model.latent,
        )


def seen_rows(training: Split, *, seed: int = 0) -> Tensor:
    """x `(N, *event)` of the training rows whose covariance is taken: all, or so many that its roots take seconds.

    Of fewer rows than features the largest eigenvalues come out a little too large, and the rest as 0.
    """
    wide = training.x[0].numel() > MOST_OF_WIDE
    known = some(training.settled(seed=0), MOST_OF_WIDE if wide else MOST_ROWS, seed)
    return known.batch(torch.arange(len(known), device=known.x.device)).x
