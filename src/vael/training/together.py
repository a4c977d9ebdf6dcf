"""Several models trained as one: their gradients are those of one batched model, everything else is each one's own."""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from vael.errors import RecipeError
from vael.objectives.elbo import Objective
from vael.training.capture import CUDAGraph, Gradients, foreign, quick, traced, unmoved
from vael.training.engine import EAGER_STEPS, PAYING_STEPS, Engine, Look, same


class Together:
    """Engines of one form, at any steps, advanced by one step each.

    Their parameters and buffers become rows of common tensors, so that nothing is copied to batch them; noise, batches,
    clipping, updates and schedules stay each engine's own. An engine gives to rounding what it would have given alone.

    engines: At least two, alike in everything but seeds, data, weights and the numbers of their objectives.
    Raises RecipeError saying in what they differ, or what cannot be batched.
    """

    def __init__(self, engines: Sequence[Engine], say: Callable[[str], None] = lambda text: None) -> None:
        self.engines, self.say = list(engines), say
        check_alike(self.engines)
        self.replay: Callable[[Sequence[Look]], None] | None = None
        self.eager_steps = 0
        bounds = [engine.bound for engine in self.engines]
        held = [dict(bound.named_parameters()) | dict(bound.named_buffers()) for bound in bounds]
        self.rows = {name: as_rows([tensors[name] for tensors in held]) for name in held[0]}
        self.buffers = [name for name, _ in bounds[0].named_buffers()]
        objectives = [bound.objective for bound in bounds]
        self.numbers = differing(objectives)
        self.idle = self._tried()

    @property
    def names(self) -> list[str]:
        """Names of the learned parameters, in the order of `Engine.parameters`."""
        return self.engines[0].names

    def _tried(self) -> list[bool]:
        """Whether nothing depends on each learned parameter, which then stays where it is, as it does alone.

        Raises RecipeError where the models cannot be batched: torch draws no noise, and looks at no number, of many.
        """
        looks, first = [engine.look(engine.step) for engine in self.engines], self.engines[0]
        with torch.random.fork_rng(devices=[]), unmoved(first.bound.buffers()):
            try:
                self._batched(looks[0])(*self._inputs(looks))
            except Exception as error:  # whatever a network of torch.nn may raise: in turn they can always go on
                raise RecipeError(f"together: {type(error).__name__}: {error}".splitlines()[0]) from error
            return [gradient is None for gradient in first.gradients(looks[0])]

    def advance(self) -> None:
        """One update of every engine."""
        for engine in self.engines:
            engine.schedule(engine.step)
        looks = [engine.look(engine.step) for engine in self.engines]
        if self.replay is None and self.eager_steps == EAGER_STEPS:
            self.replay = self._captured(looks)
        if self.replay is not None:
            self.replay(looks)
        else:
            self._update(self._batched(looks[0])(*self._inputs(looks)))
        self.eager_steps += 1
        for engine in self.engines:
            engine.count()

    def _update(self, found: Sequence[Any]) -> None:
        """Move every engine along its row of the gradients, and its buffers to what they became."""
        learned = len(self.names)
        with torch.no_grad():
            for name, row in zip(self.buffers, found[learned:], strict=True):
                self.rows[name].copy_(row)
        rows = [[None] * len(self.engines) if idle else row for idle, row in zip(self.idle, found, strict=False)]
        for place, gradients in enumerate(zip(*rows, strict=True)):
            self.engines[place].move(gradients)

    def _inputs(self, looks: Sequence[Look]) -> list[Tensor]:
        """Everything the batched gradient is a function of."""
        seen = [torch.stack(each) for each in zip(*(look.tensors() for look in looks), strict=True)]
        like = next(iter(self.rows.values()))
        numbers = [
            torch.stack([torch.as_tensor(number, dtype=like.dtype, device=like.device) for number in row])
            for row in self.numbers.values()
        ]
        return [*(row.detach() for row in self.rows.values()), *numbers, *seen]

    def _batched(self, form: Look) -> Gradients:
        """Gradients and buffers as a function of `_inputs`, for looks of the `form` of one."""
        bound, names, buffers = self.engines[0].bound, list(self.rows), self.buffers
        learned = [f"model.{name}" for name in self.names]
        objective, places = bound.objective, list(self.numbers)
        autocast = self.engines[0].training.precision == "bf16"

        def one(*given: Tensor) -> tuple[Tensor, ...]:
            held = dict(zip(names, given, strict=False))
            numbers = given[len(names) : len(names) + len(places)]
            look = form.holding(given[len(names) + len(places) :])
            changed = with_numbers(objective, dict(zip(places, numbers, strict=True)))

            def loss(parameters: dict[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
                # A buffer that a step writes into is this step's own; what becomes of it is handed back.
                moved = {name: held[name].clone() for name in buffers}
                bound.objective = changed
                try:
                    with torch.autocast(look.batch.x.device.type, torch.bfloat16, enabled=autocast):
                        value = functional_call(bound, {**held, **moved, **parameters}, (look.batch, look.noise))
                finally:
                    bound.objective = objective
                return -value.mean(), [moved[name] for name in buffers]

            slopes, moved = torch.func.grad(loss, has_aux=True)({name: held[name] for name in learned})
            return (*(slopes[name] for name in learned), *moved)

        return vmap(one)

    def _captured(self, looks: Sequence[Look]) -> Callable[[Sequence[Look]], None] | None:
        """A step of all as a replay, as of one (see `Engine`); None where it does not pay or cannot be."""
        engine = self.engines[0]
        if not engine.capture or engine.training.steps - engine.step < PAYING_STEPS:
            return None
        try:
            return self._graph(looks) if engine.device.type == "cuda" else self._recorded(looks)
        except Exception as error:
            self.say(f"step of all not captured: {type(error).__name__}: {error}".splitlines()[0])
            return None

    def _recorded(self, looks: Sequence[Look]) -> Callable[[Sequence[Look]], None] | None:
        function = self._batched(looks[0])
        replay = quick(traced(function, *self._inputs(looks)))
        following = self._inputs([engine.look(engine.step + 1) for engine in self.engines])
        wanted = function(*following)
        with torch.no_grad():
            if not same(replay(*following), wanted, exactly=True):
                self.say("step of all not captured: its replay does not give the eager gradient")
                return None

        def step(looks: Sequence[Look]) -> None:
            with torch.no_grad():
                self._update(replay(*self._inputs(looks)))

        return step

    def _graph(self, looks: Sequence[Look]) -> Callable[[Sequence[Look]], None]:
        """The step of all on a CUDA device; the common tensors stay in their places, what is seen is copied in."""
        function, own = self._batched(looks[0]), len(self.rows)
        rows = self._inputs(looks)[:own]
        graph = CUDAGraph(lambda seen: self._update(function(*rows, *seen)), self._inputs(looks)[own:])
        return lambda looks: graph(self._inputs(looks)[own:])


def as_rows(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors as rows of one `(N, *shape)`, each then lying in its row, in its own memory order."""
    first, count = tensors[0], len(tensors)
    room = torch.empty(count * first.numel(), dtype=first.dtype, device=first.device)
    rows = room.as_strided((count, *first.shape), (first.numel(), *first.stride()))
    for row, tensor in zip(rows, tensors, strict=True):
        row.copy_(tensor.detach())
        tensor.data = row
    return rows


def check_alike(engines: Sequence[Engine]) -> None:
    """Raise RecipeError unless one batched model can stand for all of them."""
    first = engines[0]
    for engine in engines[1:]:
        shapes = [[(name, p.shape) for name, p in one.bound.named_parameters()] for one in (first, engine)]
        if shapes[0] != shapes[1]:
            raise RecipeError("together: the models have parameters of different shapes.")
        if engine.order.batch != first.order.batch:
            raise RecipeError(
                f"together: the batches have {engine.order.batch} and {first.order.batch} examples; they must be alike."
            )
    for engine in engines:
        unknown = foreign(engine.bound)
        if unknown:
            raise RecipeError(f"together: {', '.join(unknown)} is not of vael or torch.nn, and may decide in Python.")
        if engine.training.by == "em":
            raise RecipeError("together: expectation–maximisation has no gradient to batch.")
        if engine.training.compile:
            raise RecipeError("together: a compiled step is one model's; leave out --compile to train them as one.")
        if isinstance(engine.bound.objective, nn.Module):  # it learns, or keeps hold of a part of its model
            name = type(engine.bound.objective).__name__
            raise RecipeError(f"together: {name} belongs to one model, and cannot be batched.")
        if engine.training.precision != first.training.precision or engine.names != first.names:
            raise RecipeError("together: the models differ in precision, or in which parameters are learned.")


def leaves(objective: object, prefix: str = "") -> dict[str, Any]:
    """The fields of an objective, those of objectives inside it too, by dotted place."""
    found: dict[str, Any] = {}
    for spec in dataclasses.fields(objective):  # type: ignore[arg-type]
        value = getattr(objective, spec.name)
        inside = dataclasses.is_dataclass(value) and not isinstance(value, type)
        found |= leaves(value, f"{prefix}{spec.name}.") if inside else {f"{prefix}{spec.name}": value}
    return found


def differing(objectives: Sequence[Objective]) -> dict[str, list[float | Tensor]]:
    """Place → the value in each objective, for the numbers that differ and for tensors, which may.

    Raises RecipeError where something else than a number differs, such as the draws.
    """
    tables = [leaves(objective) for objective in objectives]
    if any(type(one) is not type(objectives[0]) or table.keys() != tables[0].keys()
           for one, table in zip(objectives, tables, strict=True)):  # fmt: skip
        raise RecipeError("together: the objectives are of different kinds.")
    found = {}
    for place in tables[0]:
        values = [table[place] for table in tables]
        if all(isinstance(value, Tensor) for value in values):
            found[place] = values
        elif any(value != values[0] for value in values):
            if not all(isinstance(value, float) for value in values):
                raise RecipeError(f"together: the objectives differ in {place}, which is not a weight: {values}.")
            found[place] = values
    return found


def with_numbers(objective: Objective, numbers: dict[str, Tensor]) -> Objective:
    """A copy of `objective` with tensors at dotted places; unchecked, for a check would have to look at them."""
    changed = copy.copy(objective)
    for place, number in numbers.items():
        name, _, rest = place.partition(".")
        value: Any = with_numbers(getattr(changed, name), {rest: number}) if rest else number
        object.__setattr__(changed, name, value)
    return changed
