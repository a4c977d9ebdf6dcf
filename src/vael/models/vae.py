"""Prior, likelihood and posterior bound together."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vael.data.batch import Batch
from vael.distributions.kl import find_kl, find_unit_kl
from vael.errors import RecipeError, ShapeError
from vael.likelihoods.base import Likelihood
from vael.models.terms import Latent, Terms
from vael.noise import Noise, normals, stream
from vael.posteriors.base import Posterior
from vael.posteriors.chain import ChainPosterior
from vael.priors.base import Prior

DRAWS_PER_STREAM = 256  # an example's draws come in blocks of this many, each from a stream of its own


class VAE(nn.Module):
    """p(x, z) = p(z) p(x|z), with q(z|x) to find z from x.

    Args:
        prior: p(z).
        likelihood: p(x|z).
        posterior: q(z|x).

    Raises ShapeError when prior and posterior disagree on the size of z, RecipeError when they are laws
    over different points: see `check_support`.
    Source: Kingma & Welling 2013 (arXiv 1312.6114); Rezende, Mohamed & Wierstra 2014 (arXiv 1401.4082).
    """

    def __init__(self, prior: Prior, likelihood: Likelihood, posterior: Posterior) -> None:
        super().__init__()
        if prior.latent != posterior.latent:
            raise ShapeError(f"VAE: the prior has {prior.latent} latents, the posterior {posterior.latent}.")
        self.prior, self.likelihood, self.posterior = prior, likelihood, posterior
        prior.bind(posterior, likelihood)
        posterior.bind(prior, likelihood)
        for p, q in pairs_of(prior, posterior):
            check_support(p.family, q.family)
        self.kl = find_kl(posterior.family, prior.family)
        self.unit_kl = find_unit_kl(posterior.family, prior.family)

    @property
    def latent(self) -> int:
        """How many numbers z holds."""
        return self.prior.latent

    @property
    def states(self) -> int | None:
        """How many states a discrete z has; None where it is not discrete."""
        if not getattr(self.prior.family, "discrete", False):
            return None
        found: int = self.prior().states
        return found

    @property
    def given(self) -> int:
        """How many numbers the decoder is told beside z; 0 for an unconditional one, or one that does not say."""
        inputs = getattr(self.likelihood.network, "inputs", None)
        return max(inputs - self.latent, 0) if isinstance(inputs, int) else 0

    @property
    def lacking(self) -> str | None:
        """Why there is no log p(x), in words, or None."""
        if not self.posterior.has_density:
            return "the encoder is deterministic, and q(z|x) has no density"
        return None if self.likelihood.has_density() else "grey values under Bernoulli have no density"

    @property
    def parameters_count(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    @property
    def device(self) -> torch.device:
        """Where its parameters are, and its batches must be."""
        return self._like().device

    def _like(self) -> Tensor:
        """A tensor of the model's own type and device, to make noise like."""
        return next(self.parameters(), torch.empty(0))

    def noise(self, draws: int, batch: int, *, seed: int, step: int = 0, spare: int = 0) -> Noise:
        """Noise for K `draws` of each of the `batch` examples of a step: a function of (seed, step, position).

        spare: How many normals an objective wants beside them, for each number of z.
        """
        like = self._like()

        def drawn(count: int, purpose: str) -> Tensor:
            shape = (count, batch, self.latent)
            return normals(shape, seed=seed, step=step, dtype=like.dtype, device=like.device, purpose=purpose)

        return Noise((drawn(draws, "latent"),), drawn(spare, "spare") if spare else None)

    def noise_for(self, examples: Sequence[int], draws: range, *, seed: int) -> Noise:
        """Noise for the numbered `draws` of single examples: a function of (seed, example, draws), whatever the batch.

        examples: Their numbers, B of them. draws: Consecutive, starting at a multiple of DRAWS_PER_STREAM; a block cut
        short of that many has other noise than a full one, since torch makes normals by the dozen.
        """
        like, blocks = self._like(), []
        for first in range(draws.start, draws.stop, DRAWS_PER_STREAM):
            shape = (min(DRAWS_PER_STREAM, draws.stop - first), self.latent)
            streams = (stream(seed, example, first, purpose="latent of example") for example in examples)
            blocks.append(torch.stack([torch.randn(shape, dtype=like.dtype, generator=g) for g in streams], dim=1))
        return Noise((torch.cat(blocks).to(like.device),))

    def log_px_z(self, batch: Batch, z: Tensor) -> Tensor:
        """log p(x|z) of the observed features, nats, `(K, B)`, for z `(K, B, D)`."""
        return self.likelihood.log_prob(batch.x, z, batch.given, batch.observed)

    def log_joint(self, batch: Batch, z: Tensor) -> Tensor:
        """log p(x, z) of the observed features, nats, `(K, B)`, for z `(K, B, D)`."""
        log_p: Tensor = self.prior(batch.given).log_prob(z)
        return self.log_px_z(batch, z) + log_p

    def terms(self, batch: Batch | Tensor, noise: Noise, *, reparameterised: bool = True) -> Terms:
        """The log-densities of K draws for each of B examples: a pure function of its arguments.

        batch: B examples, or their x `(B, *event)` alone. noise: From `noise` or `noise_for`, `(K, B, D)`.
        reparameterised: Whether z carries a gradient to the posterior's parameters; without it, the score function has
            to. A posterior that enumerates gives all its states instead of draws, weighed by log q.
        Raises ShapeError when x does not fit the likelihood.
        """
        if not isinstance(batch, Batch):
            batch = Batch(torch.as_tensor(batch))
        self.likelihood.check(batch.x)
        (eps,) = noise.latents
        if tuple(eps.shape[1:]) != (len(batch), self.latent):
            raise ShapeError(
                f"VAE: the noise has shape {tuple(eps.shape)}, expected (draws, {len(batch)}, {self.latent}) for "
                f"{len(batch)} examples.\n  Make it with model.noise(draws, {len(batch)}, seed=…)."
            )
        x = batch.x if batch.seen is None else batch.seen
        if batch.label is not None and isinstance(self.posterior, ChainPosterior):
            q = self.posterior.labelled(x, batch.given, batch.observed, batch.label)
        else:
            q = self.posterior(x, batch.given, batch.observed)
        return self.terms_under(q, batch, noise, reparameterised=reparameterised)

    def terms_under(self, q: Any, batch: Batch, noise: Noise, *, reparameterised: bool = True) -> Terms:
        """The same with another q(z|x) of the posterior's family, found otherwise than by its encoder."""
        (eps,) = noise.latents
        if self.posterior.enumerates:
            z = q.every()
            log_measure = q.log_prob(z)
        elif getattr(q, "summed", False):
            z, log_measure = q.weighed(eps)
        else:
            z = q.from_noise(eps) if hasattr(q, "from_noise") else _foreign_draws(q, eps)
            log_measure = torch.full((), -math.log(len(eps)), dtype=z.dtype, device=z.device)
        if not reparameterised:
            z = z.detach()
        latent = Latent(q, self.prior(batch.given), z, log_measure, self.kl, self.unit_kl)
        penalties: dict[str, Tensor] = getattr(q, "penalties", {})
        return Terms((latent,), self.log_px_z(batch, z), log_measure, penalties, noise.spare, batch)


