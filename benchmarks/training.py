"""Training speed: vael's loop beside a plain tuned eager loop doing the same work, in processes that take turns.

    python benchmarks/training.py [--rounds 5] [--threads 1 2]

The work: MLP 784-400-20 and back, ReLU, Bernoulli score of grey MNIST, Adam 1e-3, batch 128, float32, 60,000 images
(469 steps). Each round runs every row once, in its own process, which warms up for 40 steps and then times one epoch;
rows of a round follow each other directly, so a slow spell of the machine meets all of them. Reported: minima, medians
and the ratio of minima, which is the cleanest figure on a shared machine.

Rows:  tuned    autograd on resident data, logits, one layer for loc and scale, fused Adam, nothing read back
       vael     Engine.advance: the loop of `vael fit`, without evaluations and checkpoints
       vael-all the same with one evaluation on 5,000 rows and one checkpoint per epoch, as `vael fit` does
The mean losses of this first epoch differ by 2.6 nats for one known reason: the tuned row's head gives a log variance,
vael's a log scale. With a log-variance head vael's loss is 151.60 nats where the tuned row's is 151.66.

Needs mnist.npz in $VAEL_DATA, or uses random bytes of the same shape.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STEPS, WARM, BATCH = 469, 40, 128


def images():
    """`(60000, 28, 28)` uint8."""
    import numpy as np

    path = Path(os.environ.get("VAEL_DATA", "")) / "mnist.npz"
    if path.is_file():
        return np.load(path)["x_train"]
    return np.random.default_rng(0).integers(0, 256, (60_000, 28, 28), dtype=np.uint8)


def tuned() -> tuple[float, float]:
    """Seconds of one epoch and its mean loss in nats, by a plain loop."""
    import torch
    from torch import nn
    from torch.nn.functional import binary_cross_entropy_with_logits

    torch.manual_seed(0)
    data = torch.from_numpy(images().reshape(-1, 784)).float() / 255
    encoder = nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 40))
    decoder = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3, fused=True)
    x, eps, total = torch.empty(BATCH, 784), torch.empty(BATCH, 20), torch.zeros(())

    def step(chosen):
        torch.index_select(data, 0, chosen, out=x)
        loc, log_var = encoder(x).chunk(2, -1)
        z = torch.addcmul(loc, torch.exp(0.5 * log_var), eps.normal_())
        score = binary_cross_entropy_with_logits(decoder(z), x, reduction="sum")
        rate = 0.5 * (loc.square() + log_var.exp() - 1 - log_var).sum()
        loss = (score + rate) / BATCH
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        total.add_(loss.detach())

    order = torch.randperm(len(data))
    batches = [order[place * BATCH % (len(data) - BATCH) :][:BATCH] for place in range(STEPS)]
    for chosen in batches[:WARM]:
        step(chosen)
    total.zero_()
    started = time.perf_counter()
    for chosen in batches:
        step(chosen)
    return time.perf_counter() - started, float(total) / STEPS


def vael(everything: bool = False) -> tuple[float, float]:
    """Seconds of one epoch and its mean loss in nats, by vael's engine."""
    import torch

    from vael import ELBO, VAE, Training
    from vael.data import Split
    from vael.evaluation import bounds, fixed_noise
    from vael.files import save_tensors
    from vael.likelihoods import GreyBernoulli
    from vael.networks import MLP
    from vael.posteriors import GaussianPosterior
    from vael.priors import GaussianPrior
    from vael.training import Engine, Progress, snapshot

    torch.manual_seed(0)
    x = torch.from_numpy(images().reshape(-1, 784))
    split = Split(x, torch.arange(len(x)), torch.zeros(len(x), dtype=torch.float64), divisor=255.0)
    model = VAE(GaussianPrior(20), GreyBernoulli(MLP(20, [400], 784)), GaussianPosterior(MLP(784, [400], 40)))
    training = Training(steps=STEPS + WARM, schedule="constant")
    engine = Engine(model, ELBO(), split, training, seed=0)
    validation = split.rows(torch.arange(5000))
    noise = fixed_noise(model, validation)
    for _ in range(WARM):
        engine.advance()
    engine.means()
    started = time.perf_counter()
    for _ in range(STEPS):
        engine.advance()
    loss = -engine.means()["elbo"]
    if everything:
        bounds(model, validation, noise=noise)
        with tempfile.TemporaryDirectory() as folder:
            save_tensors(Path(folder) / "last.safetensors", *snapshot(engine, Progress()))
    return time.perf_counter() - started, loss


ROWS = {"tuned": tuned, "vael": vael, "vael-all": lambda: vael(everything=True)}


def one(row: str, threads: int) -> dict[str, float]:
    """One row in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, "--row", row]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments.add_argument("--row", choices=ROWS)
    asked = arguments.parse_args()
    if asked.row:
        seconds, loss = ROWS[asked.row]()
        print(json.dumps({"seconds": seconds, "loss": loss}))
        return
    for threads in asked.threads:
        found = {row: [] for row in ROWS}
        for _ in range(asked.rounds):
            for row in ROWS:
                found[row].append(one(row, threads))
        print(f"\n{threads} thread(s), {asked.rounds} rounds, one epoch of 469 steps\n")
        print(
            "| row | min s | median s | max s | min / tuned | median / tuned | loss, nats |\n"
            "|---|---|---|---|---|---|---|"
        )
        best = {row: min(run["seconds"] for run in runs) for row, runs in found.items()}
        middle = {row: statistics.median(run["seconds"] for run in runs) for row, runs in found.items()}
        for row, runs in found.items():
            print(
                f"| {row} | {best[row]:.3f} | {middle[row]:.3f} | {max(run['seconds'] for run in runs):.3f} "
                f"| {best[row] / best['tuned']:.3f} | {middle[row] / middle['tuned']:.3f} | {runs[0]['loss']:.2f} |"
            )


if __name__ == "__main__":
    main()
