"""One call: the bound, its two terms, log p(x) with its errors, and what the latents carry, over a split."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from vael.data.dataset import Split, positions
from vael.diagnostics.code_use import code_perplexity
from vael.diagnostics.gaps import DRAWS
from vael.diagnostics.gaps import gaps as find_gaps
from vael.diagnostics.units import active_units, posterior_mean, unit_rates
from vael.errors import RecipeError
from vael.evidence import Annealed, Estimate, Estimator, Exact, PriorSampling, closed_form, linear_gaussian, sandwich
from vael.evidence.annealed import Walker
from vael.evidence.chosen import estimator
from vael.evidence.exact import examples_at_once
from vael.models.vae import VAE
from vael.noise import Noise
from vael.numbers import Number
from vael.objectives.elbo import Objective
from vael.units import bits_per_dim

Method = str | Estimator  # a kind of vael.evidence, "auto", or an estimator itself

PILOT_EXAMPLES = 4
FEW = 10  # weights: an effective sample size below it makes log p(x) of an example a loose bound
Found = TypeVar("Found")
GAPS = ("inference", "approximation", "amortisation")
SIDES = {"lower": "a lower bound", "upper": "an upper bound", "estimate": "an estimate", "exact": "exact"}


@dataclass(frozen=True)
class Bounds:
    """The bound and its terms for each of N examples, in nats of the user's own units; all `(N,)` float64.

    elbo = −rate − distortion, with the log-Jacobian of every rescaling inside the distortion. Where q(z|x) has no
    density rate and elbo are NaN, and None among the means; then `objective` is what is maximised instead.
    """

    rate: Tensor
    distortion: Tensor
    objective: Tensor | None = None

    @property
    def elbo(self) -> Tensor:
        return -self.rate - self.distortion

    @property
    def means(self) -> dict[str, float | None]:
        """Mean elbo, rate and distortion over the examples, and the objective's where it was measured."""
        names = ["elbo", "rate", "distortion"] if self.objective is None else ["objective", "distortion"]
        found: dict[str, float | None] = {"elbo": None, "rate": None}
        return found | {name: float(getattr(self, name).mean()) for name in names}


def bounds(
    model: VAE, split: Split, *, draws: int = 1, seed: int = 0, noise: Noise | None = None,
    objective: Objective | None = None,
) -> Bounds:  # fmt: skip
    """The ELBO's terms of every example of a settled `split`, from `draws` draws that depend on (seed, row) alone.

    noise: What `fixed_noise` gave for the same split, where it is measured again and again.
    objective: Measured too where q(z|x) has no density, less what the model's parts cost, in batches of the split's
        order; the normals it may ask for are the same each time.
    """
    rates, distortions, values = [], [], []
    rated = model.posterior.has_density
    (eps,) = (noise or fixed_noise(model, split, draws=draws, seed=seed)).latents
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for rows in positions(split, examples_at_once(model)):
                # A label is not looked at: the bound is one of log p(x), whatever is known beside x.
                batch = dataclasses.replace(split.batch(rows.to(split.x.device)), label=None)
                spare = None
                if not rated and int(getattr(objective, "spare", 0)):
                    spare = model.noise(1, len(rows), seed=seed, step=int(rows[0]), spare=objective.spare).spare  # type: ignore[union-attr]
                terms = model.terms(batch, Noise((eps[:, rows],), spare))
                distortions.append(terms.distortion.to("cpu", torch.float64) - split.log_jacobian[rows])
                rates.append(terms.rate.to("cpu", torch.float64) if rated else distortions[-1] * math.nan)
                if not rated and objective is not None:
                    value = objective(terms)
                    for penalty in terms.penalties.values():
                        value = value - penalty
                    values.append(value.to("cpu", torch.float64) + split.log_jacobian[rows])
    finally:
        model.train(was_training)
    return Bounds(torch.cat(rates), torch.cat(distortions), torch.cat(values) if values else None)


def fixed_noise(model: VAE, split: Split, *, draws: int = 1, seed: int = 0) -> Noise:
    """Noise for all of a split, `(K, N, D)`: the same for every model of that latent size."""
    return model.noise_for(split.index.tolist(), range(draws), seed=seed)


