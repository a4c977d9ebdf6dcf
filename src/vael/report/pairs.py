"""Runs on tables: what columns have to do with each other, in data and in samples."""

import math
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vael.diagnostics import Column, associations
from vael.report.blocks import Block, Gallery, Picture, Section, Text
from vael.report.columns import Marginal
from vael.report.drawing import DATA, FAINT, SAMPLES, as_svg, drawable, panel
from vael.report.subject import Subject

MOST_CANDIDATES, MOST_COLUMNS = 40, 18
MOST_PAIRED_ROWS = 5_000
POINTS = 1_500
WEAK = 0.2  # an association below it makes no picture

Floats = NDArray[np.float64]


def pairs(subject: Subject, found: list[Marginal]) -> list[Section]:
    """Matrices of association and scatter plots of the strongest pairs; nothing for a single column or without data."""
    if len(found) < 2 or subject.shown is None or len(subject.shown) < 3:
        return []
    candidates = sorted(found, key=lambda each: each.order)[:MOST_CANDIDATES]
    data, samples = (associations([head(column) for column in side]) for side in sides(candidates))
    if np.isnan((samples - data)[~np.eye(len(data), dtype=bool)]).all():
        return [Section("pairs", "Pairs of columns", [Text("No two columns vary where both are there.")])]
    chosen = worst(data, samples, [found.index(each) for each in candidates])
    fields = [candidates[place] for place in chosen]
    data, samples = (matrix[np.ix_(chosen, chosen)] for matrix in (data, samples))
    names = [each.field.name for each in fields]
    gallery = Gallery(
        [
            Picture(matrix_svg(data, names, "RdBu_r"), "associations of the data", title="data"),
            Picture(matrix_svg(samples, names, "RdBu_r"), "associations of the samples", title="samples"),
            Picture(matrix_svg(samples - data, names, "PuOr"), "their difference", title="samples − data"),
        ],
        caption(len(fields), len(found), rms(samples - data)),
    )  # fmt: skip
    blocks: list[Block] = [gallery, *scatters(subject, fields, data, samples)]
    return [Section("pairs", "Pairs of columns", blocks)]


def sides(found: list[Marginal]) -> tuple[list[Column], list[Column]]:
    """The columns of the data and of the samples."""
    return [each.data for each in found if each.data is not None], [each.samples for each in found]


def head(column: Column) -> Column:
    """Its first rows: ranks of more cost time and sharpen nothing that can be seen."""
    return Column(column.values[:MOST_PAIRED_ROWS], column.levels, column.ordered)


def worst(data: Floats, samples: Floats, places: list[int]) -> list[int]:
    """The columns whose associations differ most, in the order of the table: `places` are theirs in it."""
    apart = np.nansum(np.abs(samples - data), axis=1)
    kept = np.argsort(-apart, kind="stable")[:MOST_COLUMNS].tolist()
    return sorted(kept, key=lambda place: places[place])


def rms(apart: Floats) -> float:
    """Root mean square off the diagonal."""
    return float(np.sqrt(np.nanmean(np.square(apart[~np.eye(len(apart), dtype=bool)]))))


def caption(shown: int, whole: int, apart: float) -> str:
    """What the matrices hold and what to look for."""
    chosen = f"The {shown} columns of {whole} whose associations differ most. " if shown < whole else ""
    return (
        f"{chosen}How much each column tells of each other: Spearman's rank correlation of two ordered columns "
        "(−1 to 1, a column of two levels ordered by its second), the correlation ratio of a category and an ordered "
        "column and Cramér's V of two categories (0 to 1), the latter two corrected for small tables. Data and samples "
        "should look alike and the difference blank; a row of strong colour there is a column whose dependence on the "
        f"others the model has not learned. The root mean square of the difference is {apart:.3f}. Grey: the column "
        "does not vary."
    )


