"""Start-up: from an empty process to help, to an import, to the first step of a model."""

import subprocess
import sys
import tempfile
from collections.abc import Callable

from harness import LeftOut, Piece, Row, Watch, peak_memory

FIRST_STEP = """
import torch
from vael import ELBO, VAE, Training
from vael.data import Split
from vael.likelihoods import Bernoulli
from vael.networks import MLP
from vael.posteriors import GaussianPosterior
from vael.priors import GaussianPrior
from vael.training import Engine

x = torch.randint(0, 2, (1000, 64), dtype=torch.uint8)
split = Split(x, torch.arange(1000), torch.zeros(1000, dtype=torch.float64))
model = VAE(GaussianPrior(4), Bernoulli(MLP(4, [32], 64)), GaussianPosterior(MLP(64, [32], 8)))
Engine(model, ELBO(), split, Training(steps=1), seed=0).advance()
"""
PLAIN_STEP = """
import torch
from torch import nn

x = torch.randint(0, 2, (1000, 64)).float()[:128]
encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8))
decoder = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 64))
optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], fused=True)
loc, log_scale = encoder(x).chunk(2, -1)
logits = decoder(loc + log_scale.exp() * torch.randn(128, 4))
score = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
((score + 0.5 * (loc.square() + (2 * log_scale).exp() - 1 - 2 * log_scale).sum()) / 128).backward()
optimizer.step()
"""


def process(*arguments: str) -> Callable[[int], dict[str, float]]:
    """A job that starts Python with `arguments`, waits for its end, and does so `count` times after once unwatched."""

    def job(count: int) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:

            def once() -> None:
                done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True)
                if done.returncode:
                    said = done.stderr.strip().splitlines()
                    raise LeftOut(f"failed: {said[-1] if said else done.returncode}")

            once()  # files into the page cache, bytecode into its
            watch = Watch(children=True)
            for _ in range(count):
                once()
            return {**watch.read(), "peak": peak_memory(children=True)}

    return job


def code(text: str) -> Callable[[int], dict[str, float]]:
    return process("-c", text)


STARTUP = Piece(
    name="startup",
    title="Start-up",
    work="Whole processes, from start to exit, warm page cache. `import vael` alone waits with torch until a word "
    "of it is asked for, so the import with its words is `import vael; vael.VAE, vael.fit`.",
    rows=(
        Row("python", code("pass"), "Python itself", ()),
        Row("help", process("-m", "vael", "--help"), "`--help`: the list of verbs", ("vael",)),
        Row("fit, help", process("-m", "vael", "fit", "--help"), "`--help` of one verb: its options", ("vael",)),
        Row("import torch", code("import torch"), "torch alone"),
        Row("import vael", code("import vael"), "the package, no word of it used", ("vael",)),
        Row("vael.VAE", code("import vael; vael.VAE, vael.fit"), "`import vael; vael.VAE, vael.fit`", ("vael",)),
        Row("import pythae", code("import pythae.models, pythae.trainers"), "its models and trainers", ("pythae",)),
        Row("import lightning", code("import lightning.pytorch"), "its Trainer", ("lightning",)),
        Row("first step", code(PLAIN_STEP), "torch, a model, one update"),
        Row("vael, first step", code(FIRST_STEP), "vael, the same model, one update", ("vael",)),
    ),
    count=1,
    scale=1.0,
    unit="s",
    beside=("import torch",),
)
