"""Which class an example is of, by a model that knows of classes."""

import math

import torch
from torch import Tensor

from vael.data.dataset import Split
from vael.data.schema import Schema
from vael.diagnostics.draws import at_rest
from vael.errors import RecipeError
from vael.models.vae import VAE
from vael.noise import Noise
from vael.posteriors.chain import ChainPosterior

NUMBERS = 2**21  # decoded side by side
EXAMPLES = 512


def classify(
    model: VAE, schema: Schema, split: Split, *, draws: int = 0, shares: Tensor | None = None, seed: int = 0
) -> Tensor:
    """Probabilities of the classes of every example, `(N, C)` float64.

    Of a model whose latents begin with a class, q(y|x) with `draws` = 0; else, with K draws for each class,

        p(y|x) ∝ p(y) · 1/K Σ_k p(x, z_k|y) / q(z_k|x, y),    z_k ~ q(z|x, y)

    which is p(y|x) itself as K grows. Of a model of p(x|y), conditioned on one category, the latter with the classes'
    `shares` `(C,)` as p(y), equal ones when left out; the encoder is then told each class in turn.

    Grey values of a dynamically binarised model are cut at one half. Raises RecipeError where the model knows of no
    class, or of more than a class, or draws are below 1 where they are needed.
    """
    chain = isinstance(model.posterior, ChainPosterior) and model.posterior.summed
    if draws < (0 if chain else 1):
        raise RecipeError(f"classify: draws must be at least {0 if chain else 1}, got {draws}.")
    if not chain:
        check_one_category(schema)
    split = split.thresholded().to(model.device)
    classes = model.posterior.sizes[0] if isinstance(model.posterior, ChainPosterior) else schema.given[0].levels
    at_once = max(1, min(EXAMPLES, NUMBERS // (max(draws, 1) * classes * model.likelihood.dims)))
    found = []
    with at_rest(model):
        for first in range(0, len(split), at_once):
            part = split.rows(torch.arange(first, min(first + at_once, len(split)), device=split.x.device))
            if chain and not draws:
                batch = part.batch(torch.arange(len(part), device=part.x.device))
                law = model.posterior.levels[0](batch.x, batch.given, batch.observed)  # type: ignore[operator, index]
                found.append(law.logits[:, 0].double().softmax(-1).cpu())
                continue
            noise = model.noise_for(part.index.tolist(), range(draws), seed=seed)
            log_pxy = of_chain(model, part, noise) if chain else of_given(model, part, noise, classes, shares)
            found.append(log_pxy.double().softmax(-1).cpu())
    return torch.cat(found)


def of_chain(model: VAE, part: Split, noise: Noise) -> Tensor:
    """log p(x, y) by importance sampling below every class y, `(B, C)`."""
    batch = part.batch(torch.arange(len(part), device=part.x.device))
    q = model.posterior(batch.x, batch.given, batch.observed)
    terms = model.terms_under(q, batch, noise)
    draws = len(noise.latents[0])
    # log w has log q(y|x) taken off, which the measure holds beside −log K.
    joint = (terms.log_w + terms.log_measure).unflatten(0, (draws, -1))  # (K, C, B)
    summed: Tensor = joint.logsumexp(0).T
    return summed


def of_given(model: VAE, part: Split, noise: Noise, classes: int, shares: Tensor | None) -> Tensor:
    """log p(x|y) + log p(y) by importance sampling with every class y given, `(B, C)`."""
    batch, found = part.batch(torch.arange(len(part), device=part.x.device)), []
    log_share = torch.zeros(classes) if shares is None else shares.log()
    for y in range(classes):
        told = torch.zeros(len(part), batch.given.shape[-1]).to(batch.x)  # type: ignore[union-attr]
        told[:, y] = 1
        given = type(batch)(batch.x, batch.observed, told, None, batch.index)
        log_w = model.terms(given, noise).log_w
        found.append(log_w.logsumexp(0) - math.log(len(log_w)) + log_share[y].to(log_w))
    return torch.stack(found, -1)


def check_one_category(schema: Schema) -> None:
    """Raise RecipeError unless x is conditioned on one category and nothing else."""
    given = schema.given
    if len(given) != 1 or given[0].kind != "category" or schema.part is not None:
        told = ", ".join(f"{field.name} ({field.kind})" for field in given) or "nothing"
        raise RecipeError(
            f"classify: needs a model of classes; this one is conditioned on {told}.\n"
            f"  Fit with --label COLUMN --learn-label, or with --given COLUMN for one category."
        )
