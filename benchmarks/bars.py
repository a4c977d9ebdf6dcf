"""The picture of docs/classical.md: bars, and what binary and spike-and-slab sparse coding make of them.

    python benchmarks/bars.py [docs/images/bars.png]

Pictures of 4 × 4 pixels, each the sum of a few of eight bars in noise; for spike and slab each bar has a height of its
own, of either sign. Prints the |correlation| of each bar with the column of W that is nearest to it.
"""

import sys
import time
from pathlib import Path

import matplotlib
import torch
from matplotlib import pyplot
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from worlds import bars, matched, split_of  # the test suite's own bars

from vael import VAE
from vael.inference import begin_at, em
from vael.models.classical import binary_sparse_coding, spike_slab_sparse_coding
from vael.posteriors import TruncatedPosterior

SIDE, ROWS, ON, NOISE = 4, 400, 0.25, 0.1
COUNT = 2 * SIDE


def found(model: VAE, x: Tensor, fields: Tensor) -> Tensor:
    """The columns of W after EM, each turned so that its bar is bright."""
    started = time.process_time()
    begin_at(model, split_of(x), starts=6, seed=0)
    history = em(model, split_of(x), steps=200)
    weight = model.likelihood.network.head.weight.detach().T
    nearest = matched(weight, fields)
    print(f"{type(model.posterior).__name__}: log p from {history[0]:.2f} to {history[-1]:.2f} nats per example")
    print(f"  |correlation| {nearest.min():.4f} at least, {time.process_time() - started:.0f} s")
    return weight * weight.sum(1, keepdim=True).sign()


def main(path: str) -> None:
    matplotlib.use("Agg")
    binary, fields = bars(SIDE, ROWS, ON, NOISE, 0)
    slab, _ = bars(SIDE, ROWS, ON, NOISE, 0, slab=True)
    truncated = TruncatedPosterior(COUNT, states=32)
    rows = {
        "binary data": binary[:COUNT],
        "columns of W": found(
            binary_sparse_coding(SIDE**2, COUNT, on=ON, posterior=truncated).double(), binary, fields
        ),
        "spike and slab data": slab[:COUNT],
        "columns of W ": found(spike_slab_sparse_coding(SIDE**2, COUNT, on=ON).double(), slab, fields),
    }
    figure, axes = pyplot.subplots(len(rows), COUNT, figsize=(7.2, 3.1))
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        size = float(pictures.abs().max())
        for place, picture in zip(line, pictures, strict=True):
            place.imshow(picture.reshape(SIDE, SIDE), cmap="RdBu_r", vmin=-size, vmax=size)
            place.set_xticks([]), place.set_yticks([])
        label = name.strip().replace(" data", "\ndata").replace(" of", "\nof")
        line[0].set_ylabel(label, rotation=0, ha="right", va="center")
    figure.tight_layout(pad=0.4)
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1] if len(sys.argv) > 1 else "docs/images/bars.png")
