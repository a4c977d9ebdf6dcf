"""Variational autoencoders whose numbers are true: fit, log p(x) with an error bar, generate, encode."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from vael.version import __version__

if TYPE_CHECKING:
    from vael.approximation import Approximation, approximate
    from vael.data import Batch, Schema
    from vael.errors import (
        DamagedFile,
        DataError,
        Interrupted,
        RecipeError,
        ShapeError,
        TrainingError,
        VaelError,
        WriteError,
    )
    from vael.evaluation import Evaluation, evaluate
    from vael.models import VAE, Terms
    from vael.noise import Noise
    from vael.objectives import ELBO, IWAE, STL, VIMCO, Beta, Capacity, DReG, FreeBits, Score
    from vael.runs.compare import compare
    from vael.runs.fit import fit, resume
    from vael.runs.run import Run, load
    from vael.runs.several import fit_seeds
    from vael.training import Training
else:
    # Found when they are first asked for, so that `vael --help` answers without waiting a second or two for torch.
    HOMES = {
        "approximation": ["Approximation", "approximate"],
        "data": ["Batch", "Schema"],
        "errors": [
            "DamagedFile",
            "DataError",
            "Interrupted",
            "RecipeError",
            "ShapeError",
            "TrainingError",
            "VaelError",
            "WriteError",
        ],
        "evaluation": ["Evaluation", "evaluate"],
        "models": ["VAE", "Terms"],
        "noise": ["Noise"],
        "objectives": ["ELBO", "IWAE", "STL", "VIMCO", "Beta", "Capacity", "DReG", "FreeBits", "Score"],
        "runs": ["Run", "compare", "fit", "fit_seeds", "load", "resume"],
        "training": ["Training"],
    }

    def __getattr__(name: str) -> object:
        """A word of the vocabulary from its room, or a room itself."""
        for room, words in HOMES.items():
            if name in words:
                globals()[name] = getattr(import_module(f"vael.{room}"), name)
                return globals()[name]
        if not name.startswith("_") and find_spec(f"vael.{name}"):
            return import_module(f"vael.{name}")
        raise AttributeError(f"module 'vael' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return __all__


__all__ = [
    "ELBO",
    "IWAE",
    "STL",
    "VAE",
    "VIMCO",
    "Approximation",
    "Batch",
    "Beta",
    "Capacity",
    "DReG",
    "DamagedFile",
    "DataError",
    "Evaluation",
    "FreeBits",
    "Interrupted",
    "Noise",
    "RecipeError",
    "Run",
    "Schema",
    "Score",
    "ShapeError",
    "Terms",
    "Training",
    "TrainingError",
    "VaelError",
    "WriteError",
    "__version__",
    "approximate",
    "compare",
    "evaluate",
    "fit",
    "fit_seeds",
    "load",
    "resume",
]
