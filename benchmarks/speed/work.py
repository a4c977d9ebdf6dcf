"""What several pieces of work share: data, networks with the same weights everywhere, a clock, vael's engine."""

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import LeftOut, Watch, seed
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

PIXELS, HIDDEN, LATENT, BATCH, WARM = 784, 400, 20, 128, 40


def images(part: str = "train") -> Tensor:
    """MNIST's grey values `(N, 784)`, uint8: 60,000 or 10,000; random bytes where $VAEL_DATA has no mnist.npz."""
    path = Path(os.environ.get("VAEL_DATA", "")) / "mnist.npz"
    if path.is_file():
        with np.load(path) as held:
            return torch.from_numpy(held[f"x_{part}"].reshape(-1, PIXELS))
    rows = 60_000 if part == "train" else 10_000
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (rows, PIXELS), dtype=np.uint8))


def mlp_networks(start: int | None = None) -> tuple[nn.Sequential, nn.Sequential]:
    """Encoder 784-400-(20 loc, 20 log scale) and decoder 20-400-784 with ReLU: one seed, one set of weights.

    start: The seed; that of the round when left out.
    """
    torch.manual_seed(seed() if start is None else start)
    encoder = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * LATENT))
    decoder = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PIXELS))
    return encoder, decoder


LONG = 100_000  # steps of a run whose first ones are timed


def clock(step: Callable[[], object], count: int, *, reset: Callable[[], object], warm: int = WARM) -> dict[str, float]:
    """Seconds of `count` steps after `warm` others, and of the first of these; `reset` is called between."""
    before = time.perf_counter()
    step()
    first = time.perf_counter() - before
    for _ in range(warm - 1):
        step()
    reset()
    watch = Watch()
    for _ in range(count):
        step()
    return {**watch.read(), "first": first}


def batches(examples: int, batch: int, count: int) -> list[Tensor]:
    """Positions of so many batches, each epoch newly shuffled, none short."""
    found: list[Tensor] = []
    while len(found) < count:
        found += [chosen for chosen in torch.randperm(examples).split(batch) if len(chosen) == batch]
    return found[:count]


def tuned_loop(
    encoder: nn.Module, decoder: nn.Module, batch: Callable[[], Tensor], count: int, *, latent: int, warm: int = WARM
) -> dict[str, float]:
    """Seconds and loss of `count` steps of a plain loop: autograd, logits, one head, fused Adam, nothing read back."""
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3, fused=True)
    eps, total = torch.empty(BATCH, latent), torch.zeros(())

    def step() -> None:
        x = batch()
        loc, log_scale = encoder(x).chunk(2, -1)
        z = torch.addcmul(loc, log_scale.exp(), eps.normal_())
        score = binary_cross_entropy_with_logits(decoder(z), x, reduction="sum")
        rate = 0.5 * (loc.square() + (2 * log_scale).exp() - 1 - 2 * log_scale).sum()
        loss = (score + rate) / BATCH
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        total.add_(loss.detach())

    found = clock(step, count, reset=total.zero_, warm=warm)
    return {**found, "loss": float(total) / count}


def asked_training(steps: int, **settings: Any) -> Any:
    """vael's `Training` at Adam's plain settings. Raises LeftOut for a setting that this vael does not have."""
    from vael import Training

    known = {spec.name for spec in dataclasses.fields(Training)}
    for name in settings:
        if name not in known:
            raise LeftOut(f"this vael has no setting {name!r}")
    return Training(steps=steps, schedule="constant", **settings)


def vael_split(x: Tensor, divisor: float = 1.0) -> Any:
    """Rows x `(N, *event)` as vael holds them: bytes stay bytes."""
    from vael.data import Split

    return Split(x, torch.arange(len(x)), torch.zeros(len(x), dtype=torch.float64), divisor=divisor)


def vael_mlp(likelihood: str = "GreyBernoulli", start: int | None = None) -> Any:
    """vael's VAE of the same networks with the same weights."""
    from vael import VAE, likelihoods
    from vael.networks import MLP
    from vael.posteriors import GaussianPosterior
    from vael.priors import GaussianPrior

    encoder, decoder = MLP(PIXELS, [HIDDEN], 2 * LATENT), MLP(LATENT, [HIDDEN], PIXELS)
    for theirs, ours in zip(mlp_networks(start), (encoder, decoder), strict=True):
        ours.layers.load_state_dict(theirs.state_dict())
    return VAE(GaussianPrior(LATENT), getattr(likelihoods, likelihood)(decoder), GaussianPosterior(encoder))


def vael_engine(model: Any, split: Any, training: Any, capture: bool = True) -> Any:
    """The engine of `vael fit` as it is after its first steps: what it records, it records at once."""
    from vael import ELBO
    from vael.memory import keep_freed_memory
    from vael.training import Engine, engine

    keep_freed_memory()  # as `train` does
    made = Engine(model, ELBO(), split, training, seed=seed(), capture=capture)
    made.eager_steps = 0 if training.compile else engine.EAGER_STEPS
    return made


def vael_epoch(
    model: Any,
    split: Any,
    count: int,
    *,
    after: Callable[[Any], object] | None = None,
    warm: int = WARM,
    capture: bool = True,
    **settings: Any,
) -> dict[str, float]:
    """Seconds and loss of `count` steps of `vael fit`'s loop, then of `after(engine)` where it is given."""
    engine = vael_engine(model, split, asked_training(LONG, **settings), capture)
    found = clock(engine.advance, count, reset=engine.means, warm=warm)
    found["loss"] = -engine.means()["elbo"]
    if after is not None:
        watch = Watch()
        after(engine)
        for name, spent in watch.read().items():
            found[name] += spent
    return found
