"""Finished pictures of ready recipes: what an experiment shows, drawn from the runs it made.

A demonstration takes the subject of each arm, by name, and gives files: name → content. A recipe names those it wants
under `pictures`; a new one is a function and a line in `DEMONSTRATIONS`.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from numpy.typing import NDArray
from torch import Tensor

from vael import applications, evaluation
from vael.data import decode, originals
from vael.data.given import with_part
from vael.data.outputs import grey_levels, picture_sheet
from vael.errors import RecipeError
from vael.names import network_of
from vael.noise import stream
from vael.report.drawing import DATA, FAINT, INK, SAMPLES, drawing, panel, svg_of
from vael.report.subject import Subject

Subjects = Mapping[str, Subject]
Files = dict[str, bytes]
Pictures = NDArray[np.generic]

SHOWN, ACROSS = 8, 8


def pictures_of(subject: Subject, x: Tensor, *, centres: bool = True) -> Pictures:
    """x `(N, *event)` in the model's units as pictures in the user's."""
    return decode(x, subject.schema, centres=centres)[subject.schema.modelled[0].name]


def rows_of(subject: Subject, count: int) -> tuple[Pictures, Tensor]:
    """The first examples the subject shows, as pictures, and their places."""
    if subject.shown is None:
        raise RecipeError(f"{subject.run}: its data are not at hand, so there is nothing to show.")
    places = torch.arange(min(count, len(subject.shown)))
    part = subject.shown.rows(places)
    return originals(part, subject.schema)[subject.schema.modelled[0].name], places


def sheet(subject: Subject, pictures: Pictures, across: int, apart: tuple[int, ...] = ()) -> bytes:
    """Pictures row by row as a .png."""
    levels = grey_levels(subject.schema)
    return picture_sheet(np.asarray(pictures, dtype=np.float64), levels, across, apart=apart)


# ── from a normal law to any other ───────────────────────────────────────────────────────────────────────────


def ring(subjects: Subjects) -> Files:
    """Normal points and where z/10 + z/‖z‖ takes them, and what the model learned of it, coloured by the angle."""
    (subject,) = subjects.values()
    z = np.random.default_rng(0).normal(size=(3000, 2))
    x = z / 10 + z / np.linalg.norm(z, axis=1, keepdims=True)
    made = decode(subject.samples(3000), subject.schema)
    learned = np.stack([made["across"], made["up"]], 1)
    with drawing():
        figure = Figure(figsize=(9, 3.1), dpi=160, layout="constrained")
        for axes, points, title in zip(
            figure.subplots(1, 3), (z, x, learned), ("z ~ N(0, I)", "z/10 + z/‖z‖", "samples of the model"), strict=True
        ):
            axes.scatter(*points.T, c=np.arctan2(points[:, 1], points[:, 0]), cmap="twilight", s=2, rasterized=True)
            axes.set_aspect("equal")
            if points is not z:
                axes.set_xlim(-1.6, 1.6), axes.set_ylim(-1.6, 1.6)
            axes.set_title(title, fontsize=9)
        return {"ring.svg": svg_of(figure)}


# ── what is maximised, and how ───────────────────────────────────────────────────────────────────────────────


def losses(subjects: Subjects) -> Files:
    """The bound and its two terms as boxes, with the model's own numbers, and the curve of each."""
    (subject,) = subjects.values()
    numbers = subject.numbers
    if numbers is None or not numbers.get("elbo"):
        raise RecipeError(f"{subject.run}: has no bound to take apart.")
    elbo, rate, distortion = (numbers[name]["value"] for name in ("elbo", "rate", "distortion"))
    with drawing():
        figure, axes = panel(7.2, 2.3)
        bare(axes, 10, 3)
        total = rate + distortion
        box(axes, 0.2, 1.1, 2.2, f"−ELBO\n{-elbo:.2f} nats", INK)
        axes.text(2.75, 1.5, "=", ha="center", va="center", fontsize=14)
        box(axes, 3.1, 1.1, 3.0, f"rate  KL(q(z|x)‖p(z))\n{rate:.2f} nats", DATA)
        axes.text(6.45, 1.5, "+", ha="center", va="center", fontsize=14)
        box(axes, 6.8, 1.1, 3.0, f"distortion  −E[log p(x|z)]\n{distortion:.2f} nats", SAMPLES)
        axes.text(4.6, 0.6, "what z costs to tell", ha="center", color=DATA)
        axes.text(8.3, 0.6, "what x costs, told z", ha="center", color=SAMPLES)
        axes.barh([2.65], [9.6 * rate / total], left=0.2, height=0.35, color=DATA)
        axes.barh([2.65], [9.6 * distortion / total], left=0.2 + 9.6 * rate / total, height=0.35, color=SAMPLES)
        return {"losses.svg": svg_of(figure)}


