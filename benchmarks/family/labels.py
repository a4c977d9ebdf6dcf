"""Learning digits from a hundred labels: what enumeration and the classifier's term are worth.

    python benchmarks/family/labels.py [--labels 100] [--epochs 20] [--arms …] [--output FOLDER]

M2 with one hidden layer of 500 softplus units and 50 latents, as in Pyro's tutorial of Kingma et al. 2014, on binarised
MNIST. Arms: `sampled`, labels drawn from q(y|x) with the score function; `enumerated`, summed over; `classifier`, that
with α − log q(y|x) for the known ones; `supervised`, the classifier's network on the labelled rows alone. Prints test
accuracy ± standard error over images, one line of JSON each.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch

import vael
from vael.data import Reading
from vael.data.sources import read
from vael.likelihoods import Bernoulli
from vael.networks import MLP
from vael.objectives import Score
from vael.posteriors import CategoricalPosterior, ChainPosterior, GaussianPosterior
from vael.priors import CategoricalPrior, ChainPrior, GaussianPrior

PUBLISHED = {"sampled": 0.2007, "enumerated": 0.2254, "classifier": 0.9319, "supervised": 0.7712}  # for 100 labels
PICTURE, HIDDEN, LATENT, CLASSES, BATCH = (1, 28, 28), [500], 50, 10, 200


def model(arm: str, alpha: float) -> vael.VAE:
    """M2 for an arm."""
    torch.manual_seed(0)
    soft = {"activation": "softplus"}
    guess = CategoricalPosterior(MLP(PICTURE, HIDDEN, CLASSES, **soft), classes=CLASSES, enumerates=arm != "sampled")
    code = GaussianPosterior(MLP(PICTURE, HIDDEN, 2 * LATENT, given=CLASSES, **soft))
    return vael.VAE(
        ChainPrior([CategoricalPrior(CLASSES), GaussianPrior(LATENT)]),
        Bernoulli(MLP(CLASSES + LATENT, HIDDEN, PICTURE, **soft)),
        ChainPosterior([guess, code], classifier=alpha if arm == "classifier" else 0.0),
    )


def repeated(labels: int, times: int, seed: int) -> dict[str, np.ndarray]:
    """MNIST with `labels` known training rows, of each class alike and each there so many `times`, and a split."""
    frame = read("mnist", Reading())
    x, label = frame.columns["x"], frame.columns["y"].astype(np.float64)
    names = frame.split
    training = np.flatnonzero(names == "train")
    order = np.random.default_rng(seed).permutation(training)
    known = np.concatenate([order[label[order] == y][: labels // CLASSES] for y in range(CLASSES)])
    hidden = label.copy()
    hidden[np.setdiff1d(training, known)] = np.nan
    held = order[-5000:][~np.isin(order[-5000:], known)]
    split = names.astype(object)
    split[held] = "validation"
    more = np.repeat(known, times - 1)
    rows = np.concatenate([np.arange(len(x)), more])
    return {"x": x[rows], "label": hidden[rows], "split": split[rows]}


def supervised(run: vael.Run, epochs: int = 2000) -> float:
    """Test accuracy of the classifier's network trained on the labelled rows alone."""
    torch.manual_seed(0)
    network = MLP(PICTURE, HIDDEN, CLASSES, activation="softplus")
    train, test = run.data.split("train").thresholded(), run.data.split("test").thresholded()
    rows = (train.label >= 0).nonzero()[:, 0]
    batch = train.batch(rows)
    adam = torch.optim.Adam(network.parameters(), 3e-4)
    for _ in range(epochs):
        loss = torch.nn.functional.cross_entropy(network(batch.x), batch.label)
        adam.zero_grad(), loss.backward(), adam.step()
    with torch.no_grad():
        right = [network(part.x).argmax(-1) == part.label for part in test.batches(1000)]
    return float(torch.cat(right).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--alpha", type=float, default=1.0, help="weight of the classifier's term over all, in N")
    parser.add_argument("--repeat", type=int, default=1, help="how often an epoch shows each labelled row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--arms", nargs="+", default=list(PUBLISHED), choices=list(PUBLISHED))
    parser.add_argument("--output", type=Path, default=None)
    asked = parser.parse_args()
    folder = asked.output or Path(tempfile.mkdtemp())
    run = None
    for arm in asked.arms:
        about = {
            "arm": arm,
            "labels": asked.labels,
            "epochs": asked.epochs,
            "alpha": asked.alpha,
            "repeat": asked.repeat,
            "published": PUBLISHED[arm],
        }
        if arm == "supervised":
            if run is None:
                raise SystemExit("supervised: name another arm before it, whose labels it takes.")
            print(json.dumps({**about, "accuracy": supervised(run)}), flush=True)
            continue
        weight = asked.alpha * 55_000 / asked.labels / asked.repeat
        run = vael.fit(
            repeated(asked.labels, asked.repeat, asked.seed), label=["label"], model=model(arm, weight),
            objective=Score() if arm == "sampled" else vael.ELBO(), epochs=asked.epochs, batch=BATCH, seed=asked.seed,
            learning_rate=asked.learning_rate, schedule="constant", evaluate_every=55_000 // BATCH,
            output=folder / arm, watch=told,
        )  # fmt: skip
        _, accuracy = run.classify()
        found = {"accuracy": accuracy.value, "error": accuracy.standard_error}
        print(json.dumps({**about, **found}), flush=True)


def told(event: dict) -> None:
    if event["event"] == "line":
        line = event["line"]
        print(f"epoch {line['epoch']:.1f}: validation −ELBO {-line['validation']['elbo']:.2f}", flush=True)


if __name__ == "__main__":
    main()
