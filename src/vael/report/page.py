"""The page: every section in its order, laid out by one template."""

import re
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from vael.data.outputs import is_picture
from vael.report.about import about, next_steps
from vael.report.blocks import Quantity, Section
from vael.report.columns import columns, marginals, pooled
from vael.report.curves import curves
from vael.report.drawing import DATA, SAMPLES, TRAIN, VALIDATION, drawing
from vael.report.latents import latents, units
from vael.report.numbers import numbers
from vael.report.pairs import pairs
from vael.report.pictures import pictures
from vael.report.subject import Subject
from vael.version import __version__

COLOURS = {"data": DATA, "samples": SAMPLES, "train": TRAIN, "validation": VALIDATION}


def page(subject: Subject) -> str:
    """The whole page as HTML: no script, no address outside, the same text for the same subject."""
    with drawing():
        found = sections(subject)
    # From a string, autoescape has no file name to go by: it is on for everything.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"words": words, "value": value, "error": error}
    template = environment.from_string(files("vael.report").joinpath("page.html").read_text(encoding="utf-8"))
    return template.render(
        title=subject.recipe["data"]["name"], run=subject.run, sections=found, colours=COLOURS, version=__version__
    )


def sections(subject: Subject) -> list[Section]:
    """What the page is made of, in its order."""
    found = [about(subject), numbers(subject), curves(subject)]
    if subject.schema.is_table:
        compared = marginals(subject)
        found += [columns(subject, compared), *pairs(subject, compared)]
    elif is_picture(subject.schema):
        found += pictures(subject)
    else:
        found.append(pooled(subject))
    return [*found, latents(subject), *units(subject), next_steps(subject)]


def words(text: str) -> Markup:
    """Plain text, escaped, with what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def value(quantity: Quantity) -> str:
    """`−83.25` or `none`."""
    if quantity.value is None:
        return "none"
    return f"{quantity.value:,.{quantity.digits}f}".replace("-", "−")


def error(quantity: Quantity) -> str:
    """`± 0.74`, or nothing."""
    return "" if quantity.error is None else f"± {quantity.error:,.{quantity.digits}f}"
