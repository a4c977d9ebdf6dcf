"""The models that vael and Pythae share: trained by both from the same weights on the same rows, scored by vael.

    python benchmarks/family/beside_pythae.py [--only VAE IWAE] [--seeds 0 1] [--epochs 5] [--output FILE]
    python benchmarks/family/beside_pythae.py --table FILE

Binary MNIST (threshold ½), 5,000 rows to learn from and 1,000 of the test part, MLP 784-256-16 and its mirror, batches
of 100, Adam at 1e-3, one thread, the last weights. Pythae's trained networks are put into the vael model of the same
law, so both columns are one quantity from one evaluator: −ELBO and distortion by one draw, log p(x) by 200 weights.
Epochs alternate between the two; a time is the median processor time of the epochs after the first.
"""

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
import pythae.trainers as trainers
import torch
from pairs_with_pythae import LATENT, PAIRS, PIXELS, Pair, flow_log_w, folds
from pythae.data.datasets import BaseDataset
from torch import Tensor, nn

import vael
from vael import Training
from vael.data import Split
from vael.evaluation import bounds
from vael.evidence import Importance
from vael.networks import MLP
from vael.training import Engine
from vael.training.engine import EAGER_STEPS

BATCH, RATE, LONG = 100, 1e-3, 100_000
CONSTANT = PIXELS / 2 * math.log(math.pi)  # of a Gaussian of variance ½, whose −log p is else the squared error


def rows(part: str, count: int) -> Tensor:
    """The first images of a part of MNIST as zeros and ones, `(N, 784)`."""
    with np.load(Path(os.environ["VAEL_DATA"]) / "mnist.npz") as held:
        grey = held[f"x_{part}"][:count].reshape(-1, PIXELS)
    return torch.from_numpy((grey > 127).astype(np.float32))


def split_of(x: Tensor) -> Split:
    return Split(x, torch.arange(len(x)), torch.zeros(len(x), dtype=torch.float64))


def networks(pair: Pair, seed: int) -> tuple[MLP, MLP]:
    """Encoder and decoder with first weights that depend on the seed alone."""
    torch.manual_seed(seed)
    decoder = MLP(LATENT, [256], PIXELS)
    return MLP(PIXELS, [256], pair.outputs), decoder


def trainer_of(pair: Pair, peer: nn.Module, x: Tensor, folder: str, seed: int) -> Any:
    """Pythae's own trainer for this model, ready for its first epoch."""
    common = {"output_dir": folder, "per_device_train_batch_size": BATCH, "seed": seed, "no_cuda": True}
    sides = {"": ("",), "CoupledOptimizer": ("encoder_", "decoder_"), "Adversarial": ("autoencoder_", "discriminator_")}
    rates = {f"{side}learning_rate": RATE for side in sides[pair.trainer]}
    kind = pair.trainer or "Base"
    config = getattr(trainers, f"{kind}TrainerConfig")(**common, **rates, **pair.trainer_settings)
    made = getattr(trainers, f"{kind}Trainer")(peer, BaseDataset(x, torch.ones(len(x))), training_config=config)
    made.prepare_training()
    made.callback_handler.on_train_begin(training_config=config, model_config=peer.model_config)
    return made


def engine_of(model: vael.VAE, pair: Pair, split: Split, seed: int, steps: int, say: Callable[[str], None]) -> Engine:
    """The engine of `vael fit`, which records its step at once, as a run of 2,050 steps and more does.

    steps: Of a warm-up: all but the last epoch, in which Pythae's target is at its full height too.
    """
    model.prior.begin(split.x)
    training = Training(steps=LONG, schedule="constant", batch=BATCH, warm_up=steps if pair.warms else 0)
    made = Engine(model, pair.objective(), split, training, seed=seed, say=say)
    made.eager_steps = EAGER_STEPS
    return made


class Clock:
    """Processor and wall seconds of every call."""

    def __init__(self) -> None:
        self.cpu: list[float] = []
        self.wall: list[float] = []

    def __call__(self, work: Callable[[], object]) -> None:
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        self.cpu.append(time.process_time() - cpu)
        self.wall.append(time.perf_counter() - wall)

    def read(self) -> dict[str, float]:
        """The medians after the first epoch, in which steps are recorded and memory is found."""
        return {"cpu": median(self.cpu[1:] or self.cpu), "wall": median(self.wall[1:] or self.wall)}


