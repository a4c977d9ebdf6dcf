"""What the history of a training tells of how it ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LAST_PART = 0.2  # of the steps, whose gain is set against the whole


@dataclass(frozen=True)
class Course:
    """How a training went.

    step, steps: The last one done, of those asked for. warm_up: Steps until the rate counts in full.
    rewinds: How often a number was not finite. slowdown: What is left of the learning rate after them.
    late_gain: Nats the bound rose since `late_from`, the last evaluation before the last fifth of the steps; None
        where there was but one. whole_gain: Nats it rose since the first. best_last: Whether none was better than the
        last.
    """

    step: int
    steps: int
    warm_up: int
    rewinds: int
    slowdown: float
    broken: str | None
    late_from: int
    late_gain: float | None
    whole_gain: float | None
    best_last: bool
    seconds: float | None

    @property
    def warmed(self) -> bool:
        """Whether the rate ever counted in full."""
        return self.step >= self.warm_up


def course(history: Sequence[Mapping[str, Any]], training: Mapping[str, Any]) -> Course:
    """The course that `history` records, oldest line first, of a training with the settings `training`."""
    lines = [line for line in history if "train" in line]
    broken = [line for line in history if "not_finite" in line]
    judged = [(line["step"], line.get("validation") or line["train"]) for line in lines]
    # Without a bound the objective is what was to rise.
    bounds = [(step, found["objective"] if found["elbo"] is None else found["elbo"]) for step, found in judged]
    step = bounds[-1][0] if bounds else 0
    before = [(at, value) for at, value in bounds if at <= (1 - LAST_PART) * step] or bounds[:1]
    late = whole = None
    if len(bounds) > 1:
        late = max(value for _, value in bounds) - max(value for _, value in before)
        whole = bounds[-1][1] - bounds[0][1]
    return Course(
        step=step,
        steps=int(training["steps"]),
        warm_up=int(training.get("warm_up", 0)),
        rewinds=len(broken),
        slowdown=float(broken[-1]["slowdown"]) if broken else 1.0,
        broken=str(broken[-1]["not_finite"]) if broken else None,
        late_from=before[-1][0] if before else 0,
        late_gain=late,
        whole_gain=whole,
        best_last=bool(bounds) and bounds[-1][1] >= max(value for _, value in bounds),
        seconds=lines[-1].get("seconds") if lines else None,
    )
