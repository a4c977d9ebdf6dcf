"""What a page is about: a fitted model, how it came about, and the examples it is shown on."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vael import applications, evaluation
from vael.data import Schema, Split, originals
from vael.data.given import with_part
from vael.files import Json
from vael.models import VAE

MOST_EXAMPLES = 10_000  # rows that figures are made from; the bound is measured on all
# Where no evaluation is kept, log p(x) may decode this many z, and features: seconds, and the same on every machine.
DRAWS, MOST_DECODED, MOST_FEATURES = 500, 2**18, 2**25

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Subject:
    """Everything the page says is found in here; nothing in it is changed.

    run: The run's folder, as commands name it. state: finished, or why not. made_with: Versions that fitted it.
    kept: The run's evaluation.json where it belongs to these weights and this split, else None.
    splits: The data by split; empty where they are not at hand, and `absent` says why and what to do.
    given: Whether the data are others than the run was fitted on, all in one split.
    quantity: The label's value in every row of the source, `(rows,)`, where the label is a number; else None.
    """

    run: str
    model: VAE
    schema: Schema
    recipe: Mapping[str, Any]
    history: list[Json]
    state: str
    made_with: str
    kept: Json | None
    splits: Mapping[str, Split]
    absent: str = ""
    given: bool = False
    quantity: Floats | None = None
    seed: int = 0

    @cached_property
    def split_name(self) -> str | None:
        """The split the page is about: test, else validation, else train; None where there are no data."""
        order = ("given data", "test", "validation", "train")
        return next((name for name in order if name in self.splits and len(self.splits[name])), None)

    @property
    def where(self) -> str:
        """The split in words."""
        return "the given data" if self.given else f"the {self.split_name} split"

    @cached_property
    def whole(self) -> Split | None:
        """All examples of the split the page is about."""
        return None if self.split_name is None else self.splits[self.split_name].resident()

    @cached_property
    def shown(self) -> Split | None:
        """The examples that figures are made from; a source's rows are shuffled among splits, so the first will do."""
        return None if self.whole is None else self.whole.rows(torch.arange(min(len(self.whole), MOST_EXAMPLES)))

    def samples(self, count: int, *, mean: bool = False) -> Tensor:
        """New examples in the model's units; of a conditional model given what the shown ones are, in turn."""
        told = None if self.shown is None else self.shown.told(count)
        x = applications.generate(self.model, count, seed=self.seed, mean=mean, given=told)
        return with_part(x, told, 0, self.schema)

    @cached_property
    def columns(self) -> dict[str, NDArray[np.generic]]:
        """The shown examples in the user's own values."""
        return {} if self.shown is None else originals(self.shown, self.schema)

    @cached_property
    def means(self) -> Tensor | None:
        """Posterior means of the shown examples, `(N, D)` float64."""
        if self.shown is None:
            return None
        return evaluation.latents(self.model, self.shown.settled(seed=0).to(self.model.device))[0]

    @cached_property
    def numbers(self) -> Json | None:
        """The kept evaluation, or one of a small fixed size; None where neither can be had."""
        if self.kept is not None or self.whole is None:
            return self.kept
        most = max(20, min(MOST_DECODED, MOST_FEATURES // self.model.likelihood.dims) // DRAWS)
        return evaluation.evaluate(
            self.model,
            self.whole,
            name=str(self.split_name),
            draws=DRAWS,
            max_examples=most,
            seed=self.seed,
            discrete=self.schema.discrete,
        ).to_json()
