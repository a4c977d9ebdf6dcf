"""Monte Carlo EM: no encoder; each E-step walks a chain to the posterior."""

import math
from typing import Any

import torch
from torch import Tensor

from vael.data.batch import Batch
from vael.errors import RecipeError
from vael.inference.hmc import BEGINNING, hamiltonian, noise_of
from vael.inference.path import path_to_posterior
from vael.inference.trainers import Trainer, parameters_of

GAIN = 0.3  # log-step per unit of missed acceptance, after each move


class MCEM(Trainer):
    """One `advance` is a draw of z from p(z|x) by Hamiltonian moves, then `updates` steps uphill in log p(x, z).

    Each example has a chain of its own, which starts at a draw of the prior and goes on when the example comes up.
    One step size serves all; it follows the wanted acceptance from move to move and from batch to batch, as the
    posterior narrows. The model's posterior is not learned, nor used but for a guess of the width of z.

    Args:
        model, split, batch, learning_rate, seed: As for `Trainer`.
        updates: Steps of the weights for each draw. moves, leapfrog: What leads to the draw: `moves · leapfrog` passes
            through the decoder and back. acceptance: Wanted of the moves.

    accepted: Mean acceptance over the moves of the last step.
    Source: Kingma & Welling 2013, appendix E and figure 3: ten leapfrog steps, acceptance 0.9, five updates.
    """

    def __init__(
        self, *arguments: Any, updates: int = 5, moves: int = 10, leapfrog: int = 10, acceptance: float = 0.9,
        **keywords: Any,
    ) -> None:  # fmt: skip
        for name, value in {"updates": updates, "leapfrog": leapfrog, "moves": moves}.items():
            if value < 1:
                raise RecipeError(f"MCEM: {name} must be at least 1, got {value}.")
        if not 0 < acceptance < 1:
            raise RecipeError(f"MCEM: acceptance must be between 0 and 1, got {acceptance}.")
        self.updates, self.leapfrog, self.acceptance, self.moves = updates, leapfrog, acceptance, moves
        self.log_step, self.accepted = math.log(BEGINNING), math.nan
        super().__init__(*arguments, **keywords)
        (start,) = self.model.noise(1, len(self.split), seed=self.seed).latents
        with torch.no_grad():
            self.z = self.model.prior().from_noise(start[0])  # (N, D)

    def learned(self) -> list[Tensor]:
        return parameters_of(self.model.prior, self.model.likelihood)

    def advance(self) -> float:
        """Mean log p(x, z) before the last update, nats per example."""
        batch, reached = self.look(), 0.0
        z = self.walk(batch).unsqueeze(0)
        for _ in range(self.updates):
            reached = self.move(self.model.log_joint(batch, z).mean())
        self.step += 1
        return reached

    def walk(self, batch: Batch) -> Tensor:
        """z `(B, D)` of this step's examples after the moves."""
        path, chosen, acceptances = path_to_posterior(self.model, batch), self.chosen(), []
        seed = self.seed + 1_000_003 * self.step
        width = self.model.latent + 2
        noise = noise_of(chosen.tolist(), 1, width, seed=seed, purpose="mcem", like=path.goal_width)
        place = path.at(self.z[chosen].unsqueeze(0))
        for _ in range(self.moves):
            step = torch.full_like(place.start[0], math.exp(self.log_step))
            place, accepted = hamiltonian(place, 1.0, path, next(noise), step=step, leapfrog=self.leapfrog)
            acceptances.append(float(accepted.mean()))
            self.log_step += GAIN * (acceptances[-1] - self.acceptance)
        self.accepted = sum(acceptances) / len(acceptances)
        self.z[chosen] = place.z[0]
        return place.z[0]
