"""Fitting: order, schedules, the step, the loop, checkpoints."""

from vael.training.checkpoint import Progress, load_checkpoint, restore, snapshot
from vael.training.engine import Bound, Engine, check_gradient
from vael.training.settings import Training
from vael.training.together import Together
from vael.training.train import Keeper, Outcome, train

__all__ = [
    "Bound",
    "Engine",
    "Keeper",
    "Outcome",
    "Progress",
    "Together",
    "Training",
    "check_gradient",
    "load_checkpoint",
    "restore",
    "snapshot",
    "train",
]
