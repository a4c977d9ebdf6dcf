"""What a person sees: the plan, live progress, results."""

import sys
import time
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

from vael.files import dump_json
from vael.names import shape_of


def say(text: str = "") -> None:
    """A result, on stdout."""
    print(text, flush=True)


def note(text: str = "") -> None:
    """A remark, on stderr."""
    print(text, file=sys.stderr, flush=True)


def say_json(value: dict[str, Any]) -> None:
    """The machine-readable last line of stdout."""
    say(dump_json(value))


def fields(rows: list[tuple[str, str]], console: Console) -> None:
    """Names and descriptions as two columns."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, max_width=34)
    table.add_column()
    for name, text in rows:
        table.add_row(name, text)
    console.print(table)


class Watcher:
    """Prints a run's events to a stream: the plan before it, a line that moves during it, the end after it."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream = stream or sys.stderr
        self.console = Console(file=stream, highlight=False, markup=False, soft_wrap=True)
        self.live = stream.isatty()
        self.started, self.first_step, self.shown = time.perf_counter(), 0, 0.0
        self.plans, self.leader = 0, None

    def __call__(self, event: dict[str, Any]) -> None:
        getattr(self, f"on_{event['event']}")(event)

    def on_plan(self, event: dict[str, Any]) -> None:
        plan, out = event["plan"], self.console
        self.plans += 1
        if self.plans > 1:  # one of several runs that differ in a seed or a weight
            aim = shape_of(plan.recipe["objective"])
            out.print(f"and         {event['folder']}: seed {plan.recipe['seed']}, {aim}")
            return
        data, recipe = plan.data, plan.recipe
        sizes = ", ".join(f"{name} {len(split)}" for name, split in data.splits.items())
        out.print(f"data        {data.name}: {sizes} (seed {recipe['seed']})")
        fields([("  " + name, text) for name, text in data.schema.describe()], out)
        for text in data.notes:
            out.print(f"note        {text}")
        out.print(f"likelihood  {shape_of(recipe['likelihood'])}")
        out.print(f"posterior   {shape_of(recipe['posterior'])}")
        out.print(f"prior       {shape_of(recipe['prior'])}")
        out.print(f"objective   {shape_of(recipe['objective'])}, nats per example, higher is better; reported at β = 1")
        training = recipe["training"]
        by_em = training.get("by") == "em"
        out.print(
            f"training    {training['steps']} steps of expectation–maximisation, evaluated every "
            f"{training['evaluate_every']}"
            if by_em
            else f"training    {training['steps']} steps of {training['batch']}, AdamW {training['learning_rate']:g} "
            f"{training['schedule']}, clip {training['clip']:g}, warm-up {training['warm_up']}, "
            f"patience {training['patience']}, evaluated every {training['evaluate_every']}"
        )
        out.print(f"parameters  {plan.model.parameters_count:,} in all; run folder {event['folder']}")
        for text in plan.notes:
            out.print(f"warning     {text}")
        self.started, self.first_step = time.perf_counter(), 0

    def on_note(self, event: dict[str, Any]) -> None:
        self.console.print(f"note        {event['text']}")

    def on_trial(self, event: dict[str, Any]) -> None:
        count = len(event["fields"])
        self.console.print(
            f"auto        {event['kind']} × {count}: {event['law']} against {event['against']}: "
            f"{event['gain']:+.3f} ± {event['error']:.3f} nats in the validation bound"
        )

    def on_resumed(self, event: dict[str, Any]) -> None:
        self.first_step = event["step"]
        self.console.print(
            f"resumed at step {event['step']}" if event["step"] else "resumed before its first checkpoint: from step 0"
        )

    def on_line(self, event: dict[str, Any]) -> None:
        line = event["line"]
        if "not_finite" in line:
            self.console.print(
                f"step {line['at_step']}: {line['not_finite']} is not finite; back to step {line['step']}, "
                f"learning rate × {line['slowdown']:g}"
            )
            return
        self.leader = self.leader or event.get("run")
        if event.get("run") != self.leader:  # of several runs side by side one tells how far all are
            return
        now = time.perf_counter()
        last = line["step"] >= event["steps"]
        if not last and now - self.shown < (0.1 if self.live else 5.0):
            return
        self.shown = now
        text = progress_line(line, event["steps"], (now - self.started) / max(line["step"] - self.first_step, 1))
        self.stream.write(f"\r\x1b[K{text}" + ("\n" if last else "") if self.live else f"{text}\n")
        self.stream.flush()

    def on_finished(self, event: dict[str, Any]) -> None:
        outcome = event["outcome"]
        best = (
            ""
            if outcome.best is None
            else f"; best validation {'−ELBO' if outcome.rated else 'objective'} "
            f"{-outcome.best if outcome.rated else outcome.best:.2f} nats at step {outcome.best_step}"
        )
        name = f"{event['run']}: " if "run" in event else ""
        self.leader = None
        self.console.print(("\n" if self.live and not name else "") + f"done        {name}{outcome.reason}{best}")


def progress_line(line: dict[str, Any], steps: int, seconds_per_step: float) -> str:
    """Step, the bound's terms on the validation split (or in training where there is none), speed, time left."""
    where = "validation" if "validation" in line else "train"
    found = line[where]
    left = (steps - line["step"]) * seconds_per_step
    speed = line["examples"] / line["step"] / seconds_per_step if seconds_per_step > 0 else 0.0
    if found["elbo"] is None:
        told = f"objective {found['objective']:.2f}, distortion {found['distortion']:.2f} nats"
        return f"step {line['step']:>6}/{steps}  {where} {told}  {speed:,.0f} examples/s  {left:.0f} s left"
    return (
        f"step {line['step']:>6}/{steps}  {where} −ELBO {-found['elbo']:.2f} = rate {found['rate']:.2f} + "
        f"distortion {found['distortion']:.2f} nats  {speed:,.0f} examples/s  {left:.0f} s left"
    )
