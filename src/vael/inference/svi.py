"""q(z|x) found example by example: parameters of its own in place of an encoder's outputs, optimised."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Distribution

from vael.data.batch import Batch
from vael.data.dataset import Split, positions
from vael.errors import RecipeError
from vael.models.terms import Terms, average
from vael.models.vae import VAE
from vael.posteriors.base import EncodedPosterior

AT_ONCE = 500  # examples optimised side by side

Begin = Literal["encoder", "prior"]


@dataclass(frozen=True)
class SVI:
    """Stochastic variational inference: each example has its own outputs, in the place of the encoder's.

        λ_n ← λ_n + Adam step of ∇ ELBO(q_λ; x_n),    q_λ the posterior's law of outputs λ

    From the encoder's outputs it is the semi-amortised posterior after `steps` steps; from "prior", zeros, which are
    N(0, I) for every Gaussian law, it owes nothing to the encoder. The learning rate falls to zero along a half cosine,
    so that the last steps average the noise out.

    Args:
        steps: Updates. draws: Of z in each. learning_rate: Of Adam, at the start.
        begin: The outputs it begins with, the "encoder"'s or those of the "prior".

    Source: Hoffman et al. 2013; Kim et al. 2018, Semi-amortized variational autoencoders (arXiv 1802.02550).
    """

    steps: int = 200
    draws: int = 10
    learning_rate: float = 0.03
    begin: Begin = "encoder"

    def __post_init__(self) -> None:
        if self.steps < 0 or self.draws < 1:
            raise RecipeError(f"SVI: needs at least 0 steps and 1 draw, got {self.steps} steps and {self.draws} draws.")
        if not self.learning_rate > 0:
            raise RecipeError(f"SVI: learning_rate must be above 0, got {self.learning_rate}.")
        if self.begin not in ("encoder", "prior"):
            raise RecipeError(f"SVI: begin must be encoder or prior, got {self.begin!r}.")

    def __call__(self, model: VAE, split: Split, *, seed: int = 0) -> Tensor:
        """The outputs of every example of a split, `(N, width)`; `posterior.law` makes laws of them.

        Raises RecipeError for a posterior that does not read its law off the outputs of a network.
        """
        split, was_training = split.settled(seed=0).to(model.device), model.training
        model.eval()
        try:
            pieces = []
            for rows in positions(split, AT_ONCE):
                batch = split.batch(rows.to(model.device))
                pieces.append(self.outputs(model, batch, split.index[rows].tolist(), seed=seed))
            return torch.cat(pieces)
        finally:
            model.train(was_training)

    def outputs(self, model: VAE, batch: Batch, examples: list[int], *, seed: int = 0) -> Tensor:
        """The same for one batch."""
        found = first_outputs(model, batch, self.begin)
        with torch.enable_grad():
            return ascend(
                lambda outputs, step: bound_of(
                    model.terms_under(
                        law_of(model, outputs), batch, model.noise(self.draws, len(batch), seed=seed, step=step)
                    )
                ),
                found, steps=self.steps, learning_rate=self.learning_rate,
            )  # fmt: skip


def bound_of(terms: Terms) -> Tensor:
    """The ELBO from the draws, its gradient by the path of z alone: no noise where q is the posterior; nats, `(B,)`.

    Source: Roeder, Wu & Duvenaud 2017, Sticking the landing (arXiv 1703.09194).
    """
    return average(terms.log_w_fixed, terms.log_measure)


def first_outputs(model: VAE, batch: Batch, begin: Begin) -> Tensor:
    """Outputs to begin with, `(B, width)`."""
    posterior = read_off(model)
    with torch.no_grad():
        if begin == "encoder":
            return posterior.outputs_of(batch.x, batch.observed, batch.given).detach().clone()
        return next(model.parameters()).new_zeros(len(batch), posterior.width(posterior.latent))


def read_off(model: VAE) -> EncodedPosterior:
    """The model's posterior, if its law is read off outputs. Raises RecipeError otherwise."""
    if not isinstance(model.posterior, EncodedPosterior):
        raise RecipeError(
            f"SVI: {type(model.posterior).__name__} does not read its law off an encoder's outputs, so there is "
            f"nothing to optimise in their place."
        )
    if model.posterior.path in ("none", "relaxed"):
        raise RecipeError(
            "SVI: the latents are discrete and their draws carry no gradient, so no q of an example's own is found.\n"
            "  Gaps need smooth draws, or a posterior that enumerates its states."
        )
    return model.posterior


def law_of(model: VAE, outputs: Tensor) -> Distribution:
    """q(z|x) of outputs `(B, width)`."""
    return read_off(model).law(outputs)


def ascend(bound: Callable[[Tensor, int], Tensor], begin: Tensor, *, steps: int, learning_rate: float) -> Tensor:
    """`begin` `(B, width)` after `steps` Adam steps up `bound`, each row on its own; the rate falls along a cosine.

    bound: (outputs, step) → `(B,)`, the rows independent of each other.
    """
    outputs = begin.clone().requires_grad_()
    adam = torch.optim.Adam([outputs], lr=learning_rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(steps, 1))
    for step in range(steps):
        # A sum, so that every row moves as it would alone: Adam scales each number by itself.
        (slope,) = torch.autograd.grad(-bound(outputs, step).sum(), outputs)
        outputs.grad = slope
        adam.step()
        falling.step()
    return outputs.detach()
