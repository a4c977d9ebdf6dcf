"""How a model is trained: the [training] table of a recipe."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

from vael.errors import RecipeError
from vael.names import closest
from vael.training.schedules import Schedule


@dataclass(frozen=True)
class Training:
    """Training by AdamW on shuffled batches, with the best weights chosen by the validation bound.

    by: "gradient", or "em" for a classical model: then a step is one of expectation–maximisation over all examples,
        and what is said of batches, rates and warm-ups has no part in it.
    steps: Updates in all. batch: Examples in each; fewer when there are fewer.
    learning_rate: At the start. schedule: "cosine", down to a hundredth of it, "constant", or "stages", each three
        times as long as the one before at a lower rate. stages: How many of them.
    weight_decay, epsilon: Of AdamW. clip: Largest norm of the gradient, in nats per example; 0 for none.
    warm_up: Steps over which the rate's weight rises from 0 to its full value; 0 for none.
    cycles: How often the warm-up is gone through, at even distances; 1 for once (Fu et al. 2019, arXiv 1903.10145).
    evaluate_every: Steps between two looks at the validation split, each followed by a checkpoint.
    patience: Evaluations without a better validation bound after which training stops, those during a warm-up not
        counted; 0 to go on to the end.
    compile: Whether torch's compiler fuses the step: some 15 s of compiling, then a faster step.
    precision: Of the matrix products in a training step: "float32", or "bf16", half the digits and up to twice the
        speed where the processor has them. Weights, sums and every evaluation stay in float32.
    on_nan: "rewind" to the last checkpoint with half the learning rate, at most five times, or "stop".
    """

    steps: int
    by: Literal["gradient", "em"] = "gradient"
    batch: int = 128
    learning_rate: float = 1e-3
    schedule: Schedule = "cosine"
    stages: int = 1
    weight_decay: float = 0.0
    epsilon: float = 1e-8
    clip: float = 1000.0
    warm_up: int = 0
    cycles: int = 1
    evaluate_every: int = 500
    patience: int = 0
    compile: bool = False
    precision: Literal["float32", "bf16"] = "float32"
    on_nan: Literal["rewind", "stop"] = "rewind"

    def __post_init__(self) -> None:
        least = {"steps": 1, "batch": 1, "evaluate_every": 1, "weight_decay": 0, "clip": 0, "warm_up": 0, "patience": 0}
        least |= {"cycles": 1, "stages": 1, "epsilon": 0}
        for name, low in least.items():
            if name not in ("weight_decay", "clip", "epsilon") and not isinstance(getattr(self, name), int):
                raise RecipeError(f"Training: {name} must be a whole number, got {getattr(self, name)!r}.")
            if not getattr(self, name) >= low:
                raise RecipeError(f"Training: {name} must be at least {low}, got {getattr(self, name)}.")
        if not 0 < self.learning_rate < float("inf"):
            raise RecipeError(f"Training: learning_rate must be above 0, got {self.learning_rate}.")
        for name, allowed in {
            "schedule": ("cosine", "constant", "stages"),
            "on_nan": ("rewind", "stop"),
            "by": ("gradient", "em"),
            "precision": ("float32", "bf16"),
            "compile": (True, False),
        }.items():
            if getattr(self, name) not in allowed:
                raise RecipeError(
                    f"Training: {name} must be one of {', '.join(map(str, allowed))}, got {getattr(self, name)!r}."
                )

        if self.cycles > 1 and not 0 < self.warm_up < self.cycle:
            raise RecipeError(
                f"Training: {self.cycles} cycles of {self.steps} steps are {self.cycle} steps long, and each needs a "
                f"warm_up shorter than that, got {self.warm_up}."
            )

    @property
    def cycle(self) -> int:
        """Steps from the beginning of one warm-up to that of the next; 0 where there is no next."""
        return -(-self.steps // self.cycles) if self.cycles > 1 else 0

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Self:
        """The settings of a recipe's [training] table. Raises RecipeError for a key that does not exist."""
        known = [spec.name for spec in fields(cls)]
        for key in table:
            if key not in known:
                raise RecipeError(
                    f"[training]: unknown key {key!r}. Training takes: {', '.join(known)}.{closest(key, known)}"
                )
        return cls(**table)
