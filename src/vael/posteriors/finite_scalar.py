"""An encoder whose every output is rounded to one of a few levels."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from vael.distributions.codes import CodePoint
from vael.errors import RecipeError
from vael.posteriors.coded import CodedPosterior


class FiniteScalarPosterior(CodedPosterior):
    """Each number of e = network(x) is bounded and rounded to the nearest of L levels: a codebook that is a grid.

        y = L/2 · tanh(e),   k = ⌊y + L/2⌋,   z = (2k − L + 1) / (L − 1)         ∂z/∂y = 2/(L − 1), straight through

    z lies in [−1, 1], evenly spaced. Nothing is learned but the encoder, no code can die for long, and nothing is
    penalised. All L cells of y are equally wide; in the paper those at both ends are half as wide.

    Args:
        network: x `(B, *event)` → `(B, P · W)`, W numbers for each position.
        positions: P.
        levels: L of each of the W numbers of a position, at least 2; their product is how many codes there are.

    Raises RecipeError for a level below 2.
    Source: Mentzer et al. 2023, Finite scalar quantization: VQ-VAE made simple (arXiv 2309.15505).
    """

    steps: Tensor

    def __init__(
        self, network: nn.Module | None = None, *, positions: int, levels: Sequence[int] = (8, 5, 5, 5)
    ) -> None:
        if not levels or not all(isinstance(level, int) and level >= 2 for level in levels):
            raise RecipeError(f"FiniteScalarPosterior: levels must be whole numbers of at least 2, got {list(levels)}.")
        self.positions, self.levels = positions, list(levels)
        self.codes, self.size = prod(levels), len(levels)
        super().__init__(network)
        steps = torch.tensor([prod(levels[:place]) for place in range(len(levels))])
        counts = torch.tensor(levels)
        digits = torch.arange(self.codes)[:, None] // steps % counts
        self.register_buffer("codebook", ((2 * digits + 1 - counts) / (counts - 1)).unsqueeze(0), persistent=False)
        self.register_buffer("counts", counts.to(torch.get_default_dtype()), persistent=False)
        self.register_buffer("steps", steps, persistent=False)

    counts: Tensor

    def law(self, outputs: Tensor) -> CodePoint:
        half = self.counts / 2
        y = half * torch.tanh(outputs.unflatten(-1, (self.positions, self.size)))
        with torch.no_grad():
            digits = torch.minimum(torch.floor(y + half).clamp_min(0), self.counts - 1)
            numbers = (digits.long() * self.steps).sum(-1)
        z = self.codebook[0][numbers] + (y - y.detach()) * 2 / (self.counts - 1)
        return CodePoint(self.codebook, numbers, z.flatten(-2))
