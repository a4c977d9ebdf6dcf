"""vael curve: one model for each of several weights of the rate, and where each ends between rate and distortion."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vael.data import Split
from vael.diagnostics import active_units, eigenvalues, tradeoff
from vael.diagnostics.noise import seen_rows
from vael.errors import RecipeError
from vael.evaluation import bounds, latents
from vael.files import save_json
from vael.likelihoods import Gaussian
from vael.numbers import Number
from vael.runs.fit import nothing
from vael.runs.run import Run
from vael.runs.several import fit_several, folder_for

BETAS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
DRAWS = 8  # of z for each test example
FINE = 200  # points of the analytic curve

Watch = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Predicted:
    """Where the best linear model ends at one β, in nats per example."""

    beta: float
    rate: float
    distortion: float
    active_units: int


@dataclass(frozen=True)
class Place:
    """Where one β ends, in nats per example; `predicted` by the linear theory, where it applies."""

    beta: float
    run: str
    rate: Number
    distortion: Number
    elbo: Number
    active_units: int
    predicted: Predicted | None


@dataclass(frozen=True)
class Theory:
    """The rate–distortion curve of the best linear model, in the same nats, and what it is drawn for."""

    points: tuple[Predicted, ...]
    about: str


@dataclass(frozen=True)
class Curve:
    """What `curve` found. theory: None where the linear model has no such curve; `note` says why."""

    data: str
    folder: str
    split: str
    examples: int
    latent: int
    places: tuple[Place, ...]
    theory: Theory | None
    note: str | None
    unit: str = "nats per example"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def __str__(self) -> str:
        head = f"{'beta':>7}  {'rate':>16}  {'distortion':>18}  {'−ELBO':>18}  active units"
        lines = [head]
        for place in self.places:
            told = "" if place.predicted is None else f", {place.predicted.active_units} by linear theory"
            lines.append(
                f"{place.beta:>7g}  {_told(place.rate):>16}  {_told(place.distortion):>18}  "
                f"{_told(place.elbo, -1):>18}  {place.active_units} of {self.latent}{told}"
            )
        about = self.note if self.theory is None else self.theory.about
        return "\n".join([*lines, f"theory      {about}"])


def _told(number: Number, sign: int = 1) -> str:
    error = "" if number.standard_error is None else f" ± {number.standard_error:.2f}"
    return f"{sign * number.value:.2f}{error}".replace("-", "−")


def curve(
    data: object,
    *,
    betas: Sequence[float] = BETAS,
    output: str | Path | None = None,
    measured: str = "test",
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "cpu",
    watch: Watch = nothing,
    **options: Any,
) -> Curve:
    """Fit a model at each β and measure rate and distortion, with errors; kept as curve.json.

    betas: Weights of the rate, above 0. output: Where the runs go, one folder `beta-…` for each; runs that stand
        there are taken up where they ended. measured: The name of the split that is measured.
    options: Any other keyword of `vael.fit`, such as how the data are to be split, but the objective.

    Raises RecipeError for a β that is not above 0, not finite or comes twice, or when a folder holds a run of another
    recipe; DataError when it holds one of other data.
    """
    # Each one for itself: min() of a list that holds nan is whichever stands first.
    if not betas or not all(0 < beta < math.inf for beta in betas) or len(set(betas)) < len(betas):
        told = ", ".join(f"{beta:g}" for beta in betas)
        raise RecipeError(f"curve: betas must be above 0, finite and each be given once, got {told or 'none'}.")
    if "objective" in options or any(key.startswith("objective.") for key in settings or {}):
        raise RecipeError("curve: the objective is beta, with each of the betas; leave out another one.")
    folder = folder_for(data, "curve", output)
    members = {
        folder / f"beta-{beta:g}": {"settings": {**(settings or {}), "objective.beta": beta}} for beta in sorted(betas)
    }
    runs = fit_several(
        data, members, who="this curve", objective="beta", seed=seed, device=device, watch=watch, **options
    )
    seen = runs[0].data.split(measured)
    linear, note = linear_of(runs[0], seen)
    places = [_place(run, beta, measured, linear) for run, beta in zip(runs, sorted(betas), strict=True)]
    theory = None if linear is None else linear.curve(min(betas) / 2, 2 * max(betas))
    first = runs[0]
    found = Curve(first.data.name, str(folder), measured, len(seen), first.model.latent, tuple(places), theory, note)
    save_json(folder / "curve.json", found.to_json())
    return found


def _place(run: Run, beta: float, split: str, linear: "Linear | None") -> Place:
    seen = run.data.split(split).settled(seed=0).to(run.model.device)
    found = bounds(run.model, seen, draws=DRAWS)
    means, _ = latents(run.model, seen)
    return Place(
        beta,
        str(run.folder),
        Number.of(found.rate, DRAWS),
        Number.of(found.distortion, DRAWS),
        Number.of(found.elbo, DRAWS),
        active_units(means),
        None if linear is None else linear.at(beta),
    )


# ── the analytic curve ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Linear:
    """The best linear model for the training rows, in the measured split's nats.

    values: λ of the training rows' covariance. noise: σ², None where it is learned. shift: Nats to add to a distortion
    of x to make it one of the user's own values: less the log-Jacobian, and on a grid less log of the cells' widths, as
    the mass of a cell is its width times the density.
    """

    values: torch.Tensor
    noise: float | None
    shift: float
    latent: int
    words: str

    def at(self, beta: float) -> Predicted | None:
        """Its place at one β; None where the rate is so light that the best learned σ is 0."""
        try:
            point = tradeoff(self.values, self.noise, beta=beta, latent=self.latent)
        except RecipeError:
            return None
        return Predicted(beta, point.rate, point.distortion + self.shift, point.active)

    def curve(self, low: float, high: float) -> Theory:
        """Its places from one β to another."""
        points = [self.at(float(beta)) for beta in np.geomspace(low, high, FINE)]
        return Theory(
            tuple(point for point in points if point is not None),
            f"best linear model of {self.latent} latents for the covariance of the training rows, {self.words}",
        )


def linear_of(run: Run, split: Split) -> tuple[Linear | None, str | None]:
    """The linear model of a run's training rows, or why there is none."""
    likelihood, training = run.model.likelihood, run.data.split("train").resident()
    if not isinstance(likelihood, Gaussian):
        return None, f"no linear curve: the likelihood is {run.recipe['likelihood']['kind']}, not gaussian"
    if training.observed is not None:
        return None, "no linear curve: values are missing, so the rows have no covariance"
    steps = torch.as_tensor(likelihood.step, dtype=torch.float64).expand(likelihood.dims)
    shift = -float(split.log_jacobian.mean()) - float(steps[steps > 0].log().sum())
    if isinstance(likelihood.scale, str):
        own = "" if likelihood.scale in ("shared", "optimal") else f" (the runs' own is {likelihood.scale})"
        noise, words = None, f"one σ learned at each β{own}"
    else:
        noise, words = float(likelihood.scale) ** 2, f"σ fixed at {likelihood.scale:g}"
    return Linear(eigenvalues(seen_rows(training)), noise, shift, run.model.latent, words), None
