"""Recipe, run folder, and the calls that make and open them."""

from vael.runs.compare import Comparison, compare
from vael.runs.fit import Plan, fit, resume
from vael.runs.folder import RunFolder, latest_folder, next_folder
from vael.runs.recipe import build_model, describe_model
from vael.runs.refit import refit
from vael.runs.run import Run, load
from vael.runs.several import fit_seeds

__all__ = [
    "Comparison",
    "Plan",
    "Run",
    "RunFolder",
    "build_model",
    "compare",
    "describe_model",
    "fit",
    "fit_seeds",
    "latest_folder",
    "load",
    "next_folder",
    "refit",
    "resume",
]
