"""Runs side by side on the same examples, each difference with its paired standard error."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vael.data import Field, Split
from vael.diagnostics import active_units
from vael.errors import RecipeError
from vael.evaluation import (
    Bounds,
    Evidence,
    bounds,
    carried,
    chosen_estimator,
    latents,
    seen_dims,
    subset,
    to_whole,
)
from vael.evidence import Estimate
from vael.numbers import Number
from vael.runs.run import Run
from vael.units import bits_per_dim


@dataclass(frozen=True)
class Compared:
    """One run of a comparison: what it is, what it reaches, and how far that is from the first run.

    difference: elbo, rate, distortion and, where both have one, evidence, each this run's minus the first's, in nats
        per example with a paired standard error; None for the first run, and where `reason` says why there is none.
    """

    run: str
    data: str
    likelihood: str
    latent: int
    parameters: int
    seconds: float | None
    elbo: Number
    rate: Number
    distortion: Number
    evidence: Evidence | None
    bits_per_dim: float | None
    active_units: int
    difference: dict[str, Number] | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Comparison:
    """What `vael.compare` found; `to_json` gives the documented keys, `str` the table for people."""

    split: str
    examples: int
    draws: int
    runs: tuple[Compared, ...]
    unit: str = "nats per example"

    def to_json(self) -> dict[str, Any]:
        """Plain values, in the documented order."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        rows = self.rows()
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join([name.ljust(widths[0]), *map(str.rjust, cells, widths[1:])]) for name, *cells in rows]
        return "\n".join([*(line.rstrip() for line in lines), "", *self.notes()])

    def rows(self) -> list[list[str]]:
        """The table: a heading, then `[name, one cell for each run]`."""
        found = [["", *(run.run for run in self.runs)]]
        found += [[name, *(tell(run) for run in self.runs)] for name, tell in FACTS.items()]
        for name, (key, sign) in NUMBERS.items():
            found.append([name, *(told(getattr(run, key), sign) for run in self.runs)])
            found.append(["  difference", *(_difference(run, key, sign) for run in self.runs)])
        return found + [[name, *(tell(run) for run in self.runs)] for name, tell in LAST.items()]

    def notes(self) -> list[str]:
        """What the numbers are, and which runs cannot be set against the first."""
        first = self.runs[0].run
        notes = [
            f"{self.split}, {self.unit}, ± standard error over the examples; one draw for the bound, "
            f"{self.draws} for log p(x) where it is sampled.",
            f"difference: the run minus {first}, example by example on the same {self.examples}, ± paired standard "
            f"error. Of −ELBO, rate and distortion less is better; of log p(x) more.",
        ]
        if any(run.evidence and run.evidence.bound == "lower" for run in self.runs):
            notes.append("lower: a lower bound in expectation; the slack of each is no part of the errors.")
        return notes + [f"{run.run}: no difference to {first}; {run.reason}." for run in self.runs if run.reason]


def told(number: Number | Evidence | None, sign: int = 1) -> str:
    """`−83.25 ± 0.74`, and what kind of bound it is where it is an estimate of log p(x)."""
    if number is None:
        return "none"
    error = "" if number.standard_error is None else f" ± {number.standard_error:.2f}"
    bound = f" {number.bound}" if isinstance(number, Evidence) else ""
    return f"{sign * number.value:.2f}{error}{bound}".replace("-", "−")


def _difference(run: Compared, key: str, sign: int) -> str:
    number = (run.difference or {}).get(key)
    if number is None:
        return ""
    error = "" if number.standard_error is None else f" ± {number.standard_error:.2f}"
    # Zero has no sign, whichever way it was turned; the pad keeps it under the numbers of its column.
    return f"{sign * number.value + 0.0:+.2f}{error}".replace("-", "−")


Tell = Callable[[Compared], str]

