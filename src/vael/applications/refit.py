"""p(z) fitted afterwards, to the codes of a trained model; all else stays as it is."""

import copy
import warnings
from typing import Any

import torch
from torch import Tensor

from vael.data.dataset import Split, positions
from vael.diagnostics.units import posterior_mean
from vael.errors import DataError, RecipeError
from vael.models.vae import VAE
from vael.noise import Noise, stream
from vael.priors.base import Prior
from vael.priors.exemplar import ExemplarPrior
from vael.priors.mixture import MixturePrior
from vael.priors.moved import MovedPrior

AT_ONCE = 500  # examples encoded side by side
DRAWS = 10  # of z for each example, where a law is begun, and where it is judged
LOOKS = 20  # at the other rows, while it is fitted


def refit_prior(
    model: VAE, split: Split, prior: Prior, *, validation: Split | None = None, steps: int = 2000, batch: int = 256,
    learning_rate: float = 3e-3, seed: int = 0,
) -> VAE:  # fmt: skip
    """The model with another p(z), of greatest E_q[log p(z)] over the examples of `split`; encoder and decoder kept.

        max_p 1/N Σ_n E_{q(z|x_n)}[log p(z)]

    With q held still that is the largest mean ELBO too, so a model with a density gains what q̄(z) lacked of its old
    prior, and its log p(x) is one of the new model. An autoencoder gets a law of its codes to draw from. A mixture is
    begun by expectation–maximisation; a prior made for N(0, I) is moved to the codes first, see `MovedPrior`; an
    `ExemplarPrior` holds the first codes, its width chosen by the other rows. The weights are the best of a few looks
    at them.

    split: Rows to fit to, in an order of no meaning. validation: Other rows, to choose by; the last tenth of `split`
    when left out. steps, batch, learning_rate: Of Adam, the rate falling along a half cosine.
    Raises RecipeError for a model of states, of levels or with something given; DataError for too few rows.
    Source: Ghosh et al. 2020, section 4, ex-post density estimation (arXiv 1903.12436); Dai & Wipf 2019 (1903.05789).
    """
    check(model, prior, steps, batch)
    split, other = parted(split, validation)
    kept = copy.deepcopy(model).eval()
    prior = begun(copy.deepcopy(prior).to(like(model)), kept, split, other, seed)
    fitted = VAE(prior, kept.likelihood, kept.posterior).eval()
    if not isinstance(prior, ExemplarPrior):
        climb(fitted, split, other, steps=steps, batch=batch, learning_rate=learning_rate, seed=seed)
    return fitted


def check(model: VAE, prior: Prior, steps: int, batch: int) -> None:
    """Raise RecipeError for a model whose codes are not numbers of their own, or a fit of no steps."""
    if steps < 0 or batch < 1:
        raise RecipeError(f"refit_prior: needs at least 0 steps and 1 row a step, got {steps} steps and {batch} rows.")
    if prior.latent != model.latent:
        raise RecipeError(f"refit_prior: the model has {model.latent} latents, the prior {prior.latent}.")
    because = {
        "z is made of states": model.states is not None or model.posterior.path == "none",
        f"z lies in {getattr(model.prior.family, 'space', '')}": bool(getattr(model.prior.family, "space", "")),
        "x is conditioned on what is given": bool(model.given),
        "z has levels": hasattr(model.prior, "levels"),
    }
    for why, is_so in because.items():
        if is_so:
            raise RecipeError(
                "refit_prior: fits a law of numbers to codes that are numbers, for a model of one level and nothing "
                f"given; here {why}.\n  Choose another prior before training: --prior KIND."
            )


def parted(split: Split, validation: Split | None) -> tuple[Split, Split]:
    """The rows to fit to and those to choose by."""
    split = split.settled(seed=0)
    if validation is not None and len(validation):
        return split, validation.settled(seed=0)
    cut = len(split) - len(split) // 10
    if cut == len(split):
        raise DataError(f"refit_prior: {len(split)} rows are too few to choose by a tenth of them; give validation.")
    return split.rows(torch.arange(cut)), split.rows(torch.arange(cut, len(split)))


def like(model: VAE) -> Tensor:
    """A tensor of the model's type and device."""
    return next(model.parameters())