def scored(model: vael.VAE, pair: Pair, test: Split, draws: int) -> dict[str, float | None]:
    """−ELBO and distortion, and log p(x) with its error over the images, nats an image; or the squared error."""
    found = bounds(model.eval(), test)
    distortion = float(found.distortion.mean())
    if pair.squared:
        return {"squared_error": distortion - CONSTANT}
    log_px = Importance(draws=draws)(model, test).value
    return {"minus_elbo": -float(found.elbo.mean()), "distortion": distortion, "log_px": float(log_px.mean())}


def scored_flow(peer: nn.Module, x: Tensor, draws: int) -> dict[str, float | None]:
    """The same of a Pythae model with a flow, by its own layers."""
    torch.manual_seed(0)
    with torch.no_grad():
        log_w, log_likelihood = flow_log_w(peer.eval(), x, draws)
    log_px = (log_w.logsumexp(0) - math.log(draws)).mean()
    found = {"minus_elbo": -float(log_w.mean()), "distortion": -float(log_likelihood.mean()), "log_px": float(log_px)}
    return found | {"folds": folds(peer)}


def beside(pair: Pair, seed: int, asked: argparse.Namespace) -> dict[str, Any]:
    """One pair, trained in turns."""
    x, test = rows("train", asked.train), split_of(rows("test", asked.test))
    encoder, decoder = networks(pair, seed)
    model = pair.model(deepcopy(encoder), deepcopy(decoder))
    peer = pair.peer(deepcopy(encoder), deepcopy(decoder), x)
    said: list[str] = []
    steps = len(x) // BATCH
    engine = engine_of(model, pair, split_of(x), seed, steps * (asked.epochs - 1), said.append)
    ours, theirs = Clock(), Clock()

    def epoch() -> None:
        model.train()
        for _ in range(steps):
            engine.advance()

    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_of(pair, peer, x, folder, seed)
        for number in range(1, asked.epochs + 1):
            ours(epoch)
            theirs(lambda number=number: trainer.train_step(number))  # type: ignore[misc]
    if pair.load is None:
        other = scored_flow(peer, test.x, asked.draws)
    else:
        other = scored(pair.load(pair, peer), pair, test, asked.draws)
    return {
        "model": pair.name, "seed": seed, "ours": scored(model, pair, test, asked.draws) | ours.read(),
        "pythae": other | theirs.read(), "said": said,
    }  # fmt: skip


def cell(found: list[dict[str, Any]], side: str, what: str) -> str:
    values = [one[side][what] for one in found if one[side].get(what) is not None]
    if not values:
        return ""
    digits = 2 if what == "cpu" else 1
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 and what != "cpu" else ""
    return f"{median(values) if what == 'cpu' else fmean(values):.{digits}f}{spread}".replace("-", "−")


def table(lines: list[dict[str, Any]]) -> str:
    """Markdown: means over seeds, with their deviation where there are several."""
    measures = {"minus_elbo": "−ELBO", "log_px": "log p(x)", "distortion": "distortion", "cpu": "CPU s an epoch"}
    heads = [f"{label}, {side}" for label in measures.values() for side in ("`vael`", "Pythae")]
    text = [f"| model | {' | '.join(heads)} |", f"| --- |{' --- |' * len(heads)}"]
    names = list(dict.fromkeys(line["model"] for line in lines))
    for name in sorted(names, key=[pair.name for pair in PAIRS].index):
        found = [line for line in lines if line["model"] == name]
        if "skipped" in found[0]:
            text.append(f"| {name} | {found[0]['skipped']} |{' |' * (len(heads) - 1)}")
            continue
        squared = "squared_error" in found[0]["ours"]
        asked = ["squared_error" if squared and what == "distortion" else what for what in measures]
        cells = [cell(found, side, what) for what in asked for side in ("ours", "pythae")]
        text.append(f"| {name}{' (squared error)' if squared else ''} | {' | '.join(cells)} |")
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[pair.name for pair in PAIRS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    for name, number in {"epochs": 5, "train": 5000, "test": 1000, "draws": 200}.items():
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--output", type=Path, help="file that JSON lines are added to")
    parser.add_argument("--table", type=Path, help="print the table of such a file, and train nothing")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.table:
        print(table([json.loads(line) for line in asked.table.read_text().splitlines()]))
        return
    lines = []
    for seed in asked.seeds:
        for pair in [pair for pair in PAIRS if not asked.only or pair.name in asked.only]:
            try:
                line = beside(pair, seed, asked)
            except Exception as error:  # what Pythae cannot run is left out, with its last words
                line = {"model": pair.name, "seed": seed, "skipped": f"{type(error).__name__}: {error}"}
            lines.append(line)
            print(json.dumps(line), flush=True)
            if asked.output:
                with asked.output.open("a") as file:
                    file.write(json.dumps(line) + "\n")
    print(table(lines))


if __name__ == "__main__":
    main()
