"""One epoch of training by one process and by several, one thread each, in turns.

    python benchmarks/ranks.py [--rounds 3] [--worlds 1 2] [--batch 256] [--hidden 400]

The work: MLP 784-400-20 and back, ReLU, Bernoulli score of grey MNIST, AdamW, float32, 60,000 images, 235 steps of 256
with all ranks together. Each rank takes every step eagerly; the one process is timed both as it is, its step captured,
and eagerly, so that what is lost to capture and what to the ranks is told apart. "2, apart" are two processes at a
time that do a rank's share each and never speak: what they lose, the machine loses. Reported: the minimum and the
median of the seconds of an epoch over the rounds; the efficiency, that is the minimum of one eager process over world
times the minimum; and the seconds from the command to the end, with interpreters starting and 40 steps to warm up.

Needs mnist.npz in $VAEL_DATA, or uses random bytes of the same shape.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

WARM = 40


def images():
    """`(60000, 28, 28)` uint8."""
    import numpy as np

    path = Path(os.environ.get("VAEL_DATA", "")) / "mnist.npz"
    if path.is_file():
        return np.load(path)["x_train"]
    return np.random.default_rng(0).integers(0, 256, (60_000, 28, 28), dtype=np.uint8)


def worker(batch: int, hidden: int, capture: bool, apart: int) -> None:
    """Train as the rank that the environment says; rank 0 prints the seconds of an epoch and its mean bound."""
    import torch

    from vael import ELBO, VAE, Training
    from vael.data import Split
    from vael.likelihoods import GreyBernoulli
    from vael.networks import MLP
    from vael.posteriors import GaussianPosterior
    from vael.priors import GaussianPrior
    from vael.training import Engine, joined
    from vael.training.engine import EAGER_STEPS

    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.from_numpy(images().reshape(-1, 784))
    steps = -(-len(x) // batch)
    split = Split(x, torch.arange(len(x)), torch.zeros(len(x), dtype=torch.float64), divisor=255.0)
    model = VAE(GaussianPrior(20), GreyBernoulli(MLP(20, [hidden], 784)), GaussianPosterior(MLP(784, [hidden], 40)))
    with joined("cpu") as ranks:
        training = Training(steps=100_000, schedule="constant", batch=batch // apart)
        engine = Engine(model, ELBO(), split, training, seed=0, ranks=ranks)
        # Captured while it warms up, or never.
        engine.eager_steps = EAGER_STEPS - WARM // 2 if capture else EAGER_STEPS + 1
        for _ in range(WARM):
            engine.advance()
        engine.means()
        started = time.perf_counter()
        for _ in range(steps):
            engine.advance()
        elbo = engine.means()["elbo"]  # asked of all: the slowest has arrived
        if ranks.first:
            print(json.dumps({"seconds": time.perf_counter() - started, "elbo": elbo}))


def timed(world: int, options: list[str]) -> dict[str, float]:
    """One row, in processes of its own."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        contract = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(found.getsockname()[1]), "WORLD_SIZE": str(world)}
    command = [sys.executable, __file__, "--worker", *options]
    together = world > 1 and "--apart" not in options
    started = time.perf_counter()
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, "OMP_NUM_THREADS": "1", **({**contract, "RANK": str(rank)} if together else {})},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    said = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        sys.exit(f"{command}: failed")
    return {**json.loads(said[0]), "whole": time.perf_counter() - started}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--worlds", type=int, nargs="+", default=[1, 2])
    arguments.add_argument("--batch", type=int, default=256)
    arguments.add_argument("--hidden", type=int, default=400)
    arguments.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments.add_argument("--capture", action="store_true", help=argparse.SUPPRESS)
    arguments.add_argument("--apart", type=int, default=1, help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    if asked.worker:
        worker(asked.batch, asked.hidden, asked.capture, asked.apart)
        return
    options = ["--batch", str(asked.batch), "--hidden", str(asked.hidden)]
    rows: dict[str, tuple[int, list[str]]] = {"1, captured": (1, [*options, "--capture"])}
    for world in asked.worlds:
        rows[f"{world}, eager"] = world, options
        if world > 1:
            rows[f"{world}, apart"] = world, [*options, "--apart", str(world)]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in rows}
    for number in range(asked.rounds):
        for name, (world, given) in rows.items():
            found[name].append(timed(world, given))
            print(f"round {number + 1}: {name}: {found[name][-1]['seconds']:.2f} s", file=sys.stderr)
    least = {name: min(one["seconds"] for one in each) for name, each in found.items()}
    base = least.get("1, eager", least["1, captured"])
    print("| processes | epoch, minimum s | median s | efficiency | command s | −ELBO of the epoch, nats |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, each in found.items():
        middle = statistics.median(one["seconds"] for one in each)
        print(
            f"| {name} | {least[name]:.2f} | {middle:.2f} | {base / rows[name][0] / least[name]:.2f} | "
            f"{min(one['whole'] for one in each):.1f} | {-each[0]['elbo']:.3f} |"
        )
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
