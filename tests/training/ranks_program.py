"""Trains small float64 models for 50 steps, as the rank that the environment says, and keeps all that came of it.

    python ranks_program.py OUTPUT

One file `CASE.RANK.safetensors` a case: the last state, and the history's numbers as rows.
"""

import math
import sys
from pathlib import Path

import torch

from vael.data import Split
from vael.files import save_tensors
from vael.likelihoods import Bernoulli, Gaussian
from vael.models import VAE
from vael.networks import MLP, ConvDecoder, ConvEncoder
from vael.objectives import ELBO, IWAE, Beta
from vael.posteriors import GaussianPosterior
from vael.priors import GaussianPrior
from vael.training import Engine, Nowhere, Progress, Training, joined, shards, snapshot, train

CASES = {
    "elbo": (Gaussian, ELBO(), {"clip": 2.0}),
    "binarised": (Bernoulli, ELBO(), {"warm_up": 20}),
    "iwae": (Bernoulli, IWAE(draws=5), {}),
    "half unused": (Gaussian, Beta(0.5), {}),
    "pictures": (Bernoulli, ELBO(), {}),
    "rewound": (Gaussian, ELBO(), {}),
    "sharded rewound": (Gaussian, ELBO(), {}),
    "sharded": (Gaussian, ELBO(), {"clip": 2.0}),
    "sharded half unused": (Gaussian, Beta(0.5), {}),
    "sharded pictures": (Bernoulli, ELBO(), {}),
    "sharded iwae": (Bernoulli, IWAE(draws=5), {}),
}


class HalfUsed(MLP):
    """A network with parameters that nothing depends on."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.spare = torch.nn.Parameter(torch.ones(3))


def split_of(rows, seed, event, *, grey):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 2, generator=generator) @ torch.randn(2, math.prod(event), generator=generator)
    x = x.reshape(rows, *event)
    if grey:
        x = (255 * torch.sigmoid(x)).to(torch.uint8)
    shift = torch.linspace(0, 1, rows, dtype=torch.float64)
    return Split(x, torch.arange(rows), shift, divisor=255.0 if grey else 1.0, dynamic=grey)


class Broken(Engine):
    """Step 15 meets a NaN in its last example, once: a rank alone sees it."""

    def look(self, step):
        look = super().look(step)
        if self.ranks.rank == self.ranks.world - 1 and step == 14 and self.slowdown == 1.0:
            look.batch.x[-1] = math.nan
        return look


def trained(case, ranks):
    likelihood, objective, settings = CASES[case]
    torch.manual_seed(0 if ranks.first else 1)  # the others' weights are not to matter
    decoder = HalfUsed(2, [8], 6) if case.endswith("half unused") else MLP(2, [8], 6)
    encoder = MLP(6, [8], 4)
    if case.endswith("pictures"):  # whose weights lie in another order than the numbers of a row
        decoder, encoder = ConvDecoder(2, [4], (1, 4, 4)), ConvEncoder((1, 4, 4), [4], 4)
    model = VAE(GaussianPrior(2), likelihood(decoder), GaussianPosterior(encoder))
    training = Training.of({"steps": 50, "batch": 12, "evaluate_every": 10, "learning_rate": 0.01, **settings})
    grey = likelihood is Bernoulli
    event = (1, 4, 4) if case.endswith("pictures") else (6,)
    shard = case.startswith("sharded") and ranks.world > 1
    made = Broken if case.endswith("rewound") else Engine
    engine = made(model, objective, split_of(50, 1, event, grey=grey), training, seed=3, ranks=ranks, shard=shard)
    lines = []
    progress = Progress()
    # Seven rows that validate are dealt out as three and four.
    held_out = split_of(7, 2, event, grey=grey).settled()
    outcome = train(engine, held_out, Nowhere(), progress=progress, report=lines.append)
    assert outcome.step == 50
    if case.endswith("rewound"):
        found = lines.pop(1)
        assert found == {"step": 10, "not_finite": "z[0]", "at_step": 15, "slowdown": 0.5}, found
    rows = [[*line["train"].values(), *line["validation"].values()] for line in lines]
    return {**engine.gathered(snapshot(engine, progress)[0]), "history": torch.tensor(rows)}


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    shards.LEAST = 20  # so that layers as small as these are gathered one by one
    with joined("cpu") as ranks:
        for case in CASES:
            save_tensors(Path(sys.argv[1]) / f"{case}.{ranks.rank}.safetensors", trained(case, ranks))