FACTS: dict[str, Tell] = {
    "data": lambda run: run.data,
    "likelihood": lambda run: run.likelihood,
    "latents": lambda run: str(run.latent),
    "parameters": lambda run: f"{run.parameters:,}",
    "seconds": lambda run: "unknown" if run.seconds is None else f"{run.seconds:.1f}",
}
NUMBERS = {"−ELBO": ("elbo", -1), "rate": ("rate", 1), "distortion": ("distortion", 1), "log p(x)": ("evidence", 1)}
LAST: dict[str, Tell] = {
    "bits/dim": lambda run: "none" if run.bits_per_dim is None else f"{run.bits_per_dim:.4f}",
    "active units": lambda run: f"{run.active_units} of {run.latent}",
}


def compare(
    *runs: Run,
    data: object | None = None,
    split: str | None = None,
    draws: int = 1000,
    max_examples: int | None = None,
    budget: float = 20.0,
    seed: int = 0,
) -> Comparison:
    """Runs side by side on one split of their data, or on other `data`; differences are to the first run.

        difference = mean over the examples of (b − a),   standard error = sd of (b − a) / √N

    Both runs see the same examples under the same noise addresses, so what makes an example hard for both cancels.
    log p(x) comes from the same shuffled part of the split for all, as many as `max_examples` says or `budget` seconds
    for each run allow, carried to the whole by the bound as in `vael.evaluate`.

    A run that scores other data, other rows, other values or by another measure has no difference, and `reason` says
    why. Raises RecipeError for fewer than two runs; DataError where a run's data are not at hand.
    """
    if len(runs) < 2:
        raise RecipeError(f"compare: needs at least two runs, got {len(runs)}.")
    if not budget > 0:
        raise RecipeError(f"compare: budget must be above 0 seconds, got {budget:g}.")
    splits = [run.split_of(data, split) for run in runs]
    reasons = [None, *(obstacle(runs[0], run, splits[0], its, own=data is None)
                       for run, its in zip(runs[1:], splits[1:], strict=True))]  # fmt: skip
    places = [its if reason else in_order(its) for its, reason in zip(splits, reasons, strict=True)]
    settled = [its.settled(seed=0).to(run.model.device) for run, its in zip(runs, places, strict=True)]
    parts = [_part(run, its, draws, max_examples, budget, seed) for run, its in zip(runs, settled, strict=True)]
    # Every part is the beginning of one order, so the shortest is in all of them.
    shared = min(len(part) for part, reason in zip(parts, reasons, strict=True) if reason is None)
    scored = [
        measure(run, its, part if reason else part[:shared], draws, seed)
        for run, its, part, reason in zip(runs, settled, parts, reasons, strict=True)
    ]
    return Comparison(
        "given data" if data is not None else f"{split or 'test'} split",
        len(settled[0]),
        draws,
        tuple(
            summary(run, its, found, None if reason or place == 0 else difference(scored[0], found), reason)
            for place, (run, its, found, reason) in enumerate(zip(runs, settled, scored, reasons, strict=True))
        ),
    )


def in_order(split: Split) -> Split:
    """The split by rising row of its source, so that two runs' splits stand example beside example."""
    return split.rows(split.index.argsort())


def _part(run: Run, split: Split, draws: int, max_examples: int | None, budget: float, seed: int) -> Tensor:
    if run.model.lacking:
        return torch.arange(len(split))
    return subset(run.model, split, chosen_estimator(run.model, draws=draws), max_examples, budget, seed)


# ── what may be compared ─────────────────────────────────────────────────────────────────────────────────────


def obstacle(first: Run, other: Run, its: Split, others: Split, *, own: bool) -> str | None:
    """Why the numbers of `other` cannot be set against those of `first`, in words; None where they can.

    own: Whether each run is measured on the data it was fitted on.
    """
    if own and first.recipe["data"]["fingerprint"] != other.recipe["data"]["fingerprint"]:
        return f"it was fitted on other data ({other.recipe['data']['name']})"
    if not torch.equal(its.index.sort().values, others.index.sort().values):
        return "its split holds other rows; fit both with one --seed and one --split"
    if (first.model.lacking is None) != (other.model.lacking is None):
        return f"only one of them has a density; {first.model.lacking or other.model.lacking}"
    fields = {field.name: field for field in other.schema.modelled}
    missing = {field.name for field in first.schema.modelled} ^ set(fields)
    if missing:
        return f"only one of them models {', '.join(map(repr, sorted(missing)))}"
    return next((text for field in first.schema.modelled if (text := unlike(field, fields[field.name]))), None)


