"""The loop: steps, evaluations, checkpoints; and what to do when it is interrupted or a number breaks."""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from vael.data.dataset import Split
from vael.errors import Interrupted, RecipeError, TrainingError
from vael.evaluation import bounds, fixed_noise
from vael.memory import keep_freed_memory
from vael.noise import Noise
from vael.training.checkpoint import Progress, restore, snapshot
from vael.training.engine import Engine
from vael.training.ranks import Halt
from vael.training.shards import local
from vael.training.together import Together

MOST_REWINDS = 5
STOP_SIGNALS = [signal.SIGINT, signal.SIGTERM] + ([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])

Tensors = dict[str, Tensor]
Report = Callable[[dict[str, Any]], None]


class Keeper(Protocol):
    """Where a run is kept while it trains."""

    def keep_line(self, line: dict[str, Any]) -> None:
        """Add a line to the history."""

    def keep_checkpoint(self, tensors: Tensors, notes: dict[str, str]) -> None:
        """Replace the checkpoint."""

    def keep_best(self, weights: Tensors) -> None:
        """Replace the best weights."""


@dataclass(frozen=True)
class Outcome:
    """How training ended: after which step, with which best validation bound, and why.

    rated: Whether there is a bound; else `best` is the objective.
    """

    step: int
    best: float | None
    best_step: int
    reason: str
    rated: bool = True


@dataclass
class Member:
    """A run to be trained: an engine and what it is kept with.

    validation: Settled; may be empty, and then the last weights are the best. report: Called with every history line.
    elapsed: Seconds of training before, for the history.
    """

    engine: Engine
    validation: Split
    keeper: Keeper
    progress: Progress
    report: Report
    elapsed: float = 0.0


def train(
    engine: Engine, validation: Split, keeper: Keeper, *, progress: Progress, report: Report, elapsed: float = 0.0
) -> Outcome:
    """Advance `engine` to its last step, or until patience ends, keeping everything on the way; see `Member`.

    Raises Interrupted on Ctrl-C or SIGTERM, after a checkpoint; TrainingError when a number is not finite and
    rewinding is switched off or used up.
    """
    (ending,) = train_together([Member(engine, validation, keeper, progress, report, elapsed)])
    if isinstance(ending, Exception):
        raise ending
    return ending


def train_together(
    members: Sequence[Member], say: Callable[[str], None] = lambda text: None
) -> list[Outcome | Interrupted | TrainingError]:
    """Train several runs side by side, as one batched model where they can be one; how each ended.

    What a run comes to does not depend on the others, but for rounding: those that end or rewind leave the rest alone.
    say: Told why they cannot be batched, and are advanced in turn.
    """
    keep_freed_memory()
    endings: dict[int, Outcome | Interrupted | TrainingError] = {}
    with interruptible() as stop:
        going = {place: course(member, stop) for place, member in enumerate(members)}
        advance: Callable[[], None] | None = None
        while going:
            before = len(going)
            for place, steps in list(going.items()):
                try:
                    next(steps)
                except StopIteration as end:
                    endings[place] = end.value
                except (Interrupted, TrainingError) as error:
                    endings[place] = error
                if place in endings:
                    del going[place]
            if advance is None or len(going) < before:
                advance = stepper([members[place].engine for place in going], say)
            advance()
    return [endings[place] for place in range(len(members))]


def stepper(engines: Sequence[Engine], say: Callable[[str], None]) -> Callable[[], None]:
    """A call that advances all engines by one step."""
    if len(engines) > 1:
        try:
            return Together(engines, say).advance
        except RecipeError as error:
            say(f"advanced in turn, not as one batch; {error}")

    def in_turn() -> None:
        for engine in engines:
            engine.advance()

    return in_turn


def course(member: Member, stop: threading.Event) -> Generator[None, None, Outcome]:
    """All that training a member does but the steps themselves: it yields where it wants its engine advanced by one.

    stop: Set to end it after the step it is at, with a checkpoint and Interrupted.
    """
    engine, validation, keeper, progress = member.engine, member.validation, member.keeper, member.progress
    training, started = engine.training, time.perf_counter() - member.elapsed
    held_out = Validation.of(engine, validation)
    halted = Halt(engine.ranks, stop)
    good = snapshot(engine, progress)
    if engine.step == 0:
        keep(engine, keeper, good)
    engine.model.train()
    while engine.step < training.steps and not impatient(engine, progress):
        yield
        # Evaluate before obeying a stop: a resumed run must find the evaluations of an uninterrupted one.
        if engine.step % training.evaluate_every == 0 or engine.step == training.steps:
            line = measure(engine, held_out, round(time.perf_counter() - started, 3))
            if is_finite(engine, line):
                select(engine, line, progress, keeper)
                keeper.keep_line(line)
            else:
                line, progress = rewind(engine, good, keeper)
            good = snapshot(engine, progress)
            keep(engine, keeper, good)
            member.report(line)
        if halted() and engine.step < training.steps:
            if is_whole(engine):  # else the last good state stays, from which the same steps are made again
                keep(engine, keeper, snapshot(engine, progress))
            raise Interrupted(f"stopped after step {engine.step} of {training.steps}; nothing is lost.")
    reason = (
        f"no better validation bound in {training.patience} evaluations"
        if impatient(engine, progress)
        else "all steps done"
    )
    return Outcome(engine.step, progress.best, progress.best_step, reason, engine.model.posterior.has_density)


