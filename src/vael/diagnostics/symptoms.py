"""Everything the doctor looks at, measured once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vael.data.dataset import Split
from vael.diagnostics.calibration import SIMULATED, Calibration, calibration, tied
from vael.diagnostics.course import Course, course
from vael.diagnostics.decoder_use import DecoderUse, decoder_use
from vael.diagnostics.draws import at_rest, posteriors, some
from vael.diagnostics.information import Information, information
from vael.diagnostics.moments import marginal_gap
from vael.diagnostics.noise import DecoderNoise, decoder_noise
from vael.diagnostics.overfitting import Overfitting, overfitting
from vael.diagnostics.units import active_units, posterior_mean
from vael.models.vae import VAE

MOST = 20_000  # examples looked at
JUMPS = ("score", "vimco")  # objectives that learn from exact draws of states, under which most others are refused
Scored = tuple[Tensor, Tensor, Tensor | None]


@dataclass(frozen=True)
class Case:
    """What is known of a fit beside its model: the recipe's tables, the history, and how to fit again.

    again: The command that fits the same data, such as "vael fit digits", to which changes are added.
    """

    objective: Mapping[str, Any] = field(default_factory=lambda: {"kind": "elbo"})
    posterior: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=lambda: {"steps": 0})
    history: Sequence[Mapping[str, Any]] = ()
    again: str = "vael fit DATA"

    @property
    def jumps(self) -> bool:
        """Whether the objective is one for exact draws of states, so that another one would be refused."""
        return self.objective.get("kind") in JUMPS

    def longer(self) -> str:
        """The command with three times the steps."""
        return f"{self.again} --steps {3 * max(1, int(self.training['steps']))}"

    @property
    def beta(self) -> float:
        """The weight of the rate: β of the objective, 1 where it has none."""
        value = self.objective.get("beta", 1.0)
        return float(value) if isinstance(value, int | float) else 1.0


@dataclass(frozen=True)
class Symptoms:
    """The measurements of a model on a split; None for what could not be measured, with the reason in `unknown`.

    effective: Median effective sample size of the importance weights behind log p(x), and how many draws those were.
    """

    examples: int
    latent: int
    active: int
    use: DecoderUse
    information: Information
    marginal: float | None
    noise: DecoderNoise | None
    fit: Overfitting | None
    effective: tuple[float, int] | None
    calibration: Calibration | None
    course: Course
    unknown: tuple[str, ...]


def examine(
    model: VAE,
    split: Split,
    training: Split,
    case: Case,
    *,
    score: Callable[[Split], Scored] | None = None,
    draws: int = 0,
    scored: int = 200,
    seed: int = 0,
) -> Symptoms:
    """Measure everything the doctor looks at, on `split` and on the rows the model was trained on.

    score: A split → (ELBO, log p(x), effective sample size or None) of each example; None where x has no density.
    draws: How many importance draws it takes. scored: Examples of each split it is asked about.
    Raises RecipeError for fewer than two examples.
    """
    device = model.device
    seen = some(split.settled(seed=0).to(device), MOST, seed)
    with at_rest(model):
        means = torch.cat([posterior_mean(q) for _, q in posteriors(model, seen)])
    unknown: list[str] = []
    fit = effective = ranks = None
    if score is None:
        unknown.append("over-fitting and the inference gap: x has no density, so there is no log p(x)")
    else:
        elbo, log_px, sizes = score(some(split, scored, seed))
        effective = None if sizes is None else (float(sizes.median()), draws)
        if training is not split:
            its_elbo, its_log_px, _ = score(some(training, scored, seed))
            fit = overfitting((its_elbo, its_log_px), (elbo, log_px))
    tie = "a part of x is given and no sample" if split.part is not None else tied(model.prior(split.told(1)))
    if tie is not None:
        unknown.append(f"calibration: {tie}")
    else:
        ranks = calibration(model, seed=seed, given=split.told(SIMULATED))
    noise = decoder_noise(model, split, training, seed=seed)
    if noise is None:
        unknown.append("the linear theory λ > βσ²: it needs a Gaussian likelihood with one σ and no missing values")
    return Symptoms(
        examples=len(seen),
        latent=model.latent,
        active=active_units(means),
        use=decoder_use(model, split, seed=seed),
        information=information(model, seen, seed=seed),
        marginal=marginal_gap(model, seen, seed=seed),
        noise=noise,
        fit=fit,
        effective=effective,
        calibration=ranks,
        course=course(case.history, case.training),
        unknown=tuple(unknown),
    )