def unlike(here: Field, there: Field) -> str | None:
    """Why two fields of one name have no common measure, or None."""
    name = f"field {here.name!r}"
    if here.shape != there.shape:
        return f"{name} has shape {there.shape} there, {here.shape} here"
    if _seen(here) != _seen(there):
        return f"{name} is scored {_seen(there)} there, {_seen(here)} here"
    if here.discrete != there.discrete:
        words = ("a density", "a probability mass")
        return f"{name} is scored by {words[there.discrete]} there, {words[here.discrete]} here"
    if not here.discrete and here.spike != there.spike:
        words = ("a density everywhere", "a mass at one value and a density beside it")
        return f"{name} is scored by {words[there.spike is not None]} there, {words[here.spike is not None]} here"
    if here.resolution > 0 and there.resolution > 0 and here.resolution != there.resolution:
        return f"{name} lies on a grid of {there.resolution:g} there, {here.resolution:g} here"
    return None


def _seen(field: Field) -> str:
    # Drawn anew in training or drawn once, evaluation draws the same zeros and ones by row.
    words = {None: "as it is", "threshold": "cut at one half"}
    return words.get(field.binarization, "as drawn zeros and ones")


# ── what is measured ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Scored:
    """A run's bound on every example of a split, and log p(x) of the `chosen` ones; None where it has no density."""

    bounds: Bounds
    chosen: Tensor
    log_px: Estimate | None

    @property
    def evidence(self) -> Evidence | None:
        return None if self.log_px is None else to_whole(self.log_px, self.bounds.elbo, self.chosen)


def measure(run: Run, split: Split, chosen: Tensor, draws: int, seed: int) -> Scored:
    """The numbers of each example, by noise that depends on (seed, row, draw) alone."""
    if not run.model.posterior.has_density:
        raise RecipeError(f"compare: {run.folder}: {run.model.lacking}; there is nothing to set beside a bound.")
    log_px = None
    if run.model.lacking is None:
        log_px = chosen_estimator(run.model, draws=draws)(run.model, split.rows(chosen), seed=seed)
    return Scored(bounds(run.model, split, seed=seed), chosen, log_px)


def difference(first: Scored, other: Scored) -> dict[str, Number]:
    """Means of `other` minus `first`, example by example, with paired standard errors, in nats per example."""
    found = {
        name: Number.of(getattr(other.bounds, name) - getattr(first.bounds, name))
        for name in ("elbo", "rate", "distortion")
    }
    if first.log_px is not None and other.log_px is not None:
        elbo = other.bounds.elbo - first.bounds.elbo
        log_px = other.log_px.value - first.log_px.value
        found["evidence"] = carried(elbo, log_px - elbo[first.chosen], first.chosen)
    return found


def summary(run: Run, split: Split, found: Scored, apart: dict[str, Number] | None, reason: str | None) -> Compared:
    """One run's line of the comparison."""
    evidence, dims = found.evidence, seen_dims(split, run.model.likelihood.dims)
    discrete = run.schema.discrete and dims and evidence is not None
    return Compared(
        run=str(run.folder),
        data=run.recipe["data"]["name"],
        likelihood=run.recipe["likelihood"]["kind"],
        latent=run.model.latent,
        parameters=run.model.parameters_count,
        seconds=max((line["seconds"] for line in run.history if "seconds" in line), default=None),
        elbo=Number.of(found.bounds.elbo, draws=1),
        rate=Number.of(found.bounds.rate),
        distortion=Number.of(found.bounds.distortion),
        evidence=evidence,
        bits_per_dim=bits_per_dim(-evidence.value, dims) if discrete and evidence else None,
        active_units=active_units(latents(run.model, split)[0]),
        difference=apart,
        reason=reason,
    )
