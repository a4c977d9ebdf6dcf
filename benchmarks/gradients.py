"""Gradient estimators for six bits of z on the digits: the bound each arrives at, its gradient's noise and bias.

    python benchmarks/gradients.py [--steps 600] [--seeds 3]

Six bits have 64 states, so the ELBO and log p(x) of the test rows are exact sums, whatever was used to train. Noise and
bias are those of the encoder's gradient on 64 training rows at the weights that all states have led to, over 400
repeats, in units of the exact gradient's length; the bias of `vimco` is towards another bound. One torch thread.
"""

import argparse
import math
import tempfile
import time

import torch
from torch import Tensor

import vael
from vael.data import Split
from vael.models import VAE
from vael.objectives import ELBO, IWAE, VIMCO, Objective, Score

ASKED = {"prior": "bernoulli", "posterior": "bernoulli", "latent": 6, "batch": 64, "learning_rate": 1e-3, "patience": 0}
RELAXED = [1.0, 0.5, 0.1]

Way = tuple[Objective, dict[str, object]]
WAYS: dict[str, Way] = {
    "all states": (ELBO(), {"enumerates": True}),
    "score, no baseline": (Score(draws=4, baseline="none"), {}),
    "score, mean of the others": (Score(draws=4), {}),
    "vimco": (VIMCO(draws=4), {}),
    **{f"relaxed, τ = {t}": (ELBO(draws=4), {"temperature": t}) for t in RELAXED},
    "straight through, τ = 0.5": (ELBO(draws=4), {"temperature": 0.5, "straight_through": True}),
}


def draw_as(model: VAE, drawing: dict[str, object]) -> VAE:
    """The model with a posterior that draws in that way, and no other."""
    plain = {"enumerates": False, "temperature": None, "straight_through": False}
    for name, value in {**plain, **drawing}.items():
        setattr(model.posterior, name, value)
    return model


def exactly(model: VAE, split: Split) -> tuple[float, float]:
    """Mean ELBO and log p(x) over all states, in nats per example."""
    draw_as(model.eval(), {"enumerates": True})
    with torch.inference_mode():
        terms = model.terms(split.batch(torch.arange(len(split))), model.noise(1, len(split), seed=0))
        return float(terms.elbo.mean()), float(IWAE()(terms).mean())


def gradient(model: VAE, split: Split, way: Way, step: int) -> Tensor:
    """The gradient of the encoder's parameters on 64 rows, side by side."""
    objective, drawing = way
    draw_as(model.train(), drawing)
    noise = model.noise(objective.draws, 64, seed=5, step=step)
    reparameterised = getattr(objective, "reparameterised", True)
    terms = model.terms(split.batch(torch.arange(64)), noise, reparameterised=reparameterised)
    found = torch.autograd.grad(objective(terms).mean(), list(model.posterior.parameters()))
    return torch.cat([part.flatten() for part in found]).double()


def noise_and_bias(model: VAE, split: Split, way: Way, repeats: int = 400) -> tuple[float, float]:
    """Standard deviation and bias of a way's gradient, over the length of the exact one."""
    truth = gradient(model, split, WAYS["all states"], 0)
    found = torch.stack([gradient(model, split, way, step) for step in range(repeats)])
    variance = found.var(0).sum()
    square = (found.mean(0) - truth).square().sum() - variance / repeats  # without the part that is noise
    return float(variance.sqrt() / truth.norm()), math.sqrt(max(float(square), 0.0)) / float(truth.norm())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    said = parser.parse_args()
    torch.set_num_threads(1)
    first = None
    for name, (objective, drawing) in WAYS.items():
        found, started = [], time.perf_counter()
        settings = {f"posterior.{key}": value for key, value in drawing.items()}
        for seed in range(said.seeds):
            with tempfile.TemporaryDirectory() as folder:
                run = vael.fit(
                    "digits", output=f"{folder}/run", objective=objective, settings=settings, seed=seed,
                    steps=said.steps, evaluate_every=said.steps, **ASKED,
                )  # fmt: skip
            found.append(exactly(run.model, run.data.split("test").settled(seed=0)))
            first = first or run
        each = 1e3 * (time.perf_counter() - started) / said.seeds / said.steps
        (elbo, log_px), error = torch.tensor(found).mean(0).tolist(), torch.tensor(found).std(0) / said.seeds**0.5
        noise, bias = noise_and_bias(first.model, first.data.split("train").settled(seed=0), (objective, drawing))
        print(
            f"{name:26s} −ELBO {-elbo:7.2f} ± {error[0]:.2f}   −log p {-log_px:7.2f} ± {error[1]:.2f}   "
            f"noise {noise:6.2f}   bias {bias:5.2f}   {each:.1f} ms a step",
            flush=True,
        )


if __name__ == "__main__":
    main()
