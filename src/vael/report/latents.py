"""The latent space: where the examples lie, what each unit carries, what the places between decode to."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from vael import applications
from vael.data import decode
from vael.data.outputs import is_picture
from vael.diagnostics import ACTIVE
from vael.report.blocks import Block, Gallery, Note, Picture, Section, Text
from vael.report.drawing import CLASSES, DATA, FAINT, INK, as_svg, drawable, log_ticks, panel
from vael.report.pictures import Shades
from vael.report.subject import Subject

POINTS = 2_500
MOST_UNITS = 64
GRID = 15

Floats = NDArray[np.float64]


def latents(subject: Subject) -> Section:
    """Posterior means in two dimensions, and for two latents of pictures the map of what they decode to."""
    if subject.means is None:
        return Section("latents", "Latent space", [Note("The data are not at hand, so nothing can be encoded.")])
    means = np.asarray(subject.means.numpy(), dtype=np.float64)
    blocks: list[Block] = []
    if len(means) < 2:
        blocks.append(Text("One example: its latent is a point, and there is nothing to see."))
    else:
        blocks.append(scatter(subject, means))
    if subject.model.latent == 2 and is_picture(subject.schema):
        blocks += manifold(subject)
    return Section("latents", "Latent space", blocks)


# ── where the examples lie ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Plane:
    """Two coordinates of each example, their names, and how they were found."""

    places: Floats
    names: tuple[str, str]
    words: str
    centre: tuple[float, float] = (0.0, 0.0)


def plane(means: Floats) -> Plane:
    """The latents themselves if there are two, else the two directions in which the posterior means vary most."""
    if means.shape[1] == 2:
        return Plane(means, ("z1", "z2"), "The two latents")
    middle = means.mean(0)
    _, sizes, axes = np.linalg.svd(means - middle, full_matrices=False)
    # The sign of a singular vector is free: its largest entry is made positive.
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]
    share = 100 * np.square(sizes) / max(float(np.square(sizes).sum()), 1e-300)
    names = (f"first axis ({share[0]:.0f} % of variance)", f"second axis ({share[1]:.0f} % of variance)")
    x, y = -(axes[:2] @ middle)
    words = f"The two principal axes of the {means.shape[1]} latents' posterior means"
    return Plane((means - middle) @ axes[:2].T, names, words, (float(x), float(y)))


def scatter(subject: Subject, means: Floats) -> Gallery:
    """Posterior means as points, coloured by the label."""
    if means.shape[1] == 1:
        return line(subject, means[:, 0])
    flat = plane(means)
    figure, axes = panel(5.6, 4.4)
    words = draw_points(figure, axes, subject, flat.places[:POINTS])
    standard = is_standard(subject)
    if standard:
        for share in (0.5, 0.95):
            axes.add_patch(
                Circle(flat.centre, radius_of(share), fill=False, color=INK, linewidth=0.6, linestyle=(0, (4, 3)))
            )
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(flat.names[0])
    axes.set_ylabel(flat.names[1])
    circles, look = "", "Look for groups that keep apart."
    if standard:
        circles = " The dashed circles hold 50 % and 95 % of the prior."
        look = (
            "Look for groups that keep apart, for points far outside the prior's circles (samples will never look like "
            "them), and for empty places inside (samples from there look like nothing in the data)."
        )
    caption = (
        f"{flat.words}, one point for each of {min(len(means), POINTS):,} examples of {subject.where}{words}.{circles} "
        f"{look} A point says nothing of the width of its posterior."
    )
    return Gallery([Picture(as_svg(figure), "posterior means of the examples")], caption, size="large")


def radius_of(share: float) -> float:
    """Radius of the circle that holds that share of N(0, I) in a plane: P(|z| < r) = 1 − exp(−r²/2)."""
    return math.sqrt(-2 * math.log(1 - share))


def is_standard(subject: Subject) -> bool:
    """Whether the prior is N(0, I), of which every plane through the origin shows the same circles."""
    return bool(subject.recipe["prior"]["kind"] == "gaussian")


def line(subject: Subject, means: Floats) -> Gallery:
    """A single latent's posterior means as a histogram."""
    figure, axes = panel(5.6, 2.6)
    axes.hist(means, bins=40, density=True, color=DATA, alpha=0.4)
    if is_standard(subject):
        z = np.linspace(min(-3.0, means.min()), max(3.0, means.max()), 200)
        axes.plot(z, np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi), color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_xlabel("z1")
    axes.set_ylabel("density")
    caption = (
        f"Posterior means of the single latent over {len(means):,} examples of {subject.where}; dashed, the prior. "
        "Look for means that lie where the prior has no mass."
    )
    return Gallery([Picture(as_svg(figure), "posterior means of the single latent")], caption, size="large")