def pairs_of(prior: Any, posterior: Any) -> list[tuple[Any, Any]]:
    """Prior and posterior, level by level where both are chains."""
    if hasattr(prior, "levels") and hasattr(posterior, "levels"):
        return list(zip(prior.levels, posterior.levels, strict=True))
    return [(prior, posterior)]


def check_support(p: type[Distribution] | None, q: type[Distribution] | None) -> None:
    """Raise RecipeError for two laws of z over different points, such as states and lengths: p/q has no meaning.

    A law says so itself: `discrete` for states, `atomic` for point masses, `space` for a curved space.
    """
    if p is None or q is None:
        return
    if (space := getattr(p, "space", "")) != getattr(q, "space", ""):
        curved = p if space else q
        raise RecipeError(
            f"VAE: the prior is a law of {p.__name__}, the posterior one of {q.__name__}; a {curved.__name__} is a "
            f"density over {getattr(curved, 'space')}, so that log p(z) − log q(z|x) needs both over it.\n"  # noqa: B009
            f"  Choose both of one kind: --prior hyperspherical --posterior von_mises_fisher, or --prior hyperbolic "
            f"--posterior wrapped_normal."
        )
    discrete = any(getattr(law, "discrete", False) for law in (p, q))
    atomic = [getattr(law, "atomic", False) for law in (p, q)]
    if (discrete and p is not q) or atomic[0] != atomic[1]:
        raise RecipeError(
            f"VAE: the prior is a law of {p.__name__}, the posterior one of {q.__name__}; log p(z) − log q(z|x) needs "
            f"both over the same states.\n  Choose prior and posterior of one kind, such as --prior bernoulli "
            f"--posterior bernoulli."
        )


def _foreign_draws(q: Distribution, eps: Tensor) -> Tensor:
    """Reparameterised draws of a distribution that takes no noise, from torch's global state, forked and seeded."""
    warnings.warn(
        f"{type(q).__name__} has no from_noise: its draws come from torch's global generator, in eager mode only.",
        stacklevel=3,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(eps.flatten()[0].view(torch.int32 if eps.dtype == torch.float32 else torch.int64)))
        drawn: Tensor = q.rsample(torch.Size((len(eps),)))
    return drawn
