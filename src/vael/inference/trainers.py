"""What the trainers that stand beside the VAE's own have in common: batches by address, and an optimiser."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from vael.data.batch import Batch
from vael.data.dataset import Split
from vael.errors import RecipeError
from vael.models.vae import VAE
from vael.noise import stream
from vael.posteriors.exact import ComputedPosterior


class Trainer(ABC):
    """A model and its data, advanced one batch at a time by Adagrad: a function of (seed, step).

    Args:
        model: Trained in place. split: The examples; binarised once where it is dynamic.
        batch: Examples in a step. learning_rate: Of Adagrad. seed: Of batches and draws.

    Source: Kingma & Welling 2013, section 5, for Adagrad and batches of 100.
    """

    def __init__(
        self, model: VAE, split: Split, *, batch: int = 100, learning_rate: float = 0.02, seed: int = 0
    ) -> None:
        if batch < 1:
            raise RecipeError(f"{type(self).__name__}: batch must be at least 1, got {batch}.")
        if not learning_rate > 0:
            raise RecipeError(f"{type(self).__name__}: learning_rate must be above 0, got {learning_rate}.")
        self.model, self.split = model, split.settled(seed=0).to(model.device)
        self.batch, self.learning_rate, self.seed, self.step = batch, learning_rate, seed, 0
        self.optimizer = torch.optim.Adagrad(self.learned(), lr=learning_rate)

    @abstractmethod
    def learned(self) -> list[Tensor]:
        """The parameters that a step moves."""

    @abstractmethod
    def advance(self) -> float:
        """One step: what was maximised, in nats per example."""

    def chosen(self) -> Tensor:
        """Positions of the examples of this step, drawn from the split without regard to earlier ones."""
        order = torch.randperm(len(self.split), generator=stream(self.seed, self.step, purpose="batch"))
        return order[: self.batch].to(self.split.x.device)

    def look(self) -> Batch:
        """The examples of this step, in the type of the model."""
        batch = self.split.batch(self.chosen())
        return Batch(batch.x.to(next(self.model.parameters()).dtype), batch.observed, index=batch.index)

    def move(self, gain: Tensor) -> float:
        """One update that raises `gain`."""
        self.optimizer.zero_grad(set_to_none=True)
        (-gain).backward()
        self.optimizer.step()
        return float(gain.detach())


def parameters_of(*modules: torch.nn.Module) -> list[Tensor]:
    """The modules' parameters that learn."""
    return [one for module in modules for one in module.parameters() if one.requires_grad]


def needs_encoder(name: str, model: VAE) -> None:
    """Raise RecipeError where q(z|x) has nothing to learn."""
    if isinstance(model.posterior, ComputedPosterior) or not parameters_of(model.posterior):
        raise RecipeError(f"{name}: learns an encoder, and {type(model.posterior).__name__} has no parameters. Use em.")
