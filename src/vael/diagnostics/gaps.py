"""Where log p(x) − ELBO comes from: the family of q, or the encoder that has to find its parameters."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vael.data.dataset import Split, positions
from vael.inference.svi import AT_ONCE, SVI, bound_of, law_of
from vael.models.vae import VAE

DRAWS = 100  # of z for each bound, the same noise for both: their difference is sharper than either


@dataclass(frozen=True)
class Gaps:
    """The inference gap of each of N examples in its two parts, nats, all `(N,)` float64.

        log p(x) − ELBO(q) = [log p(x) − ELBO(q*)] + [ELBO(q*) − ELBO(q)]
                              approximation           amortisation

    log_px: What log p(x) was found to be. best: ELBO(q*), q* the best law of the posterior's family for that example
        alone, as far as SVI found it. elbo: ELBO(q), q the encoder's.

    Source: Cremer, Li & Duvenaud 2018, Inference suboptimality in variational autoencoders (arXiv 1801.03558).
    """

    log_px: Tensor
    best: Tensor
    elbo: Tensor

    @property
    def inference(self) -> Tensor:
        """KL(q‖p(z|x))."""
        return self.log_px - self.elbo

    @property
    def approximation(self) -> Tensor:
        """KL(q*‖p(z|x)): what the family cannot say."""
        return self.log_px - self.best

    @property
    def amortisation(self) -> Tensor:
        """What the encoder misses of the best law of its family."""
        return self.best - self.elbo


def gaps(model: VAE, split: Split, log_px: Tensor, *, svi: SVI | None = None, seed: int = 0) -> Gaps:
    """The gaps of every example of a split whose log p(x) `(N,)`, in nats of the user's own units, is known.

    svi: How q* is looked for; from the encoder by default. Both bounds are means over 100 draws of one noise.
    Raises RecipeError for a posterior that does not read its law off the outputs of a network.
    """
    split, was_training = split.settled(seed=0).to(model.device), model.training
    outputs = (svi or SVI())(model, split, seed=seed)
    model.eval()
    best, amortised = [], []
    try:
        with torch.inference_mode():
            for rows in positions(split, AT_ONCE // 10):
                batch = split.batch(rows.to(model.device))
                noise = model.noise_for(split.index[rows].tolist(), range(DRAWS), seed=seed + 1)
                # log w itself rather than a closed-form rate: near the posterior it hardly varies from draw to draw.
                best.append(bound_of(model.terms_under(law_of(model, outputs[rows]), batch, noise)))
                amortised.append(bound_of(model.terms(batch, noise)))
    finally:
        model.train(was_training)
    found = (torch.cat(bounds).to("cpu", torch.float64) + split.log_jacobian.cpu() for bounds in (best, amortised))
    return Gaps(log_px, *found)
