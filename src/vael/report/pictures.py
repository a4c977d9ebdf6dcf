"""Runs on pictures: reconstructions beside originals, samples, ways from one to another."""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vael import applications
from vael.data import Split, decode, originals
from vael.data.outputs import grey_levels, picture_sheet
from vael.report.blocks import Gallery, Picture, Section
from vael.report.drawing import data_uri
from vael.report.subject import Subject

PAIRS, ACROSS, SAMPLES, WAYS, STEPS = 32, 8, 49, 5, 9


class Shades:
    """Pictures of one schema brought to 0 … 1 and on sheets: grey levels by their range, others by that of the data."""

    def __init__(self, subject: Subject) -> None:
        self.schema, self.field = subject.schema, subject.schema.modelled[0]
        self.low, self.high = 0.0, float(grey_levels(subject.schema) - 1)
        bounded = self.field.levels > 0 or self.field.kind in ("binary", "unit")
        if not bounded and subject.shown is not None:
            values = originals(subject.shown.rows(torch.arange(min(200, len(subject.shown)))), self.schema)
            self.low, self.high = np.quantile(values[self.field.name].astype(np.float64), [0.01, 0.99]).tolist()

    def of(self, columns: dict[str, NDArray[np.generic]]) -> NDArray[Any]:
        """`(N, C, H, W)` in 0 … 1, values beyond the range beyond it."""
        values = columns[self.field.name].astype(np.float64)
        shades: NDArray[Any] = (values - self.low) / ((self.high - self.low) or 1.0)
        return shades

    def sheet(self, pictures: NDArray[Any], alt: str, title: str = "", **options: Any) -> Picture:
        """Pictures on a sheet with clear gutters."""
        content = picture_sheet(pictures, 2, clear=True, **options)
        return Picture(data_uri(content), alt, title=title, sheet=True)


def pictures(subject: Subject) -> list[Section]:
    """Reconstructions and ways where there are data, samples always."""
    shades = Shades(subject)
    found = [samples(subject, shades)]
    if subject.shown is not None:
        found.insert(0, reconstructions(subject, shades, subject.shown))
        if len(subject.shown) > 1:
            found.append(ways(subject, shades, subject.shown))
    return found


def reconstructions(subject: Subject, shades: Shades, shown: Split) -> Section:
    """Each of the first examples with what the model makes of it."""
    some = shown.rows(torch.arange(min(PAIRS, len(shown))))
    own = originals(some, subject.schema)
    made = decode(applications.reconstruct(subject.model, some), subject.schema, centres=True)
    pairs = np.stack([shades.of(own), shades.of(made)], axis=1)
    sheet = shades.sheet(
        pairs.reshape(-1, *pairs.shape[2:]), "originals and their reconstructions in pairs",
        columns=2 * ACROSS, apart=range(2, 2 * ACROSS, 2),
    )  # fmt: skip
    cut = " Grey originals are cut at one half, as the model sees them." if some.dynamic else ""
    caption = (
        f"The first {len(some)} examples of {subject.where}, each on the left of its pair, and on the right the centre "
        f"of p(x|z) at its posterior mean: what {subject.model.latent} numbers keep of it.{cut} Look for details that "
        f"are lost in every pair, and for pairs that do not match: the encoder has not understood those."
    )
    return Section("reconstructions", "Reconstructions", [Gallery([sheet], caption, size="whole")])


def samples(subject: Subject, shades: Shades) -> Section:
    """The same draws of z, as centres of p(x|z) and as draws from it."""
    sheets = []
    for mean, title in ((True, "centres of p(x|z)"), (False, "draws from p(x|z)")):
        x = subject.samples(SAMPLES, mean=mean)
        columns = decode(x, subject.schema, centres=mean)
        sheets.append(shades.sheet(shades.of(columns), f"{SAMPLES} new examples, {title}", title=title))
    caption = (
        f"{SAMPLES} new examples: z is drawn from the prior (seed {subject.seed}), the same z at the same place on "
        "both sheets. On the left the mean of p(x|z), which is no example but the middle of many; on the right one "
        "draw from it, which is what log p(x) judges. Look for centres that are no recognisable picture (places the "
        "prior visits and the data do not), for sheets of few kinds, and for draws much noisier than the data."
    )
    return Section("samples", "Samples", [Gallery(sheets, caption, size="medium")])


def ways(subject: Subject, shades: Shades, shown: Split) -> Section:
    """From each of a few examples to the next, through the latent space."""
    some = shown.rows(chain(shown, WAYS + 1))
    own = shades.of(originals(some, subject.schema))
    x = applications.interpolate(subject.model, some, steps=STEPS)
    made = shades.of(decode(x.flatten(0, 1), subject.schema, centres=True)).reshape(len(x), STEPS, *own.shape[1:])
    lines = [np.concatenate([a[None], way, b[None]]) for (a, b), way in zip(pairwise(own), made, strict=True)]
    sheet = shades.sheet(
        np.concatenate(lines), "lines of pictures from one example to another",
        columns=STEPS + 2, apart=(1, STEPS + 1),
    )  # fmt: skip
    rows = ", ".join(str(row + 1) for row in some.index.tolist())
    caption = (
        f"Centres of p(x|z) along the straight line between the posterior means of two examples; the originals stand "
        f"apart at both ends (rows {rows} of the source, each way beginning where the one before ended). Look for "
        "changes that are gradual and pass through plausible pictures; a jump or a blur in the middle is a gap in the "
        "latent space."
    )
    return Section("ways", "From one example to another", [Gallery([sheet], caption, size="whole")])


def chain(shown: Split, length: int) -> torch.Tensor:
    """Places of the first examples of which each has another label than the one before, where there are labels."""
    labels = None if shown.label is None else shown.label.tolist()
    found = [0]
    for place in range(1, len(shown)):
        if len(found) < length and (labels is None or labels[place] != labels[found[-1]]):
            found.append(place)
    return torch.tensor(found if len(found) > 1 else [0, 1])
