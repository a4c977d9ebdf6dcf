"""`--likelihood auto`: each kind of field under each law that could be its own, compared by held-out bound.

All laws of a kind score a column by one measure, masses on its grid or densities off it, so their bounds compare.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from vael import defaults
from vael.data import Binarization, Frame, Schema, prepare
from vael.errors import RecipeError
from vael.evaluation import bounds
from vael.names import kind_of
from vael.objectives import ELBO
from vael.training import Engine, Training

STEPS = 1500  # updates of a trial; its best of LOOKS looks at the validation rows counts
LOOKS = 5
Watch = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Trials:
    """What a model with some choice of laws is tried on, always the same way.

    frame, schema: The data, the views not yet chosen. latent: Size of z. fractions, seed: How rows are split.
    """

    frame: Frame
    schema: Schema
    latent: int
    fractions: Mapping[str, float]
    seed: int
    binarize: Binarization | None = None

    def bound(self, chosen: defaults.Chosen) -> Tensor:
        """The ELBO of every validation row after a short fit, in nats of the user's own units, `(N,)`."""
        schema = defaults.with_views(self.schema, chosen, self.binarize)
        data = prepare(self.frame, schema, fractions=self.fractions, seed=self.seed)
        if not len(data.splits["validation"]):
            raise RecipeError(
                f"likelihood auto: {data.name} has no validation rows to compare laws on, of {len(self.frame)}.\n"
                f"  Leave --likelihood out, or name one."
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model = defaults.model(data.schema, chosen, latent=self.latent)
        # From the marginal: the linear start is exact for a Gaussian, and in a short fit would speak for it.
        defaults.start(model, data.split("train"), linear=False)
        settings = Training(STEPS, batch=min(128, len(data.split("train"))))
        engine = Engine(model, ELBO(), data.split("train"), settings, seed=self.seed)
        validation, best = data.split("validation").settled(seed=0), None
        for _ in range(LOOKS):
            for _ in range(STEPS // LOOKS):
                engine.advance()
            found = bounds(model, validation).elbo
            best = found if best is None or mean_of(found) > mean_of(best) else best
        assert best is not None
        return best


def mean_of(bound: Tensor) -> float:
    """The mean of a bound `(N,)`; −∞ where a trial has diverged, so that any other is better."""
    mean = float(bound.mean())
    return mean if math.isfinite(mean) else -math.inf


def choose(trials: Trials, watch: Watch) -> defaults.Chosen:
    """The law of each modelled field: kind by kind, the candidate with the highest mean bound, the others kept.

    Raises RecipeError when there are no validation rows.
    """
    fields = sorted(trials.schema.modelled, key=lambda field: (field.kind, field.spike is not None))
    groups = [list(group) for _, group in groupby(fields, key=lambda field: (field.kind, field.spike is not None))]
    chosen = defaults.choose(trials.schema)
    kept: Tensor | None = None
    for group in groups:
        names = [field.name for field in group]
        # A law has to fit every field of the kind: a fraction that touches 0 rules out the beta for its neighbours too.
        laws = [law for law in defaults.candidates(group[0]) if all(law in defaults.candidates(f) for f in group)]
        for law in laws:
            if all(chosen[name] is law for name in names):
                continue
            kept = trials.bound(chosen) if kept is None else kept
            trial = {**chosen, **dict.fromkeys(names, law)}
            found = trials.bound(trial)
            gain = found - kept
            error = float(gain.std() / len(gain) ** 0.5) if len(gain) > 1 else 0.0
            watch(
                {
                    "event": "trial",
                    "fields": names,
                    "kind": group[0].kind,
                    "law": kind_of(law),
                    "against": " and ".join(dict.fromkeys(kind_of(chosen[name]) for name in names)),
                    "gain": float(gain.mean()),
                    "error": error,
                }
            )
            if mean_of(found) > mean_of(kept):
                chosen, kept = trial, found
    return chosen
