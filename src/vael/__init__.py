"""Variational autoencoders whose numbers are true: fit, log p(x) with an error bar, generate, encode."""

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
from vael.objectives import ELBO, IWAE, Beta
from vael.runs import Run, compare, fit, load, resume
from vael.training import Training
from vael.version import __version__

__all__ = [
    "ELBO",
    "IWAE",
    "VAE",
    "Batch",
    "Beta",
    "DamagedFile",
    "DataError",
    "Evaluation",
    "Interrupted",
    "Noise",
    "RecipeError",
    "Run",
    "Schema",
    "ShapeError",
    "Terms",
    "Training",
    "TrainingError",
    "VaelError",
    "WriteError",
    "__version__",
    "compare",
    "evaluate",
    "fit",
    "load",
    "resume",
]