@dataclass(frozen=True)
class Evidence:
    """Mean log p(x) over a split in nats, with every error it has; the fields are those of `evaluation.json`."""

    value: float
    standard_error: float | None
    monte_carlo_error: float | None
    method: str
    bound: str
    draws: int
    examples: int
    effective_sample_size: dict[str, float] | None


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found; `to_json` gives the documented keys."""

    split: str
    examples: int
    dims: int
    latent: int
    parameters: int
    seconds: float
    elbo: Number | None
    evidence: Evidence | None
    rate: Number | None
    distortion: Number
    bits_per_dim: float | None
    active_units: int
    rate_per_unit: list[float] | None
    code_perplexity: list[float] | None
    sandwich: dict[str, Any] | None
    gaps: dict[str, Number] | None
    warnings: list[str]
    reasons: dict[str, str]
    unit: str = "nats per example"

    def to_json(self) -> dict[str, Any]:
        """Plain values, in the documented order."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return "\n".join(f"{name:<14}{text}" for name, text in self.rows())

    def rows(self) -> list[tuple[str, str]]:
        """`(name, value with unit and error)` lines for people."""
        where = f"{self.split}, {self.examples} examples"
        rows = [("−ELBO", f"none: {self.reasons.get('elbo')}"), ("distortion", f"{self.distortion} nats ({where})")]
        if self.elbo is not None:
            rows = [
                ("−ELBO", f"{-self.elbo} nats per example ({where}, {self.elbo.draws} draw)"),
                ("  rate", f"{self.rate} nats"),
                ("  distortion", f"{self.distortion} nats"),
            ]
        if self.evidence is None:
            rows.append(("log p(x)", f"none: {self.reasons['evidence']}"))
        else:
            rows.append(("log p(x)", _evidence_text(self.evidence, self.examples)))
        if self.sandwich is not None:
            gap = Number(**self.sandwich["gap"])
            rows.append(("sandwich", f"gap {gap} nats on {self.sandwich['examples']} simulated examples"))
        if self.gaps is not None:
            parts = f"approximation {self.gaps['approximation']}"
            rows.append(("inference gap", f"{self.gaps['inference']} nats = {parts}"))
            rows.append(("", f"+ amortisation {self.gaps['amortisation']}"))
        rows += [(name, f"none: {self.reasons[name]}") for name in ("sandwich", "gaps") if name in self.reasons]
        if self.bits_per_dim is not None:
            rows.append(("bits/dim", f"{self.bits_per_dim:.4f} per observed feature of {self.dims} (from log p(x))"))
        rows.append(("active units", f"{self.active_units} of {self.latent}"))
        if self.code_perplexity is not None:
            rows.append(("codes in use", f"perplexity {', '.join(f'{used:.1f}' for used in self.code_perplexity)}"))
        return rows + [("warning", text) for text in self.warnings]


def _evidence_text(found: Evidence, examples: int) -> str:
    text = f"{Number(found.value, found.standard_error)} nats ({found.method}"
    some = f"{found.examples} examples" if found.examples == examples else f"{found.examples} of {examples} examples"
    error, size = found.monte_carlo_error, found.effective_sample_size
    if error == 0.0:
        return f"{text}, {some})"
    spread = "unknown" if error is None else f"{error:.3g}" if error < 1e-3 else f"{error:.3f}"
    if size is None:
        return f"{text}, {some}, numerical error {spread}; {SIDES[found.bound]})"
    return (
        f"{text}, {found.draws} draws, {some}, Monte Carlo error {spread},\n"
        f"{'':14}effective sample size {size['median']:.0f} median, {size['min']:.1f} least; {SIDES[found.bound]})"
    )