def keep(engine: Engine, keeper: Keeper, state: tuple[Tensors, dict[str, str]]) -> None:
    """Replace the checkpoint by `state`, made whole."""
    tensors, notes = state
    keeper.keep_checkpoint(engine.gathered(tensors), notes)


def impatient(engine: Engine, progress: Progress) -> bool:
    """Whether the validation bound has stood still for as long as was allowed."""
    patience = engine.training.patience
    return patience > 0 and progress.evaluations_since_best >= patience


@dataclass(frozen=True)
class Validation:
    """This rank's part of the examples that a run is judged by, and their noise; None where there are none to judge."""

    part: Split
    noise: Noise | None

    @staticmethod
    def of(engine: Engine, split: Split) -> "Validation | None":
        """The part of `split` that falls to the engine's rank."""
        if not len(split):
            return None
        mine = split
        if engine.ranks.world > 1:
            mine = split.rows(torch.arange(len(split), device=split.x.device)[engine.ranks.share(len(split))])
        return Validation(mine, fixed_noise(engine.model, mine) if len(mine) else None)

    def means(self, engine: Engine) -> dict[str, float | None]:
        """Mean elbo, rate and distortion over all examples of all ranks; without a bound, the objective's."""
        with engine.whole():
            aim = None if engine.model.posterior.has_density else engine.bound.objective
            found = None if self.noise is None else bounds(engine.model, self.part, noise=self.noise, objective=aim)
        return engine.ranks.means(found)


def measure(engine: Engine, validation: Validation | None, seconds: float) -> dict[str, Any]:
    """One line of history: what was optimised, and the bound at β = 1, on training and validation examples."""
    line: dict[str, Any] = {
        "step": engine.step,
        "epoch": round(engine.step * engine.order.batch / engine.order.examples, 3),
        "examples": engine.step * engine.order.batch,
        "seconds": seconds,
        "learning_rate": float(engine.rate),
        "train": engine.means(),
    }
    if validation is not None:
        line["validation"] = validation.means(engine)
    return line


def is_finite(engine: Engine, line: dict[str, Any]) -> bool:
    """Whether every number of the line and every weight is finite."""
    numbers = [*line["train"].values(), *line.get("validation", {}).values()]
    return all(math.isfinite(number) for number in numbers if number is not None) and is_whole(engine)


def is_whole(engine: Engine) -> bool:
    """Whether every weight, and what was summed up for the history, is finite; on all ranks."""
    held = (engine.bound.monitor, *engine.parameters)
    return not engine.ranks.any(not all(bool(torch.isfinite(one).all()) for one in held))


def select(engine: Engine, line: dict[str, Any], progress: Progress, keeper: Keeper) -> None:
    """Keep the weights if their validation bound at β = 1 is the best so far, or if there is nothing to choose by.

    Without a bound the validation rows' objective chooses.
    """
    bound = None
    if "validation" in line:
        rated = engine.model.posterior.has_density
        bound = line["validation"]["elbo" if rated else "objective"]
    if bound is not None and progress.best is not None and bound <= progress.best:
        # While the rate weighs less than it should, a falling bound is the price of the warm-up and no sign of the end.
        progress.evaluations_since_best += int(float(engine.share) == 1.0)
        return
    progress.best, progress.best_step, progress.evaluations_since_best = bound, engine.step, 0
    line["best"] = True
    keeper.keep_best(engine.gathered({name: local(value) for name, value in engine.model.state_dict().items()}))


def rewind(engine: Engine, good: tuple[Tensors, dict[str, str]], keeper: Keeper) -> tuple[dict[str, Any], Progress]:
    """Go back to the last good state with half the learning rate; or raise TrainingError saying what broke first."""
    limit = engine.step
    restore(engine, *good)
    back = engine.step
    broken = engine.first_not_finite()
    while broken is None and engine.step < limit:
        engine.advance()
        broken = engine.first_not_finite()
    place, broken = engine.step + 1, broken or "a validation number"
    progress = restore(engine, *good)
    if engine.training.on_nan == "stop" or progress.rewinds >= MOST_REWINDS:
        raise TrainingError(
            f"training, step {place}: {broken} is not finite. The last good state, after step {back}, is kept.\n"
            f"  Lower the learning rate (now {float(engine.rate):.2g}), look for extreme values in the data, "
            f"or scale them."
        )
    engine.slowdown *= 0.5
    progress.rewinds += 1
    line = {"step": back, "not_finite": broken, "at_step": place, "slowdown": engine.slowdown}
    keeper.keep_line(line)
    return line, progress


@contextlib.contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; the second signal acts as it would have. Main thread only."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def ask(number: int, frame: object) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
