"""Fitting: order, schedules, the step, the loop, checkpoints."""

from vael.training.checkpoint import Progress, load_checkpoint, restore, snapshot
from vael.training.engine import Bound, Engine, check_gradient, check_value
from vael.training.ranks import ALONE, Nowhere, Ranks, check_dealt, is_first, joined, launched, own_device, restarted
from vael.training.settings import Training
from vael.training.together import Together
from vael.training.train import Keeper, Member, Outcome, train, train_together

__all__ = [
    "ALONE",
    "Bound",
    "Engine",
    "Keeper",
    "Member",
    "Nowhere",
    "Outcome",
    "Progress",
    "Ranks",
    "Together",
    "Training",
    "check_dealt",
    "check_gradient",
    "check_value",
    "is_first",
    "joined",
    "launched",
    "load_checkpoint",
    "own_device",
    "restarted",
    "restore",
    "snapshot",
    "train",
    "train_together",
]
