"""Runs on tables: every column's marginal, samples beside data."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, FixedLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from vael.data import Field, decode
from vael.data.schema import Value
from vael.diagnostics import Column, Distance, distance, shares
from vael.report.blocks import Block, Gallery, Note, Picture, Section, Table, Text
from vael.report.drawing import DATA, SAMPLES, as_svg, drawable, is_drawable, log_ticks, panel
from vael.report.subject import Subject

FEWEST_SAMPLES = 2_000
MOST_POOLED = 200_000
MOST_PANELS = 12
MOST_ROWS = 60
MOST_LEVELS = 10
FEWEST_BINS, MOST_BINS = 10, 40

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Marginal:
    """One column of the data and of the samples; data is None where there are none."""

    field: Field
    data: Column | None
    samples: Column

    @cached_property
    def apart(self) -> Distance | None:
        """How far samples and data are from each other."""
        return None if self.data is None else distance(self.data, self.samples)

    @property
    def order(self) -> float:
        """Worst fits first."""
        return 0.0 if self.apart is None else -self.apart.value


def coded(field: Field, values: NDArray[np.generic]) -> Column:
    """A column in the user's values as numbers: codes of the field's levels, or the numbers themselves."""
    if not field.values:
        numbers = values.astype(np.float64)
        return Column(np.where(np.isfinite(numbers), numbers, np.nan))
    codes: dict[object, float] = {value: float(code) for code, value in enumerate(field.values)}
    found = [codes.get(value, np.nan) for value in values.tolist()]
    # Two levels have an order, if an arbitrary one; the levels of a category have none.
    ordered = len(field.values) == 2 or str(field.kind) != "category"
    return Column(np.asarray(found, dtype=np.float64), len(field.values), ordered)


def marginals(subject: Subject) -> list[Marginal]:
    """Every modelled column, data beside as many samples, at least 2,000."""
    count = FEWEST_SAMPLES if subject.shown is None else max(FEWEST_SAMPLES, len(subject.shown))
    drawn = decode(subject.samples(count), subject.schema)
    own = subject.columns
    return [
        Marginal(field, coded(field, own[field.name]) if own else None, coded(field, drawn[field.name]))
        for field in subject.schema.modelled
    ]


def pooled(subject: Subject) -> Section:
    """Arrays that are neither tables nor pictures: all their numbers in one panel."""
    field, count = subject.schema.modelled[0], MOST_POOLED // subject.schema.dims + 1
    drawn = decode(subject.samples(count), subject.schema)
    data = coded(field, subject.columns[field.name][:count].ravel()) if subject.columns else None
    found = Marginal(field, data, coded(field, drawn[field.name].ravel()))
    words = (
        f"Each example is an array of {' × '.join(map(str, field.shape))} numbers, which has no picture; these are "
        "all its numbers together. `vael sample` and `vael reconstruct` write whole examples as .npz."
    )
    return Section("samples", "Samples", [Gallery([picture(found)], words, keys(subject))])


def columns(subject: Subject, found: list[Marginal]) -> Section:
    """A panel for each of the columns that fit worst, and a line of numbers for each."""
    ordered = sorted(found, key=lambda each: each.order)
    panels = ordered[:MOST_PANELS]
    blocks: list[Block] = [Text(lead(subject, found)), Gallery(
        [picture(each) for each in panels], caption(subject, len(panels), len(found)), keys(subject),
    )]  # fmt: skip
    if subject.shown is None:
        blocks.insert(0, Note("The data are not at hand: the panels show samples alone."))
    blocks.append(summary(subject, ordered))
    return Section("columns", "Columns", blocks)


def keys(subject: Subject) -> tuple[tuple[str, str], ...]:
    """What the two colours are."""
    samples = ("samples", "samples from the model")
    return (samples,) if subject.shown is None else (("data", f"data ({subject.where})"), samples)


def lead(subject: Subject, found: list[Marginal]) -> str:
    """How many rows stand beside how many."""
    samples = len(found[0].samples.values)
    if subject.shown is None or subject.whole is None:
        return f"{samples:,} samples from the model (seed {subject.seed})."
    rows = len(subject.shown)
    first = f"the first {rows:,} of {len(subject.whole):,}" if rows < len(subject.whole) else f"all {rows:,}"
    return (
        f"Each column by itself, {first} examples of {subject.where} beside {samples:,} samples from the model "
        f"(seed {subject.seed}), in the data's own units."
    )


def caption(subject: Subject, shown: int, whole: int) -> str:
    """What the panels show, which were chosen, and what to look for."""
    text = "Share of rows in each bin or level, in per cent. "
    if subject.shown is not None:
        chosen = f"The {shown} columns of {whole} that fit worst, worst first. " if shown < whole else "Worst first. "
        text += (
            f"{chosen}The distance is the largest difference between the two in the probability of any set of levels, "
            "or of lying below any number: 0 for equal columns, 1 for disjoint ones; by chance is what two samples of "
            "one law would show at these sizes. "
        )
    return text + (
        "A column with a long tail has a logarithmic axis; the bars at both ends hold what lies beyond. Look for a "
        "spike that the samples smear out, a second mode they miss, a tail they do not reach, and rare levels they "
        "never take."
    )


def picture(each: Marginal) -> Picture:
    """One column's panel under its name."""
    figure, axes = panel()
    few = 0 < len(each.field.values) <= MOST_LEVELS
    draw_levels(axes, each) if few or str(each.field.kind) == "category" else draw_numbers(axes, numbered(each))
    name = each.field.name + (f" ({each.field.unit})" if each.field.unit else "")
    note = "" if each.apart is None else f"distance {each.apart.value:.3f}, by chance {each.apart.chance:.3f}"
    undrawn = [(level_name(each.field, level), level) for level in each.field.values if not is_drawable(level)]
    note += "".join(f"; {name} is {level}" for name, level in undrawn[:MOST_LEVELS])
    return Picture(as_svg(figure), f"distribution of {each.field.name}", title=name, note=note)


