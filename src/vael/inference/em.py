"""Expectation–maximisation for models with an exact posterior and an affine Gaussian decoder."""

import copy

import torch
from torch import Tensor

from vael.data.dataset import Split
from vael.errors import RecipeError
from vael.inference.maximise import maximise, not_closed
from vael.inference.truncated import e_step_of
from vael.likelihoods.base import masked_mean
from vael.models.vae import VAE
from vael.posteriors.exact import ComputedPosterior


def em(model: VAE, split: Split, *, steps: int = 1000, tolerance: float = 1e-8) -> list[float]:
    """Fit a classical model in place: the posterior is exact, and each maximisation has a closed form.

        E: q(z|x) = p(z|x)        M: parameters = argmax Σ_x E_q[log p(x, z)]

    log p never decreases. A `TruncatedPosterior` is not exact: then it is its bound of log p that never decreases, and
    each example keeps its states from step to step. The work is done in float64, whatever the model's own type. A
    feature that is missing in an example takes no part in that example's E and M.

    model: An affine Gaussian decoder under an exact posterior, such as those of `vael.models.classical`; it goes on
        from the weights that it has, see `begin_at`.
    split: The examples. steps: At most so many M-steps. tolerance: Stop when a step gains fewer nats per example.

    Returns mean log p(x) in nats per example of the user's units, before the first step and after each.
    Raises RecipeError for a model with another posterior or decoder, and for steps below 1.
    Source: Dempster, Laird & Rubin 1977; Tipping & Bishop 1999, appendix B; Rubin & Thayer 1982.
    """
    check(model, steps)
    work, split = copy.deepcopy(model).double().eval(), split.settled(seed=0)
    history: list[float] = []
    with torch.no_grad():
        centre, e_step = feature_means(split), e_step_of(work)
        for step in range(steps + 1):
            moments = e_step(work, split, centre)
            history.append(moments.mean_log_px)
            if step == steps or (step and history[-1] - history[-2] < tolerance):
                break
            maximise(work, moments, centre)
    model.load_state_dict(work.state_dict())
    return history


def check(model: VAE, steps: int) -> None:
    """Raise RecipeError unless `em` can fit `model` in at least one step."""
    if not isinstance(model.posterior, ComputedPosterior):
        raise RecipeError(
            f"em: needs the model's exact posterior, got {type(model.posterior).__name__}, which is learned.\n"
            f"  Build the model with vael.models.classical, or fit it by gradient with vael.fit."
        )
    refusal = not_closed(model)
    if refusal:
        raise RecipeError(f"em: {refusal}")
    if steps < 1:
        raise RecipeError(f"em: steps must be at least 1, got {steps}.")


def feature_means(split: Split) -> Tensor:
    """Mean of each feature over the examples of a settled split that have it, `(F,)` float64."""
    x, seen = whole(split)
    return masked_mean(x, seen)


def whole(split: Split) -> tuple[Tensor, Tensor]:
    """x of a settled split, float64 and 0 in its holes, and which of it is observed; both `(N, F)`."""
    batch = split.batch(torch.arange(len(split)))
    x = batch.x.flatten(1).double()
    seen = torch.ones_like(x, dtype=torch.bool) if batch.observed is None else batch.observed
    return torch.where(seen, x, torch.zeros_like(x)), seen
