"""Whether q(z|x) is as sure as it should be, on examples whose z is known: simulation-based calibration."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from vael.diagnostics.draws import at_rest, draw
from vael.errors import RecipeError
from vael.models.vae import VAE
from vael.noise import stream

SIMULATED = 2000  # that are simulated
DRAWS = 99  # so that a rank is one of 100, and 50 % and 90 % are whole numbers of them
BINS = 20


@dataclass(frozen=True)
class Calibration:
    """Ranks of the true z_j among draws of q(z_j|x), for examples from the model itself.

    counts: How many fell in each twentieth of the ranks, `(D, 20)`; all alike where q(z|x) = p(z|x).
    p_value: Of the χ² test that they are, `(D,)`. half, most: share of the examples whose z_j lies in the central 50 %
        and 90 % of q(z_j|x), `(D,)`; less where q is too narrow or off the mark, more where it is too wide.
    """

    counts: Tensor
    p_value: Tensor
    half: Tensor
    most: Tensor
    examples: int


def calibration(model: VAE, *, examples: int = SIMULATED, seed: int = 0, given: Tensor | None = None) -> Calibration:
    """Simulate z ~ p(z), x ~ p(x|z), and rank z among 99 draws of q(z|x), unit by unit.

    For the exact posterior every rank 0 … 99 has the same probability. The model is judged by its own data: that it
    fits yours is another question.

    given: Of a conditional model, what each example is conditioned on, `(examples, C)`.

    Raises RecipeError for a latent that is discrete or has point masses, whose ranks are ties.
    Source: Talts et al. 2018, Validating Bayesian inference algorithms (arXiv 1804.06788).
    """
    tie = tied(model.prior(given))
    if tie is not None:
        raise RecipeError(f"calibration: {tie}; it needs a continuous latent.")
    found = []
    with at_rest(model):
        # Pieces of a fixed size: what an example gets depends on (seed, piece) alone.
        for number, rows in enumerate(torch.arange(examples).split(500)):
            generator = stream(seed, number, purpose="calibration")
            like = model.noise(1, 1, seed=seed).latents[0]
            eps = torch.randn((DRAWS + 1, len(rows), model.latent), dtype=like.dtype, generator=generator)
            eps = eps.to(like.device)
            told = None if given is None else given[rows].to(like)
            z = draw(model.prior(told), eps[0])
            source = stream(seed, number, purpose="calibration x", device=like.device)
            x = model.likelihood.draw(model.likelihood(z, told), source).to(like.dtype)
            found.append((draw(model.posterior(x, told), eps[1:]) < z).sum(0).cpu())
    return of_ranks(torch.cat(found))


def tied(prior: Distribution) -> str | None:
    """Why two draws of a latent can be the same number, which has no rank; None where they cannot.

    A law says so itself: `discrete` for states, `atomic` for point masses such as a spike at zero.
    """
    if getattr(prior, "discrete", False):
        return "z is discrete, so its rank among draws is a tie"
    if getattr(prior, "atomic", False):
        return "z has point masses, so its rank among draws is a tie"
    return None


def of_ranks(ranks: Tensor) -> Calibration:
    """The verdict on ranks `(N, D)`, whole numbers 0 … 99."""
    examples, units = ranks.shape
    bins = ranks // ((DRAWS + 1) // BINS)
    counts = torch.stack([torch.bincount(bins[:, unit], minlength=BINS) for unit in range(units)])
    expected = examples / BINS
    statistic = ((counts - expected).double().square() / expected).sum(1)
    return Calibration(
        counts=counts,
        p_value=torch.special.gammaincc(torch.full_like(statistic, (BINS - 1) / 2), statistic / 2),
        half=_inside(ranks, 0.5),
        most=_inside(ranks, 0.9),
        examples=examples,
    )


def _inside(ranks: Tensor, share: float) -> Tensor:
    """The share of ranks in the central `share` of 0 … 99, `(D,)`."""
    edge = round((1 - share) / 2 * (DRAWS + 1))
    return ((ranks >= edge) & (ranks < DRAWS + 1 - edge)).double().mean(0)