# ── levels ───────────────────────────────────────────────────────────────────────────────────────────────────


def draw_levels(axes: Axes, each: Marginal) -> None:
    """A bar for the data's share of each level, a line across it for the samples'; rare levels in one."""
    samples = 100 * shares(each.samples)
    data = None if each.data is None else 100 * shares(each.data)
    names, groups = grouped(each.field, samples if data is None else data)
    places = np.arange(len(groups))[::-1]
    if data is not None:
        axes.barh(places, [data[group].sum() for group in groups], height=0.72, color=DATA, alpha=0.4, linewidth=0)
    values = [samples[group].sum() for group in groups]
    axes.vlines(values, places - 0.42, places + 0.42, color=SAMPLES, linewidth=2)
    axes.set_yticks(places, names)
    axes.set_ylim(min(-0.6, len(groups) - 5.6), len(groups) - 0.4)  # two bars need not be as thick as ten
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlim(left=0)
    axes.set_xlabel("% of rows")
    axes.xaxis.set_major_locator(MaxNLocator(5))


def grouped(field: Field, order: Floats) -> tuple[list[str], list[list[int]]]:
    """Names and codes of the levels drawn: all in their order, or the most frequent and the rest together."""
    codes = list(range(len(field.values)))
    if len(codes) > MOST_LEVELS:
        frequent = np.argsort(-order, kind="stable").tolist()
        groups = [[code] for code in frequent[: MOST_LEVELS - 1]] + [frequent[MOST_LEVELS - 1 :]]
    elif str(field.kind) == "category":
        groups = [[code] for code in np.argsort(-order, kind="stable").tolist()]
    else:
        groups = [[code] for code in codes]
    names = [level_name(field, field.values[group[0]]) for group in groups]
    if len(groups[-1]) > 1:
        names[-1] = f"{len(groups[-1])} others"
    return names, groups