def begun(prior: Prior, model: VAE, split: Split, other: Split, seed: int) -> Prior:
    """The prior where its fit begins."""
    codes = means(model, split)
    if isinstance(prior, ExemplarPrior):
        if len(codes) < prior.examples:
            raise DataError(f"refit_prior: {len(codes)} rows, and an exemplar prior of {prior.examples} examples.")
        prior.hold(codes[: prior.examples], drawn(model, other, seed).flatten(0, 1))
    elif isinstance(prior, MixturePrior):
        begin_mixture(prior, drawn(model, split, seed).flatten(0, 1), seed)
    else:
        prior = prior if isinstance(prior, MovedPrior) else MovedPrior(prior).to(codes)
        prior.move(drawn(model, split, seed).flatten(0, 1))
    return prior


def begin_mixture(prior: MixturePrior, codes: Tensor, seed: int) -> None:
    """Expectation–maximisation on codes `(N, D)`. Raises DataError for fewer codes than components."""
    from sklearn.mixture import GaussianMixture  # half a second, which no other step needs

    if len(codes) < prior.components:
        raise DataError(f"refit_prior: {len(codes)} codes are too few for {prior.components} components.")
    em = GaussianMixture(prior.components, covariance_type="diag", random_state=seed, max_iter=200, tol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not settled is nothing to be told: it is a beginning
        em.fit(codes.to("cpu", torch.float64).numpy())
    with torch.no_grad():
        prior.loc.copy_(torch.from_numpy(em.means_))
        prior.log_scale.copy_(0.5 * torch.from_numpy(em.covariances_).log())
        prior.logits.copy_(torch.from_numpy(em.weights_).clamp(min=1e-12).log())


def laws(model: VAE, split: Split) -> list[tuple[Any, list[int]]]:
    """q(z|x) of every example, a few hundred at a time, and their numbers."""
    with torch.no_grad():
        batches = ((split.batch(rows.to(split.x.device)), rows) for rows in positions(split, AT_ONCE))
        return [
            (model.posterior(batch.x, batch.given, batch.observed), split.index[rows].tolist())
            for batch, rows in batches
        ]


def means(model: VAE, split: Split) -> Tensor:
    """Posterior means, `(N, D)`."""
    return torch.cat([posterior_mean(q).to(like(model)) for q, _ in laws(model, split)])


def drawn(model: VAE, split: Split, seed: int) -> Tensor:
    """A few draws of z for each example, `(K, N, D)`, one where q(z|x) is a point; a function of seed and row."""
    pieces = []
    for q, rows in laws(model, split):
        (eps,) = model.noise_for(rows, range(DRAWS if model.posterior.has_density else 1), seed=seed).latents
        pieces.append(q.from_noise(eps))
    return torch.cat(pieces, 1)


@torch.no_grad()
def log_prob_of_codes(model: VAE, split: Split, *, seed: int = 0) -> Tensor:
    """E_q[log p(z)] of each example of a settled split, from a few draws, nats, `(N,)`."""
    codes = drawn(model, split, seed)
    found: list[Tensor] = [model.prior().log_prob(piece).mean(0) for piece in codes.split(AT_ONCE, 1)]
    return torch.cat(found)


def climb(
    model: VAE, split: Split, other: Split, *, steps: int, batch: int, learning_rate: float, seed: int
) -> None:  # fmt: skip
    """Adam on −log p(z) of fresh draws, in place; the weights are those under which the other rows were likeliest."""
    adam = torch.optim.Adam(model.prior.parameters(), lr=learning_rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(steps, 1))
    best, kept = float(log_prob_of_codes(model, other).mean()), copy.deepcopy(model.prior.state_dict())
    every = max(1, steps // LOOKS)
    for step in range(steps):
        rows = torch.randint(len(split), (batch,), generator=stream(seed, step, purpose="refit"))
        seen = split.batch(rows.to(split.x.device))
        noise: Noise = model.noise(1, len(seen), seed=seed, step=step)
        with torch.no_grad():
            z = model.posterior(seen.x, seen.given, seen.observed).from_noise(noise.latents[0])[0]
        adam.zero_grad()
        with torch.enable_grad():
            (-model.prior().log_prob(z).mean()).backward()
        adam.step()
        falling.step()
        if (step + 1) % every == 0 or step + 1 == steps:
            found = float(log_prob_of_codes(model, other).mean())
            if found > best:
                best, kept = found, copy.deepcopy(model.prior.state_dict())
    model.prior.load_state_dict(kept)
