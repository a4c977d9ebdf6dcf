"""How training went: the bound and its two terms over the steps."""

import math

from matplotlib.figure import Figure

from vael.files import Json
from vael.report.blocks import Block, Gallery, Note, Picture, Section, Text
from vael.report.drawing import INK, TRAIN, VALIDATION, as_svg, panel
from vael.report.subject import Subject

PANELS = {"−ELBO": ("elbo", -1), "rate": ("rate", 1), "distortion": ("distortion", 1)}


def curves(subject: Subject) -> Section:
    """Bound, rate and distortion on training and validation examples, the kept step marked."""
    lines = [line for line in subject.history if line.get("train")]
    if not lines:
        return Section("learning", "Learning", [Note("The run folder holds no history of its training.")])
    kept = max((line["step"] for line in lines if line.get("best")), default=None)
    pictures = [
        Picture(as_svg(curve(lines, key, sign, kept)), f"{name} over the steps of training", title=name)
        for name, (key, sign) in PANELS.items()
        if any(_values(lines, part, key, sign)[1] for part in ("train", "validation"))
    ]  # fmt: skip
    caption = (
        "Nats per example over the steps of training, at β = 1: the bound and its parts, −ELBO = rate + distortion. "
        "Less is better for the bound. The dashed line is the step whose weights were kept"
        + (" (the best validation bound). " if lines[0].get("validation") else " (the last one). ")
        + "Look for a validation curve that turns upwards while training falls (over-fitting), for one that still "
        "falls at the end (too few steps), and for a rate near 0 (z is not used). Training values are means "
        "over the steps since the one before, so they lag; those of the first steps may lie above the picture."
    )
    keys = (("train", "training examples"), ("validation", "validation examples"))
    blocks: list[Block] = [Text(story(subject.history, lines, kept)), Gallery(pictures, caption, keys)]
    return Section("learning", "Learning", blocks)


def story(history: list[Json], lines: list[Json], kept: int | None) -> str:
    """Steps, time, and what happened on the way."""
    last = lines[-1]
    text = f"{last['step']:,} steps ({last['epoch']:.3g} epochs) in {last['seconds']:.3g} s"
    text += f"; the weights of step {kept:,} were kept." if kept is not None else "."
    resumed = [line["resumed_at"] for line in history if "resumed_at" in line]
    if resumed:
        text += f" Taken up again at step {', '.join(f'{step:,}' for step in resumed)}."
    broken = [line for line in history if "not_finite" in line]
    for line in broken:
        text += (
            f" At step {line['at_step']:,} {line['not_finite']} was not finite; training went back to {line['step']:,}."
        )
    return text


def curve(lines: list[Json], key: str, sign: int, kept: int | None) -> Figure:
    """One of the three panels."""
    figure, axes = panel(3.2, 2.1)
    seen: list[float] = []
    for part, colour in (("train", TRAIN), ("validation", VALIDATION)):
        steps, values = _values(lines, part, key, sign)
        marks = "o" if len(steps) == 1 else None
        axes.plot(steps, values, color=colour, linewidth=1.3, marker=marks, markersize=3)
        seen += values[len(values) // 10 :]
    if kept is not None:
        axes.axvline(kept, color=INK, linewidth=0.7, linestyle=(0, (4, 3)))
    low, high = min(seen), max(seen)
    room = 0.06 * (high - low) or 0.5
    axes.set_ylim(low - room, high + room)
    axes.set_xlim(left=0)
    axes.set_xlabel("step")
    axes.set_ylabel("nats per example")
    axes.locator_params(nbins=5)
    return figure


def _values(lines: list[Json], part: str, key: str, sign: int) -> tuple[list[int], list[float]]:
    found = [(line["step"], line[part].get(key)) for line in lines if line.get(part)]
    pairs = [(step, sign * value) for step, value in found if value is not None and math.isfinite(value)]
    return [step for step, _ in pairs], [value for _, value in pairs]