def level_name(field: Field, level: Value) -> str:
    """The level's own name, or its number where the font of the figures cannot draw it."""
    return drawable(level) if is_drawable(level) else f"level {field.values.index(level) + 1}"


# ── numbers ──────────────────────────────────────────────────────────────────────────────────────────────────


def draw_numbers(axes: Axes, each: Marginal) -> None:
    """Data as filled bars, samples as a line over them, in bins that respect the column's grid."""
    basis = each.samples.seen if each.data is None or not len(each.data.seen) else each.data.seen
    if not len(basis):
        axes.text(0.5, 0.5, "no finite value", ha="center", transform=axes.transAxes)
        return
    scale = linear_part(basis, each.field.resolution)
    edges = bins(basis, each.field, scale)
    heights = [
        None if column is None or not len(column.seen) else histogram(column.seen, edges)
        for column in (each.data, each.samples)
    ]
    drawn = [height for height in heights if height is not None]
    log = max(height.max() for height in drawn) > 50 and len(edges) > 6
    floor = min(height[height > 0].min() for height in drawn) / 2 if log else 0.0
    data, samples = heights
    if data is not None:
        axes.stairs(data, edges, baseline=floor, fill=True, color=DATA, alpha=0.4, linewidth=0)
    if samples is not None:
        axes.stairs(samples, edges, baseline=floor, color=SAMPLES, linewidth=1.3)
    if log:
        axes.set_yscale("log")
        log_ticks(axes.yaxis)
    axes.set_ylim(bottom=floor)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylabel("% of rows" + (", log" if log else ""))
    ticks(axes, edges, scale)


def numbered(each: Marginal) -> Marginal:
    """A column of many ordered levels as the numbers they are."""
    if not each.field.values:
        return each
    table = np.asarray(each.field.values, dtype=np.float64)
    data, samples = (
        None if column is None else Column(np.where(np.isnan(column.values), np.nan, table[codes_of(column)]))
        for column in (each.data, each.samples)
    )
    assert samples is not None
    field = replace(each.field, values=(), resolution=float(np.diff(table).min()), offset=float(table[0]))
    return Marginal(field, data, samples)


def codes_of(column: Column) -> NDArray[np.int64]:
    """The codes of a column of levels, 0 where one is missing."""
    return np.nan_to_num(column.values).astype(np.int64)


def linear_part(values: Floats, step: float) -> float:
    """Where a long-tailed column's axis turns from linear to logarithmic; 0 for a column without such a tail."""
    low, high = float(values.min()), float(values.max())
    upper = float(np.quantile(values, 0.75))
    if low < 0 or high <= 30 * upper or high <= 30 * step:
        return 0.0
    return step or float(np.quantile(values[values > 0], 0.01))


