"""log p(x) of one run by every estimator, on the same images: value, errors, seconds, and how far it is from a floor.

    python benchmarks/evidence.py RUN [--examples 100] [--temperatures 1000]
    python benchmarks/evidence.py RUN --examples 1000 --temperatures 0 --threads 2     without annealing

The floor is the time of the decoder's matrix products alone, for as many rows as the estimator decodes, forwards, and
for annealing forwards and back to z. Every estimator and its floor run one after the other in the same process.
"""

import argparse
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

import vael
from vael.evaluation import bounds
from vael.evidence import Annealed, Estimate, Importance, PriorSampling, sandwich
from vael.evidence.importance import log_prior_spread


def seconds(job: Callable[[], object]) -> tuple[float, object]:
    """Processor seconds of `job`, which a busy machine does not stretch, and what it returned."""
    before = time.process_time()
    result = job()
    return time.process_time() - before, result


def products(model: vael.VAE, rows: int, *, slopes: bool = False) -> float:
    """Seconds that the decoder's matrix products take for so many rows, in pieces that stay in cache."""
    weights = [layer.weight.detach() for layer in model.likelihood.network.modules() if isinstance(layer, nn.Linear)]
    piece = 512
    inputs = [torch.randn(piece, weight.shape[1]) for weight in weights]
    outputs = [torch.randn(piece, weight.shape[0]) for weight in weights]

    def some(pieces: int) -> None:
        for _ in range(pieces):
            for weight, x, y in zip(weights, inputs, outputs, strict=True):
                torch.mm(x, weight.T)
                if slopes:
                    torch.mm(y, weight)

    some(5)
    return seconds(lambda: some(50))[0] / 50 * rows / piece


def row(name: str, found: Estimate, spent: float, floor: float, elbo: Tensor) -> str:
    size = "–" if found.effective_sample_size is None else f"{float(found.effective_sample_size.median()):.1f}"
    error = float(found.value.std() / len(found.value) ** 0.5)
    noise = float(found.monte_carlo_error.square().sum().sqrt() / len(found.value))
    return (
        f"| {name} | {float(found.value.mean()):.3f} ± {error:.2f} | {noise:.3f} | {size} "
        f"| {float((found.value - elbo).mean()):.3f} | {spent:.1f} | {spent / floor:.1f} |"
    )


def main() -> None:
    ask = argparse.ArgumentParser()
    ask.add_argument("run")
    ask.add_argument("--examples", type=int, default=100)
    ask.add_argument("--temperatures", type=int, default=1000)
    ask.add_argument("--chains", type=int, default=16)
    ask.add_argument("--threads", type=int, default=1)
    asked = ask.parse_args()
    torch.set_num_threads(asked.threads)
    run = vael.load(asked.run)
    whole = run.split_of(None).settled(seed=0)
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))
    split, model, n = whole.rows(order[: asked.examples]), run.model, asked.examples
    elbo = bounds(model, split, draws=20).elbo
    print(f"{asked.run}: {n} test images, mean ELBO {float(elbo.mean()):.3f}, on {torch.get_num_threads()} thread(s)")
    spread = log_prior_spread(model, split)
    if spread is not None:
        print(
            f"draws of the prior needed for a relative error of 1: 10^{float(spread.median()) / 2.302585:.0f} (median)"
        )
    print("| estimator | log p(x) ± s.e. | Monte Carlo error | ESS, median | − ELBO | seconds | × products |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    jobs = [("prior sampling, K = 5000", PriorSampling(draws=5000), 5000, False)]
    jobs += [(f"importance, K = {draws}", Importance(draws=draws), draws, False) for draws in (50, 1000, 5000)]
    few = max(1, asked.temperatures // 10)
    walks = (("prior", asked.temperatures), ("encoder", few), ("encoder", asked.temperatures))
    for start, steps in walks if asked.temperatures else ():
        annealed = Annealed(temperatures=steps, chains=asked.chains, start=start)
        name = f"annealed from {start}, T = {steps}, {asked.chains} chains"
        jobs.append((name, annealed, steps * asked.chains * annealed.leapfrog, True))
    warnings.simplefilter("ignore")  # that prior sampling is hopeless is what the table shows
    for name, estimator, rows, slopes in jobs:
        floor = products(model, rows * n, slopes=slopes)
        spent, found = seconds(lambda estimator=estimator: estimator(model, split))
        print(row(name, found, spent, floor, elbo), flush=True)
    for start in ("prior", "encoder") if asked.temperatures else ():
        annealed = Annealed(temperatures=asked.temperatures, chains=asked.chains, start=start)
        spent, both = seconds(lambda annealed=annealed: sandwich(model, annealed, n))
        gap = both.gap
        print(
            f"sandwich from {start}, T = {asked.temperatures}, {n} simulated images: gap {float(gap.mean()):.3f} ± "
            f"{float(gap.std()) / n**0.5:.3f} nats, {spent:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