def graph(subjects: Subjects) -> Files:
    """The computation of one training step, drawn from the model: noise is an input, so gradients pass through z."""
    (subject,) = subjects.values()
    recipe = subject.recipe
    encoder, decoder = (recipe[room].get("network") for room in ("posterior", "likelihood"))
    with drawing():
        figure, axes = panel(9.0, 3.6)
        bare(axes, 12, 5)
        steps = [
            (0.1, 2.4, 1.3, f"x\n{'×'.join(map(str, subject.schema.event_shape))}", INK),
            (2.0, 2.4, 2.7, wrapped(f"q(z|x)\n{network_of(encoder)}" if encoder else "q(z|x)"), DATA),
            (5.3, 2.4, 1.9, f"z = loc + scale · ε\n{subject.model.latent} numbers", INK),
            (7.8, 2.4, 2.6, wrapped(f"p(x|z)\n{network_of(decoder)}" if decoder else "p(x|z)"), SAMPLES),
            (10.8, 2.4, 1.1, "log p(x|z)", SAMPLES),
            (5.3, 4.0, 1.9, "ε ~ N(0, I)\nan input", FAINT),
            (2.0, 0.4, 2.7, "KL(q(z|x)‖p(z))", DATA),
            (8.6, 0.4, 2.9, f"{recipe['objective']['kind']}, nats per example\ngradient by one pass back", INK),
        ]  # fmt: skip
        for left, low, width, text, colour in steps:
            box(axes, left, low, width, text, colour)
        for start, end in (
            ((1.4, 2.85), (2.0, 2.85)), ((4.7, 2.85), (5.3, 2.85)), ((7.2, 2.85), (7.8, 2.85)),
            ((10.4, 2.85), (10.8, 2.85)), ((6.25, 4.0), (6.25, 3.3)), ((3.3, 2.4), (3.3, 1.3)),
            ((4.7, 0.7), (8.6, 0.7)), ((11.3, 2.4), (10.6, 1.3)),
        ):  # fmt: skip
            axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": INK, "linewidth": 0.8})
        return {"graph.svg": svg_of(figure)}


def wrapped(text: str) -> str:
    """A long description on lines of its own."""
    return text.replace(" then ", "\nthen ")


def bare(axes: Axes, width: float, height: float) -> None:
    """Axes without ticks or frame, in units of a drawing board."""
    axes.set_xlim(0, width), axes.set_ylim(0, height)
    axes.axis("off")


def box(axes: Axes, left: float, low: float, width: float, text: str, colour: str) -> None:
    """A rounded box with a text in its middle."""
    axes.add_patch(
        FancyBboxPatch(
            (left, low), width, 0.9, boxstyle="round,pad=0.02,rounding_size=0.12", fill=False, edgecolor=colour
        )
    )
    axes.text(left + width / 2, low + 0.45, text, ha="center", va="center", fontsize=7)


def decoder_only(subjects: Subjects) -> Files:
    """64 new examples: z from the prior, no encoder; their centres, and draws at the same z."""
    (subject,) = subjects.values()
    return {
        f"{name}.png": sheet(subject, pictures_of(subject, subject.samples(64, mean=mean), centres=mean), ACROSS)
        for name, mean in (("samples-centres", True), ("samples-draws", False))
    }


# ── completing pictures ──────────────────────────────────────────────────────────────────────────────────────


def completions(subjects: Subjects) -> Files:
    """Rows: what is given, the regressor's one guess, six answers of the conditional VAE, the truth."""
    cvae, regressor = subjects["cvae"], subjects["regressor"]
    own, places = rows_of(cvae, 10)
    assert cvae.shown is not None
    part = cvae.shown.rows(places)
    told = part.told()
    assert told is not None
    lines = [shown_part(cvae, told)]
    for subject, answers in ((regressor, 1), (cvae, 6)):
        for answer in range(answers):
            x = applications.generate(subject.model, len(own), seed=answer, mean=True, given=told)
            lines.append(pictures_of(subject, with_part(x, told, 0, subject.schema)))
    lines.append(own)
    grid = np.stack([np.asarray(line, dtype=np.float64).reshape(len(own), *own.shape[1:]) for line in lines], 1)
    return {"completions.png": sheet(cvae, grid.reshape(-1, *own.shape[1:]), len(lines), (1, 2, len(lines) - 1))}


def shown_part(subject: Subject, told: Tensor) -> Pictures:
    """The given pixels alone, the rest black."""
    x = told[:, -subject.schema.dims :].reshape(-1, *subject.schema.event_shape)
    scale = 1.0 if subject.schema.modelled[0].view != "whole" else subject.schema.modelled[0].levels - 1.0
    return pictures_of(subject, x * scale)


# ── codes ────────────────────────────────────────────────────────────────────────────────────────────────────


