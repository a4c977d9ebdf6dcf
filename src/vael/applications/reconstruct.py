"""What the model makes of an example: its latent, and the example that latent stands for."""

import torch
from torch import Tensor

from vael.applications.generate import AT_ONCE, centres
from vael.data.dataset import Split, positions
from vael.diagnostics.units import posterior_mean
from vael.models.vae import VAE


def encode(model: VAE, split: Split) -> tuple[Tensor, Tensor]:
    """Posterior mean and standard deviation of every example, `(N, D)` each, float64; the same at every call.

    Grey values of a dynamically binarised model are cut at one half, so a row's latent does not depend on its place.
    """
    split, was_training = split.thresholded().to(model.device), model.training
    model.eval()
    means, deviations = [], []
    try:
        with torch.inference_mode():
            for rows in positions(split, AT_ONCE):
                batch = split.batch(rows.to(model.device))
                q = model.posterior(batch.x, batch.given, batch.observed)
                means.append(posterior_mean(q).cpu())
                deviations.append(q.variance.sqrt().to("cpu", torch.float64))
    finally:
        model.train(was_training)
    return torch.cat(means), torch.cat(deviations)


def reconstruct(model: VAE, split: Split) -> Tensor:
    """The centre of p(x|z) at the posterior mean of every example, `(N, *event)`, in the model's units.

    A picture of what z keeps, and no part of a bound: E f(z) is not f(E z).
    """
    means, _ = encode(model, split)
    return centres(model, means)
