"""One training step, shaped so that it can be captured: static shapes, noise from outside, nothing read back."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vael.data.batch import Batch
from vael.data.dataset import Split
from vael.errors import RecipeError
from vael.inference.em import em
from vael.models.terms import Terms
from vael.models.vae import VAE
from vael.noise import Noise, stream
from vael.objectives.elbo import Objective
from vael.posteriors.base import Posterior
from vael.training.order import Order
from vael.training.schedules import learning_rate_at, warm_up_share
from vael.training.settings import Training

USUAL_PATHS = frozenset({"smooth", "relaxed", "all"})  # of an objective that differentiates through z
PATHS = {
    "smooth": "draws z as a smooth function of noise.\n  Use elbo, stl, iwae or dreg",
    "relaxed": "relaxes its draws while it trains, and they are not draws of q.\n  Use elbo or iwae, or leave out its "
    "temperature and use score or vimco",
    "none": "draws states exactly, which passes on no gradient: the encoder would learn nothing from x.\n  Use "
    "score or vimco, or give the posterior a temperature, or enumerates = true",
    "all": "takes all states in place of draws.\n  Use elbo, whose gradient is then exact, or leave out enumerates",
}


def check_gradient(objective: object, posterior: Posterior) -> None:
    """Raise RecipeError where the objective's gradient by the encoder's parameters would be wrong for its draws."""
    path = posterior.path
    if path not in getattr(objective, "paths", USUAL_PATHS):
        name, of = type(objective).__name__, type(posterior).__name__
        raise RecipeError(f"{name}: does not go with {of}, which {PATHS[path]}.")


class Bound(nn.Module):
    """The one module that training wraps: (batch, noise) → the objective in nats per example, `(B,)`.

    On the way it adds the batch's objective, rate and distortion to `monitor`, so that logging computes nothing twice.
    """

    monitor: Tensor

    def __init__(self, model: VAE, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective
        self.register_buffer("monitor", torch.zeros(3, dtype=torch.float64), persistent=False)

    def terms(self, batch: Batch, noise: Noise) -> Terms:
        """The model's terms of one batch."""
        # An objective that differentiates by the score function asks for draws that carry no gradient.
        return self.model.terms(batch, noise, reparameterised=getattr(self.objective, "reparameterised", True))

    def forward(self, batch: Batch, noise: Noise) -> Tensor:
        terms = self.terms(batch, noise)
        value = self.objective(terms)
        with torch.no_grad():
            self.monitor += torch.stack([value.detach(), terms.rate.detach(), terms.distortion.detach()]).mean(1)
        return value


@dataclass(frozen=True)
class Look:
    """What one step would see: kept apart from the update so that a NaN can be looked for."""

    batch: Batch
    noise: Noise


class Engine:
    """Model, optimiser and data of a run, advanced one step at a time.

    Everything a step depends on is `step` itself, the weights, the optimiser's moments and `slowdown`, the factor on
    the learning rate that a rewind leaves behind.
    """

    def __init__(self, model: VAE, objective: Objective, split: Split, training: Training, *, seed: int) -> None:
        check_gradient(objective, model.posterior)
        self.model, self.split, self.training, self.seed = model, split, training, seed
        self.device = next(model.parameters()).device
        batch = len(split) if training.by == "em" else min(training.batch, len(split))
        self.order = Order(len(split), batch, seed, split.blocks)
        self.share = torch.ones((), device=self.device)
        self.bound = Bound(model, objective if training.warm_up <= 0 else objective.warmed(self.share)).to(self.device)
        self.rate = torch.tensor(training.learning_rate)
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=self.rate, weight_decay=training.weight_decay, eps=training.epsilon, fused=True
        )
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.step, self.slowdown, self.since_reset = 0, 1.0, 0
        self.jacobian = float(split.log_jacobian.mean())

    def look(self, step: int) -> Look:
        """Batch and noise of `step`."""
        chosen = self.order(step).to(self.device)
        uniform = None
        if self.split.dynamic:
            shape = (len(chosen), *self.split.x.shape[1:])
            uniform = torch.rand(shape, generator=stream(self.seed, step, purpose="binarise")).to(self.device)
        noise = self.model.noise(self.bound.objective.draws, len(chosen), seed=self.seed, step=step)
        return Look(self.split.batch(chosen, uniform), noise)

    def schedule(self, step: int) -> None:
        """Fill the tensors that change with the step, so that a captured graph sees them change."""
        training = self.training
        rate = learning_rate_at(
            step, schedule=training.schedule, base=training.learning_rate, steps=training.steps, stages=training.stages
        )
        self.rate.fill_(rate * self.slowdown)
        self.share.fill_(warm_up_share(step, training.warm_up, cycle=training.cycle))

    def advance(self) -> None:
        """One update, by the gradient of a batch or by expectation–maximisation over all examples."""
        self.schedule(self.step)
        if self.training.by == "em":
            self._maximise()
        else:
            self._climb()
        self.step += 1
        self.since_reset += 1

    def _maximise(self) -> None:
        """E and M over all examples; what the bound is then, for the history."""
        em(self.model, self.split, steps=1)
        look = self.look(self.step)
        with torch.no_grad():
            self.bound(look.batch, look.noise)

    def _climb(self) -> None:
        """Look, bound, gradient, clip, step."""
        look = self.look(self.step)
        loss = -self.bound(look.batch, look.noise).mean()
        loss.backward()
        self._clip()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _clip(self) -> None:
        """Hand the fused update a divisor that brings the gradient's norm down to `clip`: no pass of its own."""
        if self.training.clip > 0:
            norm = nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
            fused: Any = self.optimizer
            fused.grad_scale = torch.clamp(norm / self.training.clip, min=1.0)
            fused.found_inf = torch.zeros_like(norm)

    def means(self) -> dict[str, float]:
        """Mean objective, elbo, rate and distortion of the steps since the last call, in the user's units; one read."""
        objective, rate, distortion = (self.bound.monitor / max(self.since_reset, 1)).tolist()
        self.bound.monitor.zero_()
        self.since_reset = 0
        distortion -= self.jacobian
        return {
            "objective": objective + self.jacobian,
            "elbo": -rate - distortion,
            "rate": rate,
            "distortion": distortion,
        }

    def first_not_finite(self) -> str | None:
        """The name of the first term, gradient or weight of the next step that is not finite, or None."""
        self.schedule(self.step)
        look = self.look(self.step)
        terms = self.bound.terms(look.batch, look.noise)
        for name, term in terms.named().items():
            if not torch.isfinite(term).all():
                return name
        (-self.bound.objective(terms).mean()).backward()
        bad = [
            name for name, p in self.model.named_parameters() if p.grad is not None and not torch.isfinite(p.grad).all()
        ]
        self.optimizer.zero_grad(set_to_none=True)
        return f"the gradient of {bad[0]}" if bad else None