def reconstructions(subjects: Subjects) -> Files:
    """Originals above what each arm makes of them, and the squared error of each over the number of codes."""
    first = next(iter(subjects.values()))
    own, places = rows_of(first, SHOWN)
    lines = [np.asarray(own, dtype=np.float64)]
    for subject in subjects.values():
        assert subject.shown is not None
        x = applications.reconstruct(subject.model, subject.shown.rows(places))
        lines.append(np.asarray(pictures_of(subject, x), dtype=np.float64))
    return {"reconstructions.png": sheet(first, np.concatenate(lines), len(own)), "error.svg": errors(subjects)}


def errors(subjects: Subjects) -> bytes:
    """Squared error of a reconstruction in [−1, 1], summed over a picture, over the number of codes."""
    sizes, found = [], []
    for subject in subjects.values():
        assert subject.whole is not None
        part = subject.whole.rows(torch.arange(min(1000, len(subject.whole))))
        x = applications.reconstruct(subject.model, part).cpu()
        own = next(iter(part.batches(len(part)))).x.cpu()
        field = subject.schema.modelled[0]
        unit = 2 / (field.levels - 1) * field.scale if field.levels else 2.0
        sizes.append(subject.model.latent)
        found.append(float((unit * (x - own)).square().flatten(1).sum(1).mean()))
    with drawing():
        figure, axes = panel(3.4, 2.3)
        axes.plot(sizes, found, marker="o", color=DATA)
        axes.set_xlabel("codes")
        axes.set_ylabel("squared error of a picture")
        axes.set_ylim(bottom=0)
        return svg_of(figure)


def strangers(subjects: Subjects) -> Files:
    """Noise, plain colours, a chequerboard, slopes: unlike any training picture, above what it makes of them."""
    subject = list(subjects.values())[-1]
    shape, field = subject.schema.event_shape, subject.schema.modelled[0]
    top = (field.levels - 1) / field.scale if field.levels else 1.0
    generator = stream(0, purpose="strangers")
    height, width = shape[1:]
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    kinds = [torch.rand(shape, generator=generator), torch.rand(shape, generator=generator)]
    kinds += [torch.full(shape, value) for value in (0.1, 0.9)]
    kinds += [((x * 8).floor() + (y * 8).floor()).remainder(2).expand(shape), x.expand(shape), y.expand(shape)]
    kinds.append(torch.rand(shape[0], 1, 1, generator=generator).expand(shape))
    odd = (torch.stack(kinds) * top - (field.loc / field.scale if field.view == "standard" else 0.0)).float()
    z = subject.model.posterior(odd.to(subject.model.device)).mean
    made = applications.centres(subject.model, z.detach())
    both = [np.asarray(pictures_of(subject, one), dtype=np.float64) for one in (odd, made)]
    return {"strangers.png": sheet(subject, np.concatenate(both), len(odd))}


def random_codes(subjects: Subjects) -> Files:
    """What N(0, I) decodes to: art, unless the codes were brought to that law."""
    files = {}
    for name, subject in subjects.items():
        z = torch.randn(32, subject.model.latent, generator=stream(0, purpose="random codes"))
        files[f"random-codes-{name}.png"] = sheet(
            subject, pictures_of(subject, applications.centres(subject.model, z)), ACROSS
        )
    return files


def nearest(subjects: Subjects) -> Files:
    """Six examples, each before the seven of the training rows whose codes are nearest."""
    subject = subjects.get("128", list(subjects.values())[-1])
    own, places = rows_of(subject, 6)
    train = subject.splits.get("train")
    assert subject.shown is not None
    if train is None:
        raise RecipeError(f"{subject.run}: its training rows are not at hand.")
    corpus = train.resident()
    z = evaluation.latents(subject.model, corpus)[0]
    query = evaluation.latents(subject.model, subject.shown.rows(places))[0]
    near = torch.cdist(query, z).topk(7, largest=False).indices
    found = originals(corpus.rows(near.flatten()), subject.schema)[subject.schema.modelled[0].name]
    lines = np.concatenate([np.asarray(own)[:, None], np.asarray(found).reshape(6, 7, *own.shape[1:])], 1)
    return {"nearest.png": sheet(subject, lines.reshape(-1, *own.shape[1:]), 8, (1,))}


DEMONSTRATIONS: dict[str, Callable[[Subjects], Files]] = {
    "ring": ring, "losses": losses, "graph": graph, "decoder_only": decoder_only, "completions": completions,
    "reconstructions": reconstructions, "strangers": strangers, "random_codes": random_codes, "nearest": nearest,
}  # fmt: skip


def drawn(name: str, subjects: Subjects) -> Files:
    """The files of the demonstration called `name`. Raises RecipeError when there is none."""
    if name not in DEMONSTRATIONS:
        raise RecipeError(f"pictures: no demonstration {name!r}. There are: {', '.join(DEMONSTRATIONS)}.")
    return DEMONSTRATIONS[name](subjects)
