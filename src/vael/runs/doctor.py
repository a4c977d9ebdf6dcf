"""vael doctor: what is wrong with a run, and what to do about it."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from vael.data import Schema, Split
from vael.defaults import default_of, likelihood_kinds
from vael.diagnostics import Case, Diagnosis, diagnose, examine
from vael.diagnostics.symptoms import JUMPS
from vael.errors import RecipeError
from vael.evaluation import bounds, chosen_estimator
from vael.models import VAE
from vael.priors import ConditionalPrior

if TYPE_CHECKING:
    from vael.runs.run import Run

Scored = tuple[Tensor, Tensor, Tensor | None]
DISCRETE = ("bernoulli", "categorical")  # kinds of prior and posterior


def doctor(
    run: "Run", data: object | None = None, *, split: str | None = None, draws: int = 200, examples: int = 200,
    seed: int = 0,
) -> Diagnosis:  # fmt: skip
    """The diagnosis of a run on a split of its data, or on other `data`.

    draws, examples: Of the importance sampling behind log p(x), on each split; draws count where it is not exact.
    Raises RecipeError for less than one example.
    """
    if examples < 1:
        raise RecipeError(f"doctor: examples must be at least 1, for log p(x) to be estimated on, got {examples}.")
    seen = run.split_of(data, split)
    case = case_of(run.recipe, run.history, run.schema)
    if not run.model.posterior.has_density:
        raise RecipeError(f"doctor: {run.folder}: {run.model.lacking}, and most of what is looked at is a rate.")
    if run.model.given and any(isinstance(part, ConditionalPrior) for part in run.model.prior.modules()):
        raise RecipeError(
            f"doctor: {run.folder}: its prior is p(z|given), and what is looked at sets q̄(z) beside one p(z).\n"
            f"  Use vael evaluate and vael report, or fit with --prior gaussian."
        )
    score = scoring(run.model, draws, seed) if run.model.lacking is None else None
    training = seen if data is not None or split == "train" else run.data.split("train").resident()
    found = examine(run.model, seen, training, case, score=score, draws=draws, scored=examples, seed=seed)
    return diagnose(found, case, split=(split or "test") if data is None else "given data")


def scoring(model: VAE, draws: int, seed: int) -> Callable[[Split], Scored]:
    """A split → (ELBO, log p(x), effective sample size) of each example, nats.

    log p(x) is exact where it can be, and has no effective sample size there; else by importance sampling.
    """
    estimate = chosen_estimator(model, "auto", draws)

    def score(split: Split) -> Scored:
        part = split.settled(seed=0).to(model.device)
        found = estimate(model, part, seed=seed)
        return bounds(model, part, draws=16, seed=seed).elbo, found.value, found.effective_sample_size

    return score


def case_of(recipe: Mapping[str, Any], history: Sequence[Mapping[str, Any]], schema: Schema | None = None) -> Case:
    """What the doctor asks of a recipe and its history."""
    return Case(
        objective=recipe["objective"],
        posterior=recipe["posterior"],
        training=recipe["training"],
        history=history,
        again=fit_command(recipe, schema),
    )


def fit_command(recipe: Mapping[str, Any], schema: Schema | None = None) -> str:
    """The command that fits the same data with the same laws; "vael fit DATA …" where they were in memory.

    schema: By which the default likelihood is known; any one law of all fields is named when left out.
    """
    about = recipe["data"]
    words = ["vael", "fit", str(about.get("source", "DATA"))]
    for name, kind in about.get("kinds", {}).items():
        words += ["--column", f"{name}={kind}"]
    named = {"ignore": "ignore", "label": "label", "given": "given", "part": "given-part", "missing": "missing"}
    for told, option in named.items():
        words += [word for value in about.get(told, []) for word in (f"--{option}", str(value))]
    words += ["--labels", str(about["labels"])] if "labels" in about else []
    for name, value in about.get("split", {}).items():
        words += ["--split", str(value) if name == "column" else f"{name}={value}"]
    latent, levels = recipe["prior"].get("latent"), recipe["prior"].get("levels", [])
    if [level.get("kind") for level in levels] == ["categorical", "gaussian"]:  # as --learn-label builds it
        words, latent = [*words, "--learn-label"], levels[1].get("latent")
    return shlex.join([*words, *(["--latent", str(latent)] if latent else []), *laws(recipe, schema)])


def laws(recipe: Mapping[str, Any], schema: Schema | None) -> list[str]:
    """--prior, --posterior, --likelihood and --objective, where the defaults would be others or would be refused."""
    words, settings = [], []
    for room in ("prior", "posterior"):
        table = recipe.get(room, {})
        if table.get("kind", "gaussian") not in ("gaussian", "foreign", "chain"):
            words += [f"--{room}", table["kind"]]
            if table["kind"] in DISCRETE:  # it decides how draws are made, and so which objective goes with them
                own = {key: value for key, value in table.items() if key not in ("kind", "latent", "network")}
                settings += [f"{room}.{key}={json.dumps(value)}" for key, value in own.items()]
    likelihood = recipe.get("likelihood", {}).get("kind")
    if likelihood in likelihood_kinds() and not is_default(likelihood, schema):
        words += ["--likelihood", likelihood]
    objective = recipe.get("objective", {})
    if objective.get("kind") in JUMPS:
        words += ["--objective", objective["kind"]]
    return words + [word for setting in settings for word in ("--set", setting)]


def is_default(likelihood: str, schema: Schema | None) -> bool:
    """Whether a kind is the law of every modelled field about which nothing is said."""
    member = likelihood_kinds()[likelihood]
    return schema is not None and all(default_of(field) is member for field in schema.modelled)
