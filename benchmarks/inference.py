"""The VAE's training against wake-sleep and Monte Carlo EM, after Kingma & Welling 2013, figures 2 and 3, in small.

    python benchmarks/inference.py [--seconds 25] [--rows 1000] [--examples 60]

MNIST, binarised once; N_z = 3, one hidden layer of 100 tanh units, batches of 100, Adagrad at 0.02, as in figure 3.
Every trainer gets the same weights to begin with and the same processor seconds, and stops a few times on the way.
log p(x) is that of annealing from the prior for all three, since Monte Carlo EM has no encoder to sample from; its
seconds are not counted. The bound is that of the encoder, where there is one.
"""

import argparse
import math
import time

import torch
from torch import Tensor

from vael import ELBO, VAE
from vael.data import Reading, Schema, Split, prepare
from vael.data.sources import read
from vael.data.understand import understand
from vael.defaults import choose, with_views
from vael.evaluation import bounds
from vael.evidence import Annealed
from vael.inference import MCEM, WakeSleep
from vael.inference.trainers import Trainer, parameters_of
from vael.likelihoods import Bernoulli
from vael.networks import MLP
from vael.posteriors import GaussianPosterior
from vael.priors import GaussianPrior


class AEVB(Trainer):
    """The ELBO by reparameterised draws, with the batches and the optimiser of the others."""

    def learned(self) -> list[Tensor]:
        return parameters_of(self.model)

    def advance(self) -> float:
        batch = self.look()
        noise = self.model.noise(1, len(batch), seed=self.seed, step=self.step)
        self.step += 1
        return self.move(ELBO()(self.model.terms(batch, noise)).mean())


def mnist(rows: int, examples: int) -> tuple[Split, Split]:
    """`rows` pictures to train on and `examples` of the test set."""
    frame = read("mnist", Reading())
    schema: Schema = understand(frame, Reading())
    data = prepare(frame, with_views(schema, choose(schema, "bernoulli"), "static"))
    train, test = data.split("train"), data.split("test")
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))
    return train.rows(torch.arange(rows)), test.rows(order[:examples])


def fresh() -> VAE:
    torch.manual_seed(0)
    decoder, encoder = MLP(3, [100], (1, 28, 28), activation="tanh"), MLP((1, 28, 28), [100], 6, activation="tanh")
    return VAE(GaussianPrior(3), Bernoulli(decoder), GaussianPosterior(encoder))


def log_px(model: VAE, split: Split) -> tuple[float, float]:
    """Mean log p(x) and its standard error over the examples, nats."""
    found = Annealed(temperatures=60, chains=4, leapfrog=5)(model, split).value
    return float(found.mean()), float(found.std() / math.sqrt(len(found)))


def run(name: str, trainer: Trainer, train: Split, test: Split, stops: list[float]) -> None:
    spent = 0.0
    for stop in stops:
        while spent < stop:
            before = time.process_time()
            trainer.advance()
            spent += time.process_time() - before
        there, error = log_px(trainer.model, test)
        here, _ = log_px(trainer.model, train)
        bound = f"{float(bounds(trainer.model, test).elbo.mean()):9.1f}" if name != "MCEM" else f"{'none':>9}"
        seen = trainer.step * trainer.batch
        print(f"{name:<12}{spent:8.0f}{seen:12,d}{here:10.1f}{there:10.1f} ± {error:.1f}{bound}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=25)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--examples", type=int, default=60)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    train, test = mnist(asked.rows, asked.examples)
    seen = train.rows(torch.arange(min(asked.examples, len(train))))
    stops = [asked.seconds / 5, asked.seconds]
    print(f"{'':<12}{'seconds':>8}{'examples':>12}{'log p':>10}{'log p':>10}{'':6}{'ELBO':>9}")
    print(f"{'':<12}{'':>8}{'seen':>12}{'train':>10}{'test':>10}{'':6}{'test':>9}")
    for name, kind in {"AEVB": AEVB, "wake-sleep": WakeSleep, "MCEM": MCEM}.items():
        run(name, kind(fresh(), train), seen, test, stops)


if __name__ == "__main__":
    main()
