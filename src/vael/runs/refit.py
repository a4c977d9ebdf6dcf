"""A run with another prior, fitted to the codes of a finished one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vael import applications
from vael.data import Split
from vael.errors import RecipeError
from vael.files import read_bytes, sha256
from vael.names import closest
from vael.numbers import Number
from vael.priors import Prior
from vael.runs.folder import RunFolder, next_folder
from vael.runs.recipe import build, describe
from vael.runs.run import Run
from vael.runs.shared import writing
from vael.training import ALONE

KINDS = ("gaussian", "mixture", "flow", "autoregressive", "exemplar")
MOST_EXEMPLARS = 2000


def refit(
    run: Run, prior: str | Prior = "mixture", *, output: str | Path | None = None,
    settings: Mapping[str, Any] | None = None, steps: int = 2000, batch: int = 256, learning_rate: float = 3e-3,
    seed: int = 0,
) -> Run:  # fmt: skip
    """A new run, whose p(z) is fitted to the codes of `run`; everything else is the same: see `refit_prior`.

    prior: gaussian, mixture, flow, autoregressive or exemplar, or a prior itself. settings: Arguments of that kind,
    such as {"components": 30}. output: The new run folder; `runs/<run>-1`, … when left out. steps, batch,
    learning_rate: Of Adam. seed: Of the fit.

    Its recipe has a table [refit] that names the run it came from, and its history one line, of log p(z) of codes
    before and after. Raises RecipeError for what cannot be fitted so, DataError where the run's data are not at hand.
    """
    train, other = run.data.split("train"), run.data.splits["validation"]
    made = prior if isinstance(prior, Prior) else prior_of(prior, run.model.latent, len(train), settings or {}, seed)
    folder = RunFolder(next_folder(run.folder.path.name) if output is None else output)
    how = {"steps": steps, "batch": batch, "learning_rate": learning_rate, "seed": seed}
    model = applications.refit_prior(
        run.model, train, made, validation=other if len(other) else None, steps=steps, batch=batch,
        learning_rate=learning_rate, seed=seed,
    )  # fmt: skip
    came = {"run": str(run.folder), "weights": sha256(read_bytes(run.folder.model)), **how}
    recipe = {**run.recipe, "prior": describe(model.prior, "prior"), "refit": came}
    with writing(folder, ALONE):
        folder.begin(recipe, run.schema)
        judged = other if len(other) else train
        folder.keep_line({"refit": recipe["prior"]["kind"], **gained(run, model, judged)})
        folder.keep_best(model.state_dict())
        folder.write_manifest("finished", seed=recipe["seed"])
    return Run(folder, model, run.schema, recipe, run.data)


def prior_of(kind: str, latent: int, rows: int, settings: Mapping[str, Any], seed: int) -> Prior:
    """A fresh prior of a kind over `latent` numbers. Raises RecipeError for a kind that is not fitted to codes."""
    if kind not in KINDS:
        raise RecipeError(f"refit: prior must be one of {', '.join(KINDS)}, got {kind!r}.{closest(kind, KINDS)}")
    table = {"kind": kind, "latent": latent, **settings}
    if kind == "exemplar":
        table.setdefault("examples", min(rows, MOST_EXEMPLARS))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made: Prior = build(table, "prior")
    return made


def gained(run: Run, model: Any, split: Split) -> dict[str, Any]:
    """Mean log p(z) of a split's codes, nats, by the old prior and by the new one."""
    split = split.settled(seed=0)
    found = {
        name: Number.of(applications.log_prob_of_codes(one, split).double().cpu())
        for name, one in (("before", run.model), ("after", model))
    }
    return {f"log_pz_{name}": number.value for name, number in found.items()}