def bins(values: Floats, field: Field, scale: float) -> Floats:
    """Edges over the range of `values`: whole numbers of grid cells, even in log(1 + x / scale) where scale is set."""
    low, high = float(values.min()), float(values.max())
    quartiles = np.quantile(values, [0.25, 0.75])
    if not scale and high - low > 30 * (quartiles[1] - quartiles[0]) > 0:
        low, high = (float(end) for end in np.quantile(values, [0.005, 0.995]))
    # The number of bins that balances noise and detail grows with the cube root of the rows (Scott 1979).
    count = int(np.clip(3 * len(values) ** (1 / 3), FEWEST_BINS, MOST_BINS))
    step, start = field.resolution, field.offset
    if step > 0:
        low, high = (start + (round((end - start) / step) + half) * step for end, half in ((low, -0.5), (high, 0.5)))
    elif low == high:
        low, high = low - 0.5, high + 0.5
    if scale:
        even = np.linspace(math.log1p(max(low, 0.0) / scale), math.log1p(high / scale), count + 1)
        edges: Floats = np.expm1(even) * scale
        edges[0] = low
        return np.unique(start + (np.rint((edges - start) / step - 0.5) + 0.5) * step) if step > 0 else edges
    if step > 0:
        cells = max(1, round((high - low) / step))
        width = -(-cells // count)
        whole: Floats = low + step * width * np.arange(-(-cells // width) + 1, dtype=np.float64)
        return whole
    return np.linspace(low, high, count + 1)


def histogram(values: Floats, edges: Floats) -> Floats:
    """Per cent of the values in each bin; those beyond are in the bins at the ends."""
    inside = np.clip(values, edges[0], np.nextafter(edges[-1], -np.inf))
    found: Floats = 100 * np.histogram(inside, edges)[0] / len(values)
    return found


def ticks(axes: Axes, edges: Floats, scale: float) -> None:
    """Few, round places; thousands as k, millions as M."""
    if scale:
        axes.set_xscale("function", functions=(lambda x: np.log1p(np.maximum(x, -0.9 * scale) / scale),
                                               lambda u: np.expm1(u) * scale))  # fmt: skip
        first = int(np.ceil(np.log10(scale)))
        powers = 10.0 ** np.arange(first, int(np.floor(np.log10(edges[-1]))) + 1)
        wanted = [0.0, *powers[:: -(-len(powers) // 5)]] if edges[0] <= 0 else list(powers)
        axes.xaxis.set_major_locator(FixedLocator([place for place in wanted if edges[0] <= place <= edges[-1]]))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    if 1e4 <= np.abs(edges[[0, -1]]).max() < 1e15:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    elif scale:
        axes.xaxis.set_major_formatter(lambda place, _: f"{place:g}")


# ── in numbers ───────────────────────────────────────────────────────────────────────────────────────────────


def summary(subject: Subject, ordered: list[Marginal]) -> Table:
    """A line for each column: what it is, what is missing, its middle in data and samples, the distance."""
    rows = [line(each) for each in ordered[:MOST_ROWS]]
    some = f" The {MOST_ROWS} worst of {len(ordered)} columns." if len(ordered) > MOST_ROWS else ""
    text = (
        "For numbers the median and, in brackets, where the middle 90 % lie; for levels the share of the data's most "
        f"frequent one.{some} Missing values are left out; samples have none."
    )
    head = ["column", "kind", "data", "samples", "missing", "distance", "by chance"]
    if subject.shown is None:
        return Table([head[k] for k in (0, 1, 3)], [[row[k] for k in (0, 1, 3)] for row in rows], text, aligned=3)
    return Table(head, rows, text, aligned=4)


def line(each: Marginal) -> list[str]:
    """One row of the summary."""
    field, data, apart = each.field, each.data, each.apart
    level = most_frequent(data if data is not None and len(data.seen) else each.samples)
    missing = "" if data is None else f"{100 * float(np.isnan(data.values).mean()):.1f} %"
    told = [middle(field, column, level) for column in (data, each.samples)]
    numbers = ["", ""] if apart is None else [f"{apart.value:.3f}", f"{apart.chance:.3f}"]
    return [field.name, str(field.kind) + (f", {field.unit}" if field.unit else ""), *told, missing, *numbers]


def plain(number: float) -> str:
    """Three digits or all whole ones, without a power of ten where people write none."""
    return f"{number:,.0f}" if 1e3 <= abs(number) < 1e9 else f"{number:.3g}"


def most_frequent(column: Column) -> int:
    """Code of the level that most rows have."""
    return int(shares(column).argmax()) if column.levels else 0


def middle(field: Field, column: Column | None, level: int) -> str:
    """`37 [19, 63]`, or `Private 75.3 %`."""
    if column is None:
        return ""
    if not len(column.seen):
        return "no value"
    if column.levels:
        return f"{field.values[level]} {100 * shares(column)[level]:.1f} %"
    low, half, high = map(plain, np.quantile(column.seen, [0.05, 0.5, 0.95]).tolist())
    return f"{half} [{low}, {high}]".replace("-", "−")
