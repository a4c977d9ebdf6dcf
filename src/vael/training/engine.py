"""One training step, shaped so that it can be captured: static shapes, noise from outside, nothing read back."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vael.data.batch import Batch
from vael.data.dataset import Split
from vael.errors import RecipeError
from vael.inference.em import em
from vael.models.terms import Terms
from vael.models.vae import VAE
from vael.noise import Noise, stream
from vael.objectives.elbo import Objective
from vael.posteriors.base import Posterior
from vael.training.adam import Adam
from vael.training.capture import CUDAGraph, compiled, foreign, quick, traced, unmoved
from vael.training.order import Order
from vael.training.ranks import ALONE, Averaged, Ranks, check_dealt
from vael.training.schedules import learning_rate_at, warm_up_share
from vael.training.settings import Training
from vael.training.shards import Shards, local, norm

EAGER_STEPS = 50  # before the step is recorded: what ends soon is not worth the recording,
PAYING_STEPS = 2000  # which takes as long as about so many steps save

CRITIC = "objective."  # before the names of what an objective learns

USUAL_PATHS = frozenset({"smooth", "relaxed", "straight", "all"})  # of an objective that differentiates through z
PATHS = {
    "smooth": "draws z as a smooth function of noise.\n  Use elbo, stl, iwae or dreg",
    "relaxed": "relaxes its draws while it trains, and they are not draws of q.\n  Use elbo or iwae, or leave out its "
    "temperature and use score or vimco",
    "none": "draws states exactly, which passes on no gradient: the encoder would learn nothing from x.\n  Use "
    "score or vimco, or give the posterior a temperature, or enumerates = true",
    "straight": "is certain of one code, and lets the gradient straight through that choice.\n  Use elbo",
    "point": "is no law of z, so it has no rate.\n  Use reconstruction or matching, or posterior gaussian",
    "all": "takes all states in place of draws.\n  Use elbo, whose gradient is then exact, or leave out enumerates",
}


def check_gradient(objective: object, posterior: Posterior) -> None:
    """Raise RecipeError where the objective's gradient by the encoder's parameters would be wrong for its draws."""
    path = posterior.path
    if path not in getattr(objective, "paths", USUAL_PATHS):
        name, of = type(objective).__name__, type(posterior).__name__
        raise RecipeError(f"{name}: does not go with {of}, which {PATHS[path]}.")


def for_examples(objective: Objective, examples: int) -> Objective:
    """The objective, which now knows how many training examples there are, if it wants to: see `for_examples`."""
    found: Objective = objective.for_examples(examples) if hasattr(objective, "for_examples") else objective
    return found


def check_value(objective: Objective, model: VAE, split: Split) -> None:
    """Raise what the objective has against the model, by asking it about two rows of a settled `split`.

    One that learns is asked by its first step: until it is bound it has no value.
    """
    if isinstance(objective, nn.Module):
        return
    aim, part = for_examples(objective, len(split)), split.rows(torch.arange(2) % len(split)).settled()
    noise = model.noise(aim.draws, 2, seed=0, spare=getattr(aim, "spare", 0))
    with torch.no_grad(), unmoved(model.buffers()):
        batch = part.batch(torch.arange(2))
        aim(model.terms(batch, noise, reparameterised=getattr(aim, "reparameterised", True)))


class Bound(nn.Module):
    """The one module that training wraps: (batch, noise) → the objective in nats per example, `(B,)`.

    Penalties that a part of the model states beside its densities are taken off, whatever the objective. On the way
    it adds the batch's objective, rate and distortion to `monitor`, so that logging computes nothing twice.
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
        for penalty in terms.penalties.values():
            value = value - penalty
        with torch.no_grad():
            rate = terms.rate.detach() if self.model.posterior.has_density else torch.zeros_like(value)
            self.monitor += torch.stack([value.detach(), rate, terms.distortion.detach()]).mean(1)
        return value


@dataclass(frozen=True)
class Look:
    """What one step would see: kept apart from the update so that a NaN can be looked for."""

    batch: Batch
    noise: Noise

    def tensors(self) -> list[Tensor]:
        """Its tensors in a fixed order; those that are not there are left out."""
        held = (getattr(self.batch, field.name) for field in fields(Batch))
        return [tensor for tensor in (*held, *self.noise.latents, self.noise.spare) if tensor is not None]

    def holding(self, tensors: Sequence[Tensor]) -> "Look":
        """A look of the same form that holds other `tensors`, in the order of `tensors()`."""
        given = iter(tensors)
        held: dict[str, Any] = {
            field.name: None if getattr(self.batch, field.name) is None else next(given) for field in fields(Batch)
        }
        latents = tuple(next(given) for _ in self.noise.latents)
        return Look(Batch(**held), Noise(latents, None if self.noise.spare is None else next(given)))


