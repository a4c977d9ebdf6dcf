"""How the page's figures look, and how they become part of it.

One colour, one meaning, on every figure: Okabe & Ito's colours for data, samples, training and validation, and Paul
Tol's muted ones for classes, both made to be told apart by colour-blind readers.
"""

import base64
import contextlib
import io
from collections.abc import Iterator
from functools import cache
from typing import Any

import matplotlib
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import NullLocator

DATA, SAMPLES = "#0072B2", "#D55E00"
TRAIN, VALIDATION = "#8A8A8A", "#009E73"
INK, FAINT = "#333333", "#BBBBBB"
CLASSES = (
    "#332288", "#CC6677", "#117733", "#DDAA33", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499", "#555555",
)  # fmt: skip
FONT = "DejaVu Sans"  # comes with matplotlib: the page is the same on every machine
DOTS = 160  # for what is drawn as pixels inside a figure: dense clouds of points

STYLE: dict[str, Any] = {
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.formatter.limits": (-4, 6),
    "axes.formatter.useoffset": False,
    "axes.labelcolor": INK,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.family": FONT,
    "font.size": 8,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "svg.hashsalt": "vael",  # names inside the file by content, not by chance
    "text.color": INK,
    "text.parse_math": False,  # a column may be called cost_$_per_$
    "xtick.color": INK,
    "xtick.labelsize": 7.5,
    "xtick.major.width": 0.6,
    "ytick.color": INK,
    "ytick.labelsize": 7.5,
    "ytick.major.width": 0.6,
}


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """While it lasts figures are made in the page's style, whatever the reader's own settings; they come back after."""
    with matplotlib.style.context(["default", STYLE]):
        yield


def panel(width: float = 3.2, height: float = 2.0) -> tuple[Figure, Axes]:
    """A figure of that many inches with one pair of axes."""
    figure = Figure(figsize=(width, height), dpi=DOTS, layout="constrained")
    return figure, figure.subplots()


def log_ticks(axis: Axis) -> None:
    """Decades as plain numbers: with mathematics switched off, matplotlib's own powers of ten would be spelled out."""
    axis.set_major_formatter(lambda place, _: f"{place:g}")
    axis.set_minor_locator(NullLocator())


def as_svg(figure: Figure) -> str:
    """The figure as a data: URI, transparent, without date or author."""
    return data_uri(svg_of(figure), "image/svg+xml")


def svg_of(figure: Figure) -> bytes:
    """The figure as the content of an .svg file, without date or author."""
    # savefig would draw twice, the first time for the layout alone: a quarter of the page's time.
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
    figure.set_layout_engine("none")
    held = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(held, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return held.getvalue()


def data_uri(content: bytes, kind: str = "image/png") -> str:
    """`content` as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def drawable(text: object, longest: int = 22) -> str:
    """A label that the font can draw, other letters as □; of a long one beginning and end, which tell it apart."""
    words = "".join(letter if letter.isprintable() and _has(letter) else "□" for letter in str(text))
    end = longest // 3
    return words if len(words) <= longest else f"{words[: longest - end - 1]}…{words[-end:]}"


def is_drawable(text: object) -> bool:
    """Whether the font has every letter."""
    return all(letter.isprintable() and _has(letter) for letter in str(text))


@cache
def _has(letter: str) -> bool:
    return bool(get_font(findfont(FONT)).get_char_index(ord(letter)))