def evaluate(
    model: VAE,
    split: Split,
    *,
    name: str = "test",
    draws: int | None = None,
    method: Method = "auto",
    settings: Mapping[str, Any] | None = None,
    max_examples: int | None = None,
    budget: float = 60.0,
    sandwiched: int = 0,
    gaps: bool = False,
    seed: int = 0,
    discrete: bool = False,
) -> Evaluation:
    """Everything `vael evaluate` prints, over `split`.

    The bound is measured on every example with one draw. log p(x) is exact where a closed form is known; otherwise it
    is estimated by `method` on as many shuffled examples as `budget` seconds allow or `max_examples` says, and carried
    to the whole split by the bound as a paired control variate:

        mean over all (elbo) + mean over the subset (log p̂ − elbo).

    name: The split's name, for the report. draws: As many and no fewer, where the method takes draws; its own default
    when left out. method: A kind of `vael.evidence`, such as "annealed", or an estimator. settings: Its other
    arguments. sandwiched: Simulated examples on which annealing from below and from above brackets log p(x); 0 for
    none. gaps: Also split log p(x) − ELBO into what q's family and what the encoder lacks, on the same examples.
    discrete: Whether log p(x) is a log-probability, so bits/dim exist.
    Raises RecipeError on an unknown method, a budget that buys nothing, or a method that has no answer here.
    """
    if not budget > 0:
        raise RecipeError(f"evaluate: budget must be above 0 seconds, got {budget:g}.")
    if method != "auto" and model.lacking:
        raise RecipeError(f"evaluate: method {method!r} has no answer: {model.lacking}.")
    started, split = time.perf_counter(), split.settled(seed=0).to(model.device)
    how = chosen_estimator(model, method, draws, settings)
    found = bounds(model, split, seed=seed)
    means, units = latents(model, split)
    lacks = model.lacking
    reasons = {} if lacks is None else {"evidence": lacks}
    rated = model.posterior.has_density
    if lacks is not None and not rated:
        reasons |= {"elbo": lacks, "rate": lacks}
    evidence, bracket, parts = None, None, None
    notes: list[str] = []
    if lacks is None:
        if isinstance(how, PriorSampling):
            notes, how = how.forewarn(model, split), dataclasses.replace(how, forewarned=True)
        chosen = subset(model, split, how, max_examples, budget, seed)
        log_px = how(model, split.rows(chosen), seed=seed)
        evidence = to_whole(log_px, found.elbo, chosen)
        # What cannot be had beside log p(x) costs its own line, not log p(x).
        if gaps:
            parts = _or_reason(reasons, "gaps", lambda: find_gaps(model, split.rows(chosen), log_px.value, seed=seed))
        if sandwiched:
            walk = how if isinstance(how, Annealed) else Annealed()
            bracket = _or_reason(reasons, "sandwich", lambda: sandwich(model, walk, sandwiched, seed=seed))
    dims, active = model.likelihood.dims, active_units(means)
    seen = seen_dims(split, dims)
    if not discrete or not seen:
        reasons["bits_per_dim"] = (
            "nothing is observed" if not seen else "log p(x) is a density: the data are continuous"
        )
    if units is None:
        reasons["rate_per_unit"] = "posterior and prior have no closed-form rate for each unit"
    used = code_perplexity(model, split)
    if used is None:
        reasons["code_perplexity"] = "z is not made of codes"
    return Evaluation(
        split=name,
        examples=len(split),
        dims=dims,
        latent=model.latent,
        parameters=model.parameters_count,
        seconds=round(time.perf_counter() - started, 3),
        elbo=Number.of(found.elbo, draws=1) if rated else None,
        evidence=evidence,
        rate=Number.of(found.rate) if rated else None,
        distortion=Number.of(found.distortion),
        bits_per_dim=None if evidence is None or "bits_per_dim" in reasons else bits_per_dim(-evidence.value, seen),
        active_units=active,
        rate_per_unit=None if units is None else [round(rate, 6) for rate in units.tolist()],
        code_perplexity=used,
        sandwich=None if bracket is None else bracket.to_json(),
        gaps=None if parts is None else {name: Number.of(getattr(parts, name), DRAWS) for name in GAPS},
        warnings=[*notes, *_warnings(evidence, found, active, len(split))],
        reasons=reasons,
    )


def _or_reason(reasons: dict[str, str], name: str, find: Callable[[], Found]) -> Found | None:
    """What `find` finds; or None, and its refusal among the reasons."""
    try:
        return find()
    except RecipeError as error:
        reasons[name] = " ".join(str(error).split())
        return None


def seen_dims(split: Split, dims: int) -> float:
    """How many features of an example are observed on average: what log p(x) speaks of, and bits/dim divides by."""
    if split.part is not None:
        return float((split.part == 0).sum())
    return dims if split.observed is None else float(split.observed.sum() / len(split))


def latents(model: VAE, split: Split) -> tuple[Tensor, Tensor | None]:
    """Posterior means `(N, D)` and the mean rate of each unit `(D,)`, None where it has no closed form."""
    means, rates = [], []
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for batch in split.batches(examples_at_once(model)):
            q = model.posterior(batch.x, batch.given, batch.observed)
            means.append(posterior_mean(q).cpu())
            rates.append(unit_rates(q, model.prior(batch.given)))
    model.train(was_training)
    known = [rate.to("cpu", torch.float64) for rate in rates if rate is not None]
    return torch.cat(means), torch.cat(known).mean(0) if known else None


