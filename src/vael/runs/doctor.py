"""vael doctor: what is wrong with a run, and what to do about it."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from vael.data import Split
from vael.diagnostics import Case, Diagnosis, diagnose, examine
from vael.evaluation import bounds
from vael.evidence import Importance
from vael.models import VAE

if TYPE_CHECKING:
    from vael.runs.run import Run

Scored = tuple[Tensor, Tensor, Tensor | None]


def doctor(
    run: "Run", data: object | None = None, *, split: str | None = None, draws: int = 200, examples: int = 200,
    seed: int = 0,
) -> Diagnosis:  # fmt: skip
    """The diagnosis of a run on a split of its data, or on other `data`.

    draws, examples: Of the importance sampling behind log p(x), on each split.
    """
    seen = run.split_of(data, split)
    case = case_of(run.recipe, run.history)
    score = scoring(run.model, draws, seed) if run.model.likelihood.has_density() else None
    training = seen if data is not None or split == "train" else run.data.split("train")
    found = examine(run.model, seen, training, case, score=score, draws=draws, scored=examples, seed=seed)
    return diagnose(found, case, split=(split or "test") if data is None else "given data")


def scoring(model: VAE, draws: int, seed: int) -> Callable[[Split], Scored]:
    """A split → (ELBO, log p(x) by importance sampling, effective sample size) of each example, nats."""

    def score(split: Split) -> Scored:
        part = split.settled(seed=0).to(model.device)
        found = Importance(draws=draws)(model, part, seed=seed)
        return bounds(model, part, draws=16, seed=seed).elbo, found.value, found.effective_sample_size

    return score


def case_of(recipe: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> Case:
    """What the doctor asks of a recipe and its history."""
    return Case(
        objective=recipe["objective"],
        posterior=recipe["posterior"],
        training=recipe["training"],
        history=history,
        again=fit_command(recipe),
    )


def fit_command(recipe: Mapping[str, Any]) -> str:
    """The command that fits the same data with as many latents; "vael fit DATA …" where they were in memory."""
    about = recipe["data"]
    words = ["vael", "fit", str(about.get("source", "DATA"))]
    for name, kind in about.get("kinds", {}).items():
        words += ["--column", f"{name}={kind}"]
    for option in ("ignore", "label", "missing"):
        words += [word for value in about.get(option, []) for word in (f"--{option}", str(value))]
    for name, value in about.get("split", {}).items():
        words += ["--split", str(value) if name == "column" else f"{name}={value}"]
    latent = recipe["prior"].get("latent")
    return shlex.join([*words, *(["--latent", str(latent)] if latent else [])])
