"""The picture of `vael curve`: distortion over rate, one point for each weight of the rate."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vael.report.drawing import DATA, FAINT, INK, drawing, panel, svg_of


def pictures(found: Mapping[str, Any]) -> dict[str, bytes]:
    """The same picture as "svg" and "png", of what curve.json holds."""
    with drawing():
        png = io.BytesIO()
        FigureCanvasAgg(plot(found)).print_png(png)
        return {"svg": svg_of(plot(found)), "png": png.getvalue()}


def plot(found: Mapping[str, Any]) -> Figure:
    """Number points with their errors and βs; beside them the linear model's curve, where there is one."""
    figure, axes = panel(5.6, 4.0)
    figure.patch.set_facecolor("white")
    places, theory = found["places"], found["theory"]
    rates, distortions = ([place[key]["value"] for place in places] for key in ("rate", "distortion"))
    errors = [[place[key]["standard_error"] or 0.0 for place in places] for key in ("rate", "distortion")]
    low, high = limits(rates), limits(distortions)
    if theory is not None:
        near = [point for point in theory["points"] if low[0] <= point["rate"] <= low[1]]
        axes.plot(*across(near), color=INK, linewidth=1.0, linestyle=(0, (4, 3)), label="best linear model")
        marks = [place["predicted"] for place in places if place["predicted"] is not None]
        axes.plot(*across(marks), color=INK, linestyle="", marker="o", markersize=4, markerfacecolor="white")
        high = limits([*distortions, *(point["distortion"] for point in near)])
    equal_bounds(axes, places, low, high)
    axes.errorbar(
        rates, distortions, yerr=errors[1], xerr=errors[0], color=DATA, marker="o", markersize=4, linewidth=1.3,
        elinewidth=0.8, capsize=2, label=f"{found['data']}, {found['split']} split",
    )  # fmt: skip
    for place, rate, distortion in zip(places, rates, distortions, strict=True):
        axes.annotate(
            f"β = {place['beta']:g}", (rate, distortion), xytext=(6, 5), textcoords="offset points", color=DATA
        )
    axes.set_xlim(*low)
    axes.set_ylim(*high)
    axes.set_xlabel("rate, nats per example")
    axes.set_ylabel("distortion, nats per example")
    axes.legend(loc="upper right")
    return figure


def across(points: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
    """Rates and distortions of `points`."""
    return [point["rate"] for point in points], [point["distortion"] for point in points]


def limits(values: Sequence[float]) -> tuple[float, float]:
    """A range with room around `values` for their names."""
    room = 0.1 * (max(values) - min(values)) or 0.5
    return min(values) - room, max(values) + 1.5 * room


def equal_bounds(
    axes: Any, places: Sequence[Mapping[str, Any]], low: tuple[float, float], high: tuple[float, float]
) -> None:
    """The line of all pairs with the best bound of the sweep: rate + distortion = −ELBO."""
    best = max(places, key=lambda place: place["elbo"]["value"])
    total = -best["elbo"]["value"]
    axes.plot(low, [total - low[0], total - low[1]], color=FAINT, linewidth=0.8, label=f"best bound, −ELBO {total:.2f}")