def matrix_svg(matrix: Floats, names: list[str], colours: str) -> str:
    """A square of colours from −1 to 1 with the columns' names at its edges."""
    figure, axes = panel(3.4, 3.5)
    size = 7.5 if len(names) <= 10 else 6
    axes.set_facecolor(FAINT)
    image = axes.imshow(np.ma.masked_invalid(matrix), cmap=colours, vmin=-1, vmax=1, rasterized=False)
    labels = [drawable(name, 18) for name in names]
    axes.set_xticks(range(len(names)), labels, rotation=90, fontsize=size)
    axes.set_yticks(range(len(names)), labels, fontsize=size)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", shrink=0.6, aspect=30, pad=0.02, ticks=[-1, 0, 1])
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=6)
    return as_svg(figure)


def scatters(subject: Subject, fields: list[Marginal], data: Floats, samples: Floats) -> list[Block]:
    """Data and samples of the one or two strongest pairs of numbers."""
    chosen = strongest(fields, data)
    if not chosen:
        return [Text("No two columns of numbers are associated enough (0.2) to make a scatter plot worth looking at.")]
    pictures = []
    for a, b in chosen:
        names = f"{fields[a].field.name} and {fields[b].field.name}"
        for side, colour, matrix in (("data", DATA, data), ("samples", SAMPLES, samples)):
            figure = scatter(fields[a], fields[b], side, colour)
            note = f"rank correlation {matrix[a, b]:.2f}".replace("-", "−")
            pictures.append(Picture(as_svg(figure), f"{names}, {side}", title=f"{side}: {names}", note=note))
    text = (
        f"The most strongly associated pairs of numbers, no column in two of them: data ({subject.where}) beside "
        f"samples on equal axes in the columns' own units, as many points of each, at most {POINTS:,}; what lies "
        "beyond the data's range is at its edge. Look for a cloud that is wider or rounder than the data's, and for "
        "points where the data have none."
    )
    return [Gallery(pictures, text, (("data", "data"), ("samples", "samples")), size="half")]


def strongest(fields: list[Marginal], data: Floats) -> list[tuple[int, int]]:
    """Up to two pairs of numbers, the strongest first, without a column in common."""
    numbers = [place for place, each in enumerate(fields) if not each.field.values]
    ranked = sorted(combinations(numbers, 2), key=lambda pair: -np.nan_to_num(abs(data[pair])))
    kept: list[tuple[int, int]] = []
    for pair in ranked:
        if np.nan_to_num(abs(data[pair])) > WEAK and not any(set(pair) & set(other) for other in kept):
            kept.append(pair)
    return kept[:2]


def scatter(a: Marginal, b: Marginal, side: str, colour: str) -> Figure:
    """The points of two columns, within the range of the data."""
    figure, axes = panel(4.8, 3.4)
    ends = [limits(each) for each in (a, b)]
    values = []
    for each, (low, high) in zip((a, b), ends, strict=True):
        column = each.data if side == "data" else each.samples
        assert column is not None
        values.append(np.clip(column.values[: points(a)], low, high))
    dense = float(np.clip(12 / math.sqrt(points(a)), 0.3, 0.8))
    axes.scatter(values[0], values[1], s=8, color=colour, alpha=dense, linewidths=0, rasterized=True)
    for axis, (low, high) in zip("xy", ends, strict=True):
        room = 0.04 * (high - low) or 0.5
        axes.set(**{f"{axis}lim": (low - room, high + room)})
    label(axes, a, b)
    return figure


def points(each: Marginal) -> int:
    """How many are drawn: as many samples as data, or one of the clouds looks wider for its size alone."""
    assert each.data is not None
    return min(POINTS, len(each.data.values))


def limits(each: Marginal) -> tuple[float, float]:
    """The range of the data without the outermost 0.2 % on either side."""
    assert each.data is not None
    low, high = np.quantile(each.data.seen, [0.002, 0.998]) if len(each.data.seen) else (0.0, 1.0)
    return float(low), float(high)


def label(axes: Axes, a: Marginal, b: Marginal) -> None:
    """Names and units on the axes."""
    for set_label, each in ((axes.set_xlabel, a), (axes.set_ylabel, b)):
        unit = f" ({each.field.unit})" if each.field.unit else ""
        set_label(drawable(each.field.name + unit, 34))
    axes.locator_params(nbins=5)