class Engine:
    """Model, optimiser and data of a run, advanced one step at a time.

    Everything a step depends on is `step` itself, the weights, the optimiser's moments and `slowdown`, the factor on
    the learning rate that a rewind leaves behind.

    capture: Whether, after some steps, the step is recorded and replayed (see `capture.py`): on a CPU its gradient, if
        it then gives the very same bits; on a CUDA device all of it, as a graph. `say` is told where that cannot be.
    ranks: The processes that share each batch. Several see every example once between them, follow the mean of their
        gradients, and take every step eagerly, `compile` or not.
    shard: Whether each of them holds a part of the weights and moments only; `parameters` are then those parts.
    Raises RecipeError where the objective's gradient would be wrong, or a batch cannot be shared.
    """

    def __init__(
        self,
        model: VAE,
        objective: Objective,
        split: Split,
        training: Training,
        *,
        seed: int,
        capture: bool = True,
        say: Callable[[str], None] = lambda text: None,
        ranks: Ranks = ALONE,
        shard: bool = False,
    ) -> None:
        objective = for_examples(objective, len(split))
        check_gradient(objective, model.posterior)
        check_dealt(objective, model, training, len(split), ranks)
        if isinstance(objective, nn.Module):  # one that learns, such as an adversary
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                objective.bind(model)  # type: ignore[operator]
        self.model, self.split, self.training, self.seed, self.say = model, split, training, seed, say
        self.device, self.ranks = next(model.parameters()).device, ranks
        batch = len(split) if training.by == "em" else min(training.batch, len(split))
        self.order = Order(len(split), batch, seed, split.blocks)
        self.share = torch.ones((), device=self.device)
        self.bound = Bound(model, objective if training.warm_up <= 0 else objective.warmed(self.share)).to(self.device)
        self.layout = torch.contiguous_format
        if not shard and any(parameter.dim() == 4 for parameter in model.parameters()):
            self.layout = torch.channels_last  # in which convolutions are faster, forward and backward
            nn.Module.to(model, memory_format=self.layout)  # type: ignore[call-overload]
        ranks.as_first(model.state_dict().values())
        self.shards = Shards(self.bound, ranks) if shard else None
        self.rate = torch.tensor(training.learning_rate, device=self.device)
        self.learn_all_but([name for name, parameter in model.named_parameters() if not parameter.requires_grad])
        self.step, self.slowdown, self.since_reset = 0, 1.0, 0
        self.paced = [buffer for name, buffer in self.bound.named_buffers() if name.split(".")[-1] == "progress"]
        self.jacobian = float(split.log_jacobian.mean())
        self.capture, self.eager_steps = capture, 0

    def learn_all_but(self, frozen: Sequence[str]) -> None:
        """Learn every parameter but those named, from moments of zero; a recorded step is forgotten.

        The model's parameters go by their names in it, those of an objective that learns by objective.NAME.
        """
        named = [*self.model.named_parameters(), *self.critics()]
        for name, parameter in named:
            parameter.requires_grad_(name not in frozen)
        self.names = [name for name, _ in named if name not in frozen]
        self.parameters: list[Tensor] = [parameter for name, parameter in named if name not in frozen]
        if self.shards is not None:
            self.parameters = [local(parameter) for parameter in self.parameters]
        decay, epsilon = self.training.weight_decay, self.training.epsilon
        self.replay: Callable[[Look], None] | None = None
        self.adam = Adam(self.parameters, self.rate, weight_decay=decay, epsilon=epsilon)
        self.averaged: Averaged | None = None

    def critics(self) -> list[tuple[str, nn.Parameter]]:
        """The parameters of an objective that learns, by name; none of another."""
        objective = self.bound.objective
        own = objective.named_parameters() if isinstance(objective, nn.Module) else ()
        return [(f"{CRITIC}{name}", parameter) for name, parameter in own]

    def look(self, step: int) -> Look:
        """Batch and noise of `step`: of this rank's examples."""
        chosen = self.order(step).to(self.device)
        mine = self.ranks.share(len(chosen))
        uniform = None
        if self.split.dynamic:
            shape = (len(chosen), *self.split.x.shape[1:])
            generator = stream(self.seed, step, purpose="binarise", device=self.device)
            uniform = torch.rand(shape, generator=generator, device=self.device)
        draws, spare = self.bound.objective.draws, getattr(self.bound.objective, "spare", 0)
        noise = self.model.noise(draws, len(chosen), seed=self.seed, step=step, spare=spare)
        if self.ranks.world > 1:
            spares = None if noise.spare is None else noise.spare[:, mine]
            noise = Noise(tuple(latent[:, mine] for latent in noise.latents), spares)
        batch = self.split.batch(chosen[mine], None if uniform is None else uniform[mine])
        if self.layout is torch.channels_last and batch.x.dim() == 4:
            batch = replace(batch, x=batch.x.contiguous(memory_format=self.layout))
        return Look(self.corrupted(batch, step, len(chosen), mine), noise)

    def corrupted(self, batch: Batch, step: int, examples: int, mine: slice) -> Batch:
        """The batch with noise on what the encoder sees, where its network asks for it; of this rank's examples."""
        corrupt = getattr(getattr(self.model.posterior, "network", None), "corrupt", None)
        if corrupt is None:
            return batch
        generator = stream(self.seed, step, purpose="corrupt", device=self.device)
        shape = (2, examples, *batch.x.shape[1:])
        eps = torch.randn(shape, dtype=batch.x.dtype, generator=generator, device=self.device)
        return replace(batch, seen=corrupt(batch.x, eps[:, mine]))

    def schedule(self, step: int) -> None:
        """Fill the tensors that change with the step, so that a captured graph sees them change."""
        training = self.training
        rate = learning_rate_at(
            step, schedule=training.schedule, base=training.learning_rate, steps=training.steps, stages=training.stages
        )
        self.rate.fill_(rate * self.slowdown)
        self.share.fill_(warm_up_share(step, training.warm_up, cycle=training.cycle))
        for progress in self.paced:
            progress.fill_(step / training.steps)

    def advance(self) -> None:
        """One update, by the gradient of a batch or by expectation–maximisation over all examples."""
        self.schedule(self.step)
        if self.training.by == "em":
            self._maximise()
        else:
            self._climb()

    def _maximise(self) -> None:
        """E and M over all examples; what the bound is then, for the history."""
        em(self.model, self.split, steps=1)
        look = self.look(self.step)
        with torch.no_grad():
            self.bound(look.batch, look.noise)
        self.count()

    def _climb(self) -> None:
        """Look, bound, gradient, clip, step."""
        look = self.look(self.step)
        if self.replay is None and self._time_to_capture():
            self.replay = self._captured(look)
        if self.replay is not None:
            self.replay(look)
        else:
            self.update(self.gradients(look) if self.ranks.world == 1 else self._averaged_gradients(look))
            self.eager_steps += 1

    def update(self, gradients: Sequence[Tensor | None]) -> None:
        """Move along `gradients`; a step is made."""
        self.move(gradients)
        self.count()

    def move(self, gradients: Sequence[Tensor | None]) -> None:
        """Clip, and move the parameters along `gradients`."""
        self.adam.update(gradients, self._divisor(gradients))

    def count(self) -> None:
        """Know that a step was made."""
        self.step += 1
        self.since_reset += 1

    def gradients(self, look: Look, parameters: Sequence[Tensor] | None = None) -> Sequence[Tensor | None]:
        """The gradient of the loss by each parameter, None where it does not depend; monitors are added to.

        parameters: Values to put in the place of the engine's own.
        """
        taken = self.parameters if parameters is None else parameters
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.training.precision == "bf16"):
            if parameters is None:
                value = self.bound(look.batch, look.noise)
            else:
                values = {place(name): parameter for name, parameter in zip(self.names, taken, strict=True)}
                value = functional_call(self.bound, values, (look.batch, look.noise))
            loss = -value.mean()
        return torch.autograd.grad(loss, taken, allow_unused=True)

    def _averaged_gradients(self, look: Look) -> Sequence[Tensor | None]:
        """The gradient of the whole step's loss, from the shares of all ranks."""
        if self.shards is not None:
            return self.shards.gradients(look, self.names, precision=self.training.precision)
        if self.averaged is None:
            self.averaged = Averaged(self.bound, dict(zip(self.names, self.parameters, strict=True)), look)
        return self.averaged(look, precision=self.training.precision)

    def _time_to_capture(self) -> bool:
        """At once where it was asked for; else when it is likely to pay; never twice, and never among ranks."""
        if self.ranks.world > 1:
            return False
        if self.training.compile:
            return self.eager_steps == 0
        return self.capture and self.eager_steps == EAGER_STEPS and self.training.steps - self.step >= PAYING_STEPS

    def _captured(self, look: Look) -> Callable[[Look], None] | None:
        """A step as a replay of what it does for `look`, or None, the reason said."""
        unknown = foreign(self.bound)
        if unknown:
            self.say(f"step not captured: {', '.join(unknown)} is not of vael or torch.nn, and may decide in Python")
            return None
        try:
            if self.device.type == "cuda" and not self.training.compile:
                return self._graph(look)
            return self._recorded(look)
        except Exception as error:  # whatever a compiler or a device may raise: the eager step is always there
            self.say(f"step not captured: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
            return None

    def _recorded(self, look: Look) -> Callable[[Look], None] | None:
        """The gradient recorded, which is taken if it gives the bits of the eager one at the next step.

        Compiled, it has other roundings, and is taken if it comes near.
        """
        learned, buffers = len(self.parameters), list(self.bound.buffers())
        with unmoved(buffers):
            graph = traced(
                lambda *given: self.gradients(look.holding(given[learned:]), given[:learned]),
                *(parameter.detach().requires_grad_() for parameter in self.parameters),
                *look.tensors(),
            )
        function = compiled(graph) if self.training.compile else quick(graph)
        following = self.look(self.step + 1)
        with unmoved(buffers):
            wanted = self.gradients(following)
        with unmoved(buffers), torch.no_grad():
            found = function(*self.parameters, *following.tensors())
        if not same(found, wanted, exactly=not self.training.compile):
            self.say("step not captured: its replay does not give the eager gradient")
            return None

        def replay(look: Look) -> None:
            with torch.no_grad():
                self.update(function(*self.parameters, *look.tensors()))

        return replay

    def _graph(self, look: Look) -> Callable[[Look], None]:
        """The whole step, gradient to update, as one CUDA graph; nothing runs while it is recorded."""

        graph = CUDAGraph(lambda tensors: self.move(self.gradients(look.holding(tensors))), look.tensors())

        def replay(look: Look) -> None:
            graph(look.tensors())
            self.count()

        return replay

    def _divisor(self, gradients: Sequence[Tensor | None]) -> Tensor | None:
        """What the fused update divides gradients by to bring their norm down to `clip`; None where nothing is due."""
        if self.training.clip <= 0:
            return None
        there = [gradient for gradient in gradients if gradient is not None]
        if self.shards is None:
            length = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(there)))
        else:
            length = norm(there)
        # A number in the host's own memory costs nothing to look at; a device would have to be waited for.
        if length.device.type == "cpu" and length <= self.training.clip:
            return None
        return torch.clamp(length / self.training.clip, min=1.0)

    def whole(self) -> contextlib.AbstractContextManager[None]:
        """While it lasts, this rank has all weights, to compute with."""
        return contextlib.nullcontext() if self.shards is None else self.shards.whole()

    def gathered(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of a snapshot as they are kept: made whole from the parts of all ranks."""
        return tensors if self.shards is None else self.shards.gathered(tensors)

    def pool(self) -> None:
        """Let every rank's monitor hold the mean of all."""
        self.ranks.average(self.bound.monitor)

    def means(self) -> dict[str, float | None]:
        """Mean objective, elbo, rate and distortion of the steps since the last call, in the user's units; one read.

        elbo and rate are None where q(z|x) has no density.
        """
        self.pool()
        objective, rate, distortion = (self.bound.monitor / max(self.since_reset, 1)).tolist()
        self.bound.monitor.zero_()
        self.since_reset = 0
        distortion -= self.jacobian
        rated = self.model.posterior.has_density
        return {
            "objective": objective + self.jacobian,
            "elbo": -rate - distortion if rated else None,
            "rate": rate if rated else None,
            "distortion": distortion,
        }

    def first_not_finite(self) -> str | None:
        """The name of the first term, gradient or weight of the next step that is not finite, or None."""
        self.schedule(self.step)
        look = self.look(self.step)
        with self.whole():
            terms = self.bound.terms(look.batch, look.noise)
        wrong = [name for name, term in terms.named().items() if not torch.isfinite(term).all()]
        broken = self.ranks.first_said(wrong[0] if wrong else None)  # all go on from here, or none
        if broken:
            return broken
        if self.shards is not None:
            with unmoved(self.bound.buffers()):
                gradients = self._averaged_gradients(look)
        else:
            loss = -self.bound.objective(terms).mean()
            gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        pairs = zip(self.names, gradients, strict=True)
        bad = [name for name, gradient in pairs if gradient is not None and not torch.isfinite(gradient).all()]
        return self.ranks.first_said(f"the gradient of {bad[0]}" if bad else None)


def place(name: str) -> str:
    """Where a learned parameter stands in `Bound`."""
    return name if name.startswith(CRITIC) else f"model.{name}"


def same(found: Sequence[Tensor | None], wanted: Sequence[Tensor | None], *, exactly: bool) -> bool:
    """Whether two gradients are the same bits; or, not `exactly`, alike to a thousandth of the largest entry."""
    for one, other in zip(found, wanted, strict=True):
        if one is None or other is None:
            if one is not other:
                return False
        elif exactly:
            if not torch.equal(one.nan_to_num(), other.nan_to_num()):
                return False
        elif not torch.allclose(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()), equal_nan=True):
            return False
    return True
