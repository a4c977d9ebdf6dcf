"""Completing digits from one, two or three quadrants: a regressor and a conditional VAE.

    python benchmarks/family/quadrants.py [--quadrants 1 2 3] [--epochs 50] [--output FOLDER]

Grey MNIST under cross entropy, nats per image summed over the hidden pixels (a score, no density of grey values); nets
of 500-500 units, 200 latents, Adam 1e-3, batches of 128, early stopping after three epochs without a better validation
score, as in Pyro's redoing of Sohn, Lee & Yan 2015. The regressor's pixels are one guess; the VAE's score is
−log of the mean of K importance weights.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

import vael
from vael.data import Split
from vael.evaluation import bounds
from vael.evidence import Importance
from vael.likelihoods import GreyBernoulli
from vael.networks import MLP
from vael.posteriors import GaussianPosterior
from vael.priors import ConditionalPrior

PARTS = {1: ["14:28,0:14"], 2: [":,0:14"], 3: [":,0:14", "14:28,14:28"]}
PUBLISHED = {1: (100.4, 71.8), 2: (61.9, 51.0), 3: (25.4, 24.2)}
SIDE, HIDDEN, LATENT, BATCH, PATIENCE = 28 * 28, [500, 500], 200, 128, 3


def score(network: nn.Module, split: Split) -> Tensor:
    """The regressor's cross entropy over the hidden pixels of every image, `(N,)`."""
    found = []
    with torch.no_grad():
        for batch in split.batches(1000):
            assert batch.given is not None
            assert batch.observed is not None
            logits = network(batch.given)
            each = binary_cross_entropy_with_logits(logits, batch.x.flatten(1), reduction="none")
            found.append((each * batch.observed).sum(1))
    return torch.cat(found)


def regressor(train: Split, validation: Split, epochs: int) -> nn.Module:
    """An MLP from the given pixels to all, of the best validation score."""
    torch.manual_seed(0)
    network = MLP(SIDE, HIDDEN, SIDE)
    adam = torch.optim.Adam(network.parameters(), 1e-3)
    best, since, weights = float("inf"), 0, {}
    for epoch in range(epochs):
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(epoch))
        for rows in order.split(BATCH):
            batch = train.batch(rows)
            assert batch.given is not None
            assert batch.observed is not None
            each = binary_cross_entropy_with_logits(network(batch.given), batch.x.flatten(1), reduction="none")
            loss = (each * batch.observed).sum(1).mean()
            adam.zero_grad(), loss.backward(), adam.step()
        now = float(score(network, validation).mean())
        print(f"regressor, epoch {epoch + 1}: validation {now:.2f}", flush=True)
        if now < best:
            best, since, weights = now, 0, {name: value.clone() for name, value in network.state_dict().items()}
        else:
            since += 1
        if since >= PATIENCE:
            break
    network.load_state_dict(weights)
    return network


def conditional(quadrants: int, epochs: int, folder: Path) -> vael.Run:
    """The conditional VAE's run."""
    torch.manual_seed(0)
    model = vael.VAE(
        prior=ConditionalPrior(MLP(SIDE, HIDDEN, 2 * LATENT)),
        likelihood=GreyBernoulli(MLP(LATENT + SIDE, HIDDEN, (1, 28, 28))),
        posterior=GaussianPosterior(MLP((1, 28, 28), HIDDEN, 2 * LATENT, given=SIDE)),
    )
    steps = 55_000 // BATCH
    return vael.fit(
        "mnist", model=model, part=PARTS[quadrants], output=folder / f"cvae-{quadrants}", steps=epochs * steps,
        batch=BATCH, evaluate_every=steps, patience=PATIENCE, schedule="constant", watch=told,
    )  # fmt: skip


def told(event: dict) -> None:
    if event["event"] == "line":
        line = event["line"]
        print(f"cvae, epoch {line['epoch']:.1f}: validation −ELBO {-line['validation']['elbo']:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quadrants", type=int, nargs="+", default=[1, 2, 3], choices=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--output", type=Path, default=None)
    asked = parser.parse_args()
    folder = asked.output or Path(tempfile.mkdtemp())
    for quadrants in asked.quadrants:
        run = conditional(quadrants, asked.epochs, folder)
        test = run.data.split("test")
        network = regressor(run.data.split("train"), run.data.split("validation"), asked.epochs)
        one = score(network, test)
        elbo, log_px = bounds(run.model, test).elbo, Importance(draws=asked.draws)(run.model, test).value
        error = one.std() / len(one) ** 0.5, log_px.std() / len(log_px) ** 0.5
        found = {
            "quadrants": quadrants, "regressor": float(one.mean()), "regressor_error": float(error[0]),
            "minus_elbo": -float(elbo.mean()), "cvae": -float(log_px.mean()), "cvae_error": float(error[1]),
            "draws": asked.draws, "published": PUBLISHED[quadrants], "epochs": run.history[-1]["epoch"],
        }  # fmt: skip
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
