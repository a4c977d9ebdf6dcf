"""What the model makes of an example: its latent, and the example that latent stands for."""

import torch
from torch import Tensor

from vael.applications.generate import AT_ONCE, centres
from vael.data.dataset import Split
from vael.diagnostics.units import posterior_mean
from vael.memory import keep_freed_memory
from vael.models.vae import VAE

NUMBERS_AT_ONCE = 3 * 2**17  # 1.5 MiB of features


def encode(model: VAE, split: Split) -> tuple[Tensor, Tensor]:
    """Posterior mean and standard deviation of every example, `(N, D)` each, float64; the same at every call.

    Grey values of a dynamically binarised model are cut at one half, so a row's latent does not depend on its place.
    """
    split, was_training = split.thresholded().to(model.device), model.training
    means, variances = [], []
    keep_freed_memory()
    model.eval()
    try:
        with torch.inference_mode():
            for batch in split.batches(encoded_at_once(model)):
                q = model.posterior(batch.x, batch.given, batch.observed)
                means.append(posterior_mean(q))
                variances.append(q.variance)
    finally:
        model.train(was_training)
    return torch.cat(means).cpu(), torch.cat(variances).sqrt().to("cpu", torch.float64)


def encoded_at_once(model: VAE) -> int:
    """How many examples are encoded side by side: their features stay in cache, and small rows come by the thousand."""
    numbers = NUMBERS_AT_ONCE if model.device.type == "cpu" else 64 * NUMBERS_AT_ONCE
    return max(1, min(AT_ONCE, numbers // model.likelihood.dims))


def reconstruct(model: VAE, split: Split) -> Tensor:
    """The centre of p(x|z) at the posterior mean of every example, `(N, *event)`, in the model's units.

    A picture of what z keeps, and no part of a bound: E f(z) is not f(E z).
    """
    means, _ = encode(model, split)
    return centres(model, means, split.told())