def subset(model: VAE, split: Split, how: Estimator, max_examples: int | None, budget: float, seed: int) -> Tensor:
    """Positions of the examples whose log p(x) is estimated: all, or a shuffled part that fits the budget."""
    n = len(split)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    if max_examples is not None:
        if max_examples < 1:
            raise RecipeError(f"evaluate: max_examples must be at least 1, got {max_examples}.")
        return order[:max_examples]
    if isinstance(how, Exact) and linear_gaussian(model) is not None:
        return order
    trial, times, few = how, 1.0, PILOT_EXAMPLES
    if isinstance(how, Walker):
        # A long walk of few chains is all overhead: a short one of many says more of what a full one costs.
        (trial, times), few = how.shortened(), 10 * PILOT_EXAMPLES
    pilot = split.rows(order[: min(n, few)])
    started = time.perf_counter()
    trial(model, pilot, seed=seed)
    each = times * (time.perf_counter() - started) / len(pilot)
    return order[: max(min(n, PILOT_EXAMPLES), min(n, int(budget / each)))]


def chosen_estimator(
    model: VAE, method: Method = "auto", draws: int | None = None, settings: Mapping[str, Any] | None = None
) -> Estimator:
    """The estimator that `method` names, with `draws` where it takes any; auto: exact where it can be, else importance.

    Raises RecipeError for an unknown method or setting, and where the model has no density.
    """
    if not isinstance(method, str):
        if settings or draws is not None:
            raise RecipeError(
                f"evaluate: {type(method).__name__} is an estimator with its own arguments; leave out draws and "
                f"settings."
            )
        return method
    if method == "auto":
        if closed_form(model) is not None:
            return Exact()
        method = "importance"
    return estimator(method, draws=draws, settings=settings or {})


def to_whole(found: Estimate, elbo: Tensor, chosen: Tensor) -> Evidence:
    """The mean log p(x) of a split, from the `found` of its `chosen` examples and the bound `elbo` of all of them."""
    size, m = found.effective_sample_size, len(chosen)
    mean = carried(elbo, found.value - elbo[chosen], chosen)
    return Evidence(
        value=mean.value,
        standard_error=mean.standard_error,
        monte_carlo_error=_or_none(float(found.monte_carlo_error.square().sum().sqrt() / m)),
        method=found.method,
        bound=found.bound,
        draws=found.draws,
        examples=m,
        effective_sample_size=None if size is None else {"median": float(size.median()), "min": float(size.min())},
    )


def carried(elbo: Tensor, gap: Tensor, chosen: Tensor) -> Number:
    """mean_N(elbo) + mean_m(gap), the m `chosen` examples being among the N, with its standard error."""
    error = _paired_error(elbo, gap, elbo[chosen]) if len(chosen) > 1 else None
    return Number(float(elbo.mean() + gap.mean()), error)


def _or_none(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _paired_error(elbo: Tensor, gap: Tensor, elbo_there: Tensor) -> float:
    """Standard error of mean_N(elbo) + mean_m(gap), the m examples being among the N.

    Var = Var(elbo)/N + Var(gap)/m + 2 Cov(elbo, gap)/N; for m = N it is Var(elbo + gap)/N.
    """
    n, m = len(elbo), len(gap)
    covariance = torch.cov(torch.stack([elbo_there, gap]))
    variance = elbo.var() / n + covariance[1, 1] / m + 2 * covariance[0, 1] / n
    return math.sqrt(max(float(variance), 0.0))


def _warnings(evidence: Evidence | None, found: Bounds, active: int, examples: int) -> list[str]:
    notes = []
    if active == 0 and examples > 1:
        notes.append("no latent unit is active: z carries nothing about x (posterior collapse)")
    if evidence and evidence.effective_sample_size and evidence.draws > 1:
        median = evidence.effective_sample_size["median"]
        if median < min(FEW, evidence.draws / 2):
            notes.append(
                f"half of the examples have an effective sample size below {median:.1f} of {evidence.draws} draws: "
                + ("log p(x) is a loose lower bound" if evidence.bound == "lower" else "the value is not to be trusted")
            )
    if not torch.isfinite(found.distortion if found.elbo.isnan().all() else found.elbo).all():
        notes.append(f"{int((~torch.isfinite(found.elbo)).sum())} examples have a bound that is not finite")
    return notes
