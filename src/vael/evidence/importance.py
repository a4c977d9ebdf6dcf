"""log p(x) from weighted draws: of the posterior, of the prior, of both; and the bounds of other powers of a weight."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vael.data.batch import Batch
from vael.data.dataset import Split, positions
from vael.distributions.diagonal_gaussian import DiagonalGaussian, StandardGaussian
from vael.errors import RecipeError
from vael.evidence.estimate import LARGEST_CHUNK, Bound, Estimate, check_count, check_number, of_sums
from vael.memory import keep_freed_memory
from vael.models.vae import DRAWS_PER_STREAM, VAE
from vael.noise import Noise

LogWeights = Callable[[Noise, int], Tensor]  # (noise of k draws, number of the first) → log w `(k, B)`
Weigh = Callable[[VAE, Batch], LogWeights]  # encodes a batch once

SIDE_BY_SIDE = 8  # draws of an example that are decoded together, at least, where there are as many
MOST_WANTED = 10.0  # a prior estimate that would need this many times its draws says so before it runs


@dataclass(frozen=True)
class Importance:
    """log p(x) of every example from the mean of K importance weights.

        log p̂(x) = log 1/K Σ_k w_k,    w_k = p(x, z_k) / q(z_k|x),   z_k ~ q(z|x)

    In expectation a lower bound of log p(x), with variance (1/ESS − 1/K) by the delta method. Each example is encoded
    once and its weights are streamed, with noise of at most `chunk` numbers at a time, so K is bounded by patience, not
    memory. The draws of an example depend on (seed, its row, K) alone: pieces and batches do not matter. Where q is
    certain of one state, one draw is taken: log p̂ is then the bound itself, and of an error unknown.

    Source: Rezende, Mohamed & Wierstra 2014, appendix E; Burda et al. 2016, section 3.
    """

    draws: int = 5000
    chunk: int = LARGEST_CHUNK

    def __post_init__(self) -> None:
        check_count(type(self).__name__, draws=self.draws)

    def __call__(self, model: VAE, split: Split, *, seed: int = 0) -> Estimate:
        draws = 1 if model.posterior.certain else self.draws
        return weighed(model, split, from_posterior, draws, self.chunk, seed, "importance")


@dataclass(frozen=True)
class PriorSampling:
    """log p(x) of every example from draws of the prior: log 1/K Σ_k p(x|z_k),   z_k ~ p(z).

    A lower bound in expectation, and hopeless where the posterior is narrow: see `log_prior_spread`, by which it warns
    before it runs, unless `forewarned`: who has asked `forewarn` need not be told again.

    Source: Doersch 2016, section 2 (arXiv 1606.05908).
    """

    draws: int = 5000
    chunk: int = LARGEST_CHUNK
    forewarned: bool = False

    def __post_init__(self) -> None:
        check_count(type(self).__name__, draws=self.draws)

    def __call__(self, model: VAE, split: Split, *, seed: int = 0) -> Estimate:
        for note in [] if self.forewarned else self.forewarn(model, split):
            warnings.warn(note, stacklevel=2)
        return weighed(model, split, from_prior, self.draws, self.chunk, seed, "prior_sampling")

    def forewarn(self, model: VAE, split: Split) -> list[str]:
        """What there is to say before it runs: the draws it would need for a relative error of 1, if it lacks them."""
        needed = log_prior_spread(model, split)
        if needed is None or float(needed.median()) < math.log(MOST_WANTED * self.draws):
            return []
        return [
            f"prior sampling: half of the examples need more than 10^{float(needed.median()) / math.log(10):.0f} draws "
            f"of the prior for p(x) to be right within a factor of e; {self.draws} are asked for. "
            f"The value will be far too low: use importance or annealed."
        ]


@dataclass(frozen=True)
class Defensive:
    """Importance sampling where a share of the K draws comes from the prior, weighed by the mixture of both.

        w_k = p(x, z_k) / [ (1 − s) q(z_k|x) + s p(z_k) ],    s K of the z_k from p(z), the rest from q(z|x)

    No weight exceeds p(x|z)/s, so a q that misses a part of the posterior cannot hide it for ever. Unbiased for p(x):
    the number of draws from each is fixed, and the weights are the balance heuristic's.

    share: s, between 0 and 1; rounded so that s K is a whole number.
    Source: Hesterberg 1995, Weighted average importance sampling and defensive mixture distributions; Veach & Guibas
    1995 for the balance heuristic.
    """

    draws: int = 5000
    share: float = 0.1
    chunk: int = LARGEST_CHUNK

    def __post_init__(self) -> None:
        check_count("Defensive", draws=self.draws)
        check_number("Defensive", share=self.share)
        if not 0 < self.share < 1:
            raise RecipeError(f"Defensive: share must be between 0 and 1, got {self.share}.")
        if not 0 < self.from_prior < self.draws:
            raise RecipeError(
                f"Defensive: {self.draws} draws with a share of {self.share} leave none for one side; take more draws."
            )

    @property
    def from_prior(self) -> int:
        """How many draws come from the prior."""
        return round(self.share * self.draws)

    def __call__(self, model: VAE, split: Split, *, seed: int = 0) -> Estimate:
        count, draws = self.from_prior, self.draws

        def mixed(model: VAE, batch: Batch) -> LogWeights:
            q, p = model.posterior(batch.x, batch.given, batch.observed), model.prior(batch.given)

            def log_w(noise: Noise, first: int) -> Tensor:
                (eps,) = noise.latents
                k = torch.arange(first, first + len(eps), device=eps.device)
                # Every (draws / count)-th draw, so that any piece of the stream has its share.
                theirs = ((k + 1) * count // draws > k * count // draws)[:, None, None]
                z = torch.where(theirs, p.from_noise(eps), q.from_noise(eps))
                log_p = p.log_prob(z)
                both = torch.logaddexp(q.log_prob(z) + math.log1p(-count / draws), log_p + math.log(count / draws))
                found: Tensor = model.log_px_z(batch, z) + log_p - both
                return found

            return log_w

        return weighed(model, split, mixed, self.draws, self.chunk, seed, "defensive")


@dataclass(frozen=True)
class Renyi:
    """The variational Rényi bound, from K importance weights.

        L_α(x) = 1/(1 − α) log E_q[w^{1 − α}] = log p(x) − D_α(q‖p(z|x))

    α → 1 is the ELBO, α = 0 is log p(x) itself, α < 0 an upper bound: CUBO_n is α = 1 − n. The logarithm of a mean of
    finitely many weights lies below that of their expectation, so an upper bound from few draws can fall below log p(x)
    (at K = 1 it is the ELBO): it is called an estimate. Watch the effective sample size, that of the weights w^{1 − α}.

    Source: Li & Turner 2016 (arXiv 1602.02311); Dieng et al. 2017 for CUBO (arXiv 1611.00328).
    """

    draws: int = 5000
    alpha: float = 0.5
    chunk: int = LARGEST_CHUNK

    def __post_init__(self) -> None:
        check_count("Renyi", draws=self.draws)
        check_number("Renyi", alpha=self.alpha)
        if self.alpha == 1:
            raise RecipeError("Renyi: alpha = 1 is the ELBO, which every evaluation shows; choose another alpha.")

    def __call__(self, model: VAE, split: Split, *, seed: int = 0) -> Estimate:
        power = 1 - self.alpha
        found = weighed(model, split, from_posterior, self.draws, self.chunk, seed, "renyi", power)
        return Estimate(
            found.value / power, found.monte_carlo_error / abs(power), found.effective_sample_size, self.draws,
            "renyi", "estimate" if self.alpha < 0 else "lower",
        ).shifted(split.log_jacobian * (1 - 1 / power))  # fmt: skip


def from_posterior(model: VAE, batch: Batch) -> LogWeights:
    """log w of draws from q(z|x); of draws, too, where the posterior would rather count all its states."""
    q = model.posterior(batch.x, batch.given, batch.observed)

    def log_w(noise: Noise, first: int) -> Tensor:
        if not model.posterior.enumerates:
            return model.terms_under(q, batch, noise).log_w_of(len(noise.latents[0]))
        (eps,) = noise.latents
        z = q.from_noise(eps)
        found: Tensor = model.log_joint(batch, z) - q.log_prob(z)
        return found

    return log_w


def from_prior(model: VAE, batch: Batch) -> LogWeights:
    """log p(x|z) of draws from p(z): their weights, since p(z) cancels."""
    p = model.prior(batch.given)
    return lambda noise, first: model.log_px_z(batch, p.from_noise(noise.latents[0]))


def weighed(
    model: VAE, split: Split, weigh: Weigh, draws: int, chunk: int, seed: int, method: str, power: float = 1.0
) -> Estimate:
    """log of the mean of w^power over `draws` weights of every example, streamed; + the split's log-Jacobian.

    Examples are encoded once, as many at a time as `chunk` allows numbers of noise; the likelihood decodes their draws
    in pieces of its own, which want several draws of each example rather than one of many.
    """
    at_once = min(draws, DRAWS_PER_STREAM)
    examples_at_once = max(1, chunk // max(min(draws, SIDE_BY_SIDE) * model.likelihood.dims, at_once * model.latent))
    split, was_training = split.settled(seed=0).to(model.device), model.training
    bound: Bound = "lower"
    keep_freed_memory()
    pieces = []
    model.eval()
    try:
        with torch.inference_mode():
            for rows in positions(split, examples_at_once):
                batch, examples = split.batch(rows.to(model.device)), split.index[rows].tolist()
                model.likelihood.check(batch.x)
                log_weights = weigh(model, batch)
                once = torch.full((len(rows),), -math.inf, dtype=torch.float64)
                twice = once.clone()
                for first in range(0, draws, at_once):
                    noise = model.noise_for(examples, range(first, min(first + at_once, draws)), seed=seed)
                    log_w = power * log_weights(noise, first).to("cpu", torch.float64)  # (k, B)
                    once = torch.logaddexp(once, log_w.logsumexp(0))
                    twice = torch.logaddexp(twice, (2 * log_w).logsumexp(0))
                value, error, size = of_sums(once, twice, draws)
                pieces.append(Estimate(value + split.log_jacobian[rows], error, size, draws, method, bound))
    finally:
        model.train(was_training)
    return Estimate.join(pieces)


def log_prior_spread(model: VAE, split: Split) -> Tensor | None:
    """log of how many draws of the prior it takes for the estimate of p(x) to have a relative error of 1, `(N,)`.

        E_p[p(x|z)²] / p(x)² = E_posterior[posterior / prior] ≈ ∫ q² / p
                             = Π_j exp(m_j² / (2 − s_j²)) / (s_j √(2 − s_j²))      for q = N(m, s²), p = N(0, I)

    with the encoder's q for the posterior; exact where q is. None where q or p are other laws. In x = W z + ε with
    W = w I, at x = 0, it is [(w² + σ²) / (σ √(2w² + σ²))]^d: 3 · 10⁸ draws for w = 1, σ = 0.1, d = 10.
    """
    found, was_training = [], model.training
    model.eval()
    with torch.inference_mode():
        for rows in positions(split, 500):
            batch = split.settled(seed=0).to(model.device).batch(rows.to(model.device))
            q, p = model.posterior(batch.x, batch.given, batch.observed), model.prior(batch.given)
            if not isinstance(q, DiagonalGaussian) or not isinstance(p, StandardGaussian):
                break
            room = torch.clamp(2 - q.variance, min=1e-6)  # a q wider than √2 has no finite answer
            each = q.loc.square() / room - q.log_scale - 0.5 * torch.log(room)
            found.append(each.sum(-1).to("cpu", torch.float64))
    model.train(was_training)
    return torch.cat(found) if found else None