def draw_points(figure: Figure, axes: Axes, subject: Subject, places: Floats) -> str:
    """The cloud in the label's colours; what the colours are, in words."""
    field, shown = subject.schema.label, subject.shown
    assert shown is not None
    some: dict[str, Any] = {"s": 9, "linewidths": 0, "rasterized": True}
    if field is not None and shown.label is not None:
        codes = shown.label.cpu().numpy()[: len(places)]
        draw_classes(axes, places, codes, [str(value) for value in field.values])
        return f", coloured by {field.name}"
    if field is not None and subject.quantity is not None:
        values = subject.quantity[shown.index.cpu().numpy()][: len(places)]
        known = np.isfinite(values)
        axes.scatter(*columns_of(places[~known]), color=FAINT, alpha=0.6, **some)
        cloud = axes.scatter(*columns_of(places[known]), c=values[known], cmap="viridis", alpha=0.8, **some)
        unit = f" ({field.unit})" if field.unit else ""
        bar = figure.colorbar(cloud, ax=axes, shrink=0.7, aspect=30, label=drawable(field.name + unit, 40))
        bar.outline.set_visible(False)
        return f", coloured by {field.name}"
    axes.scatter(*columns_of(places), color=DATA, alpha=0.5, **some)
    if field is None:
        return ""
    return f" (its label {field.name} is a quantity and not kept with the run: hand the data over to see it in colour)"


def columns_of(places: Floats) -> tuple[Floats, Floats]:
    """The two columns of `(N, 2)`."""
    return places[:, 0], places[:, 1]


def draw_classes(axes: Axes, places: Floats, codes: NDArray[np.int64], names: list[str]) -> None:
    """A colour for each of the most frequent classes, and the name of each among its points and in a legend."""
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    frequent = np.argsort(-counts, kind="stable")
    drawn = sorted(int(code) for code in frequent[: len(CLASSES) - (len(names) > len(CLASSES))] if counts[code])
    rest = ~np.isin(codes, drawn)
    order = np.random.default_rng(0).permutation(len(codes))  # so that no class lies on top of the others
    palette = dict(zip(drawn, CLASSES, strict=False))
    colours = np.asarray([palette.get(int(code), FAINT) for code in codes])
    axes.scatter(*columns_of(places[order]), c=colours[order], s=9, alpha=0.65, linewidths=0, rasterized=True)
    for code in drawn:
        axes.scatter([], [], color=palette[code], s=18, label=drawable(names[code], 24))
        if 2 < len(names) <= len(CLASSES):
            write_name(axes, drawable(names[code], 12), np.median(places[codes == code], axis=0), palette[code])
    if rest.any():
        axes.scatter([], [], color=FAINT, s=18, label="other or unknown")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handletextpad=0.1)


def write_name(axes: Axes, name: str, place: Floats, colour: str) -> None:
    """The name of a class among its points, legible on any of them."""
    x, y = place.tolist()
    halo = [withStroke(linewidth=2.5, foreground="white")]
    axes.text(x, y, name, color=colour, size=11, weight="bold", ha="center", va="center", path_effects=halo)


# ── what the places decode to ────────────────────────────────────────────────────────────────────────────────


