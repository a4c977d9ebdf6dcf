"""Everything that continuing bit for bit needs, as tensors and notes."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from vael.errors import DamagedFile
from vael.files import load_tensors
from vael.training.adam import MOMENTS
from vael.training.engine import Engine
from vael.training.shards import local


@dataclass
class Progress:
    """Where a run stands beyond its weights: what selection and early stopping remember.

    best: The highest validation bound so far, nats per example; None before the first evaluation.
    """

    best: float | None = None
    best_step: int = 0
    evaluations_since_best: int = 0
    rewinds: int = 0


def snapshot(engine: Engine, progress: Progress) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The run's state now, copied: weights, moments, monitors; and its counters. Asked of all ranks, alike on all."""
    engine.pool()
    tensors = {f"model.{name}": local(value).clone() for name, value in engine.model.state_dict().items()}
    tensors |= {name: value.detach().clone() for name, value in engine.critics()}
    for moment in MOMENTS:
        for name, value in zip(engine.names, getattr(engine.adam, moment), strict=True):
            tensors[f"optimizer.{moment}.{name}"] = value.clone()
    tensors["optimizer.count"] = engine.adam.count.clone()
    tensors["monitor"] = engine.bound.monitor.clone()
    counters = {"step": engine.step, "slowdown": engine.slowdown, "since_reset": engine.since_reset}
    return tensors, {
        "counters": json.dumps(counters),
        "progress": json.dumps(asdict(progress)),
        "frozen": json.dumps(frozen(engine)),
    }


def frozen(engine: Engine) -> list[str]:
    """Names of the model's parameters that are not learned."""
    return [name for name, parameter in engine.model.named_parameters() if not parameter.requires_grad]


def restore(engine: Engine, tensors: dict[str, Tensor], notes: dict[str, str]) -> Progress:
    """Put a snapshot back into `engine`; returns its progress. Raises KeyError when it is another model's."""
    if json.loads(notes["frozen"]) != frozen(engine):  # a step recorded on a device knows the moments by their place
        engine.learn_all_but(json.loads(notes["frozen"]))
    prefix = "model."
    weights = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    if engine.shards is None:
        engine.model.load_state_dict(weights)
    else:
        for name, value in engine.model.state_dict().items():
            local(value).copy_(weights[name])
    with torch.no_grad():
        for name, parameter in engine.critics():
            parameter.copy_(tensors[name])
    for moment in MOMENTS:
        for name, value in zip(engine.names, getattr(engine.adam, moment), strict=True):
            value.copy_(tensors[f"optimizer.{moment}.{name}"])
    engine.adam.count.copy_(tensors["optimizer.count"])
    engine.bound.monitor.copy_(tensors["monitor"])
    counters = json.loads(notes["counters"])
    engine.step, engine.slowdown, engine.since_reset = counters["step"], counters["slowdown"], counters["since_reset"]
    return Progress(**json.loads(notes["progress"]))


def load_checkpoint(path: Path, engine: Engine) -> Progress:
    """Continue from the checkpoint at `path`. Raises DamagedFile when it is damaged or another model's."""
    tensors, notes = load_tensors(path)
    try:
        return restore(engine, tensors if engine.shards is None else engine.shards.scattered(tensors), notes)
    except (KeyError, RuntimeError) as error:
        raise DamagedFile(f"{path}: does not belong to this model ({error}).") from error
