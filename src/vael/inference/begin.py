"""Where expectation–maximisation begins."""

import copy
import math

import torch
from torch import Tensor

from vael.data.dataset import Split
from vael.errors import RecipeError
from vael.inference.em import check, feature_means, whole
from vael.inference.maximise import head, maximise, set_scale, unfloored
from vael.inference.truncated import e_step_of
from vael.likelihoods.gaussian import Gaussian
from vael.models.vae import VAE
from vael.noise import stream
from vael.priors.discrete import CategoricalPrior

PART = 0.3  # of the way to an example, for a column of W that is one of several causes


@torch.no_grad()
def begin_at(model: VAE, split: Split, *, seed: int = 0, starts: int = 1, cooling: int = 20) -> None:
    """Put an affine Gaussian decoder where `em` may begin, in place: at the data, by (seed).

    b becomes the data's mean and σ their deviation. Each column of W becomes the way from the mean to an example drawn
    at random: the whole of it for a mixture, a part for a sum of several causes.

    starts: Beginnings to try, for models whose likelihood has many maxima. With more than one, each is cooled and the
        highest log p is kept. cooling: EM steps during which σ is held above a bound that falls from the data's
        deviation to 0, so that at first every cause may explain every example (deterministic annealing).
    Raises RecipeError for a model that `em` cannot fit, and for starts below 1.
    Source of the cooling: Ueda & Nakano 1998, Deterministic annealing EM; here of the noise, as in sparse coding.
    """
    check(model, 1)
    if starts < 1:
        raise RecipeError(f"begin_at: starts must be at least 1, got {starts}.")
    split, best = split.settled(seed=0), -math.inf
    kept = model.state_dict()
    for start in range(starts):
        work = copy.deepcopy(model).double().eval()
        put(work, split, seed=seed, start=start)
        reached = cooled(work, split, cooling) if starts > 1 else 0.0
        if reached > best:
            best, kept = reached, work.state_dict()
    model.load_state_dict(kept)


def put(model: VAE, split: Split, *, seed: int, start: int) -> None:
    """One beginning: b, σ and W from the data."""
    likelihood, layer = model.likelihood, head(model)
    assert isinstance(likelihood, Gaussian)
    x, seen = whole(split)
    centre = feature_means(split)
    away = torch.where(seen, x - centre, torch.zeros_like(x))
    drawn = torch.randperm(len(x), generator=stream(seed, start, purpose="begin at the data"))
    columns = away[drawn.repeat(-(-model.latent // len(x)))[: model.latent]].mT  # (F, D)
    if not isinstance(model.prior, CategoricalPrior):
        columns = columns * PART
    squares, count = away.square().sum(0), seen.sum(0)
    if likelihood.scale == "per_example":
        outputs = unfloored(likelihood, deviation(squares, count))
        layer.weight.copy_(torch.cat([columns, outputs.unsqueeze(-1).expand_as(columns)]))
        layer.bias.copy_(torch.cat([centre, torch.zeros_like(centre)]))
    else:
        layer.weight.copy_(columns)
        layer.bias.copy_(centre)
        set_scale(likelihood, squares, count)


def deviation(squares: Tensor, count: Tensor) -> Tensor:
    """√(squares / count), 0 where nothing is counted."""
    return (squares / torch.clamp(count, min=1)).sqrt()


def cooled(model: VAE, split: Split, cooling: int) -> float:
    """Mean log p(x) after EM under a falling bound on σ, and a few steps without it."""
    x, seen = whole(split)
    centre, e_step = feature_means(split), e_step_of(model)
    hot = float((torch.where(seen, x - centre, torch.zeros_like(x)).square().sum() / seen.sum()).sqrt())
    for step in range(cooling + cooling // 4 + 1):
        moments = e_step(model, split, centre)
        maximise(model, moments, centre, least=hot * max(0.0, 1 - step / max(cooling, 1)))
    return e_step(model, split, centre).mean_log_px