def manifold(subject: Subject) -> list[Block]:
    """Decoded means on a grid of the prior's quantiles, z1 to the right and z2 upwards."""
    if not is_standard(subject) or subject.model.given:
        return []
    levels = applications.shares(GRID)
    ends = torch.special.ndtri(levels)
    shades = Shades(subject)
    made = decode(applications.manifold(subject.model, steps=GRID).flatten(0, 1), subject.schema, centres=True)
    sheet = shades.sheet(shades.of(made), "decoded means over the plane of the two latents", columns=GRID)
    caption = (
        f"What the plane decodes to: centres of p(x|z) at the quantiles {100 * levels[0]:.1f} % to "
        f"{100 * levels[-1]:.1f} % of the prior, z1 ({ends[0]:.2f} to {ends[-1]:.2f}) to the right and z2 upwards, so "
        "that every picture stands for an equal share of the prior. Look for regions of one kind with clear borders, "
        "and for places that decode to nothing."
    ).replace("-", "−")
    return [Gallery([sheet], caption, size="large")]


# ── what each unit carries ───────────────────────────────────────────────────────────────────────────────────


def units(subject: Subject) -> list[Section]:
    """The rate of each latent and how far its posterior mean moves, most first."""
    rates = (subject.numbers or {}).get("rate_per_unit")
    spread = None if subject.means is None or len(subject.means) < 2 else subject.means.var(0).numpy()
    if rates is None and spread is None:
        return []
    weights = np.asarray(rates if rates is not None else spread, dtype=np.float64)
    order = np.argsort(-weights, kind="stable")[:MOST_UNITS]
    active = None if spread is None else spread[order] > ACTIVE
    pictures = []
    if rates is not None:
        figure = bars(weights[order], order, active, "rate, nats")
        pictures.append(Picture(as_svg(figure), "rate of each latent", title="rate of each latent"))
    if spread is not None:
        figure = bars(spread[order], order, active, "variance, log", threshold=ACTIVE)
        pictures.append(
            Picture(as_svg(figure), "variance of each posterior mean", title="variance of its posterior mean")
        )
    blocks: list[Block] = [Gallery(pictures, unit_words(subject, rates is not None, spread), size="half")]
    if rates is None:
        reason = (subject.numbers or {}).get("reasons", {}).get("rate_per_unit", "they were not measured")
        blocks.append(Text(f"No rates of single latents: {reason}."))
    return [Section("units", "What each latent carries", blocks)]


def unit_words(subject: Subject, rated: bool, spread: Floats | None) -> str:
    """How many are active, by which threshold, and what to look for."""
    latent, numbers = subject.model.latent, subject.numbers or {}
    active = numbers.get("active_units", None if spread is None else int((spread > ACTIVE).sum()))
    shown = f" The {MOST_UNITS} largest of {latent}." if latent > MOST_UNITS else ""
    text = f"{active} of {latent} latents are active: the variance of their posterior mean over the examples is above "
    text += f"{ACTIVE:g}, the dashed line." if spread is not None else f"{ACTIVE:g}."
    if rated:
        text += " The rate of a latent is its KL(q‖p), in nats per example; together they are the rate above."
    text += f"{shown} z1, z2, … are the columns that `vael encode` writes."
    if spread is not None:
        text += " Active ones in blue, the others grey."
    return text + (
        " Many grey ones: fewer latents would do. All blue and none near 0: more might help. None active: z is not "
        "used (posterior collapse)."
    )


def bars(
    values: Floats, order: NDArray[np.int64], active: NDArray[np.bool_] | None, words: str, threshold: float = 0.0
) -> Figure:
    """A bar for each unit; on a log axis where there is a threshold, which is drawn."""
    figure, axes = panel(4.8, 2.3)
    colours = [DATA if active is None or active[place] else FAINT for place in range(len(values))]
    places = np.arange(len(values))
    if threshold:
        floor = max(min(float(values[values > 0].min(initial=threshold)), threshold) / 2, 1e-8)
        axes.set_yscale("log")
        log_ticks(axes.yaxis)
        axes.set_ylim(floor, max(2.0, 1.5 * float(values.max())))
        axes.axhline(threshold, color=INK, linewidth=0.7, linestyle=(0, (4, 3)))
        axes.bar(places, np.maximum(values, floor) - floor, bottom=floor, color=colours, width=0.75)
    else:
        axes.bar(places, values, color=colours, width=0.75)
    every = max(1, -(-len(values) // 20))
    names = [f"z{unit + 1}" for unit in order]
    axes.set_xticks(places[::every], names[::every], fontsize=6.5)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, max(len(values), 8) - 0.4)  # two bars need not be as wide as ten
    axes.set_ylabel(words)
    return figure
