"""log p(x) by quadrature over a grid of z, for one to three latents."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vael.data.batch import Batch
from vael.data.dataset import Split
from vael.errors import RecipeError
from vael.evidence.annealed import Start, in_pieces
from vael.evidence.estimate import LARGEST_CHUNK, Estimate, check_count
from vael.inference.path import path_to_posterior
from vael.models.vae import VAE

MOST_LATENTS = 3
SURE = 1e-4  # nats: a refinement that moves no example by more is taken for the end of it
REACH = 12.0  # widths to either side, for even nodes: N(0, 1) has 10^-32 of its mass outside

Rule = Literal["hermite", "trapezoid"]


@dataclass(frozen=True)
class Quadrature:
    """log p(x) as a weighted sum over a fixed grid of z.

        p(x) = ∫ N(z; m, diag s²) g(z) dz ≈ Σ_n w_n g(m + s t_n),    g = p(x, z) / N(z; m, diag s²)

    "hermite" has the Gauss–Hermite nodes t and weights w of N(0, 1): exact for g a polynomial of degree 2 nodes − 1,
    best for a posterior shaped like N(m, s²). "trapezoid" has even nodes on −12 … 12: for a posterior much narrower
    than s, or of several modes, where Hermite nodes lie too far apart. What is given as the Monte Carlo error is the
    change from a rule of two thirds as many nodes; the value is called exact where that is below 10⁻⁴ nats for all.

    nodes: For each of the 1–3 latents. around: m and s of the "prior" (0 and 1), or of the "encoder".
    Raises RecipeError for more than three latents.
    Source: Liu & Pierce 1994, A note on Gauss–Hermite quadrature; Trefethen & Weideman 2014, The exponentially
    convergent trapezoidal rule.
    """

    nodes: int = 64
    around: Start = "encoder"
    rule: Rule = "hermite"
    chunk: int = LARGEST_CHUNK

    def __post_init__(self) -> None:
        check_count("Quadrature", nodes=self.nodes)
        if self.around not in ("prior", "encoder"):
            raise RecipeError(f"Quadrature: around must be prior or encoder, got {self.around!r}.")
        if self.rule not in RULES:
            raise RecipeError(f"Quadrature: rule must be one of {', '.join(RULES)}, got {self.rule!r}.")

    def __call__(self, model: VAE, split: Split, *, seed: int = 0) -> Estimate:
        if model.latent > MOST_LATENTS:
            raise RecipeError(
                f"Quadrature: {self.nodes}^{model.latent} nodes for {model.latent} latents are too many; it is for at "
                f"most {MOST_LATENTS}.\n  Use method annealed or importance."
            )

        def of_some(batch: Batch, examples: list[int]) -> Estimate:
            fine = self.integral(model, batch, self.nodes)
            coarse = self.integral(model, batch, max(1, 2 * self.nodes // 3))
            return Estimate(fine, (fine - coarse).abs(), None, self.nodes, "quadrature", "exact")

        found = in_pieces(model, split, self.nodes**model.latent, self.chunk, of_some)
        sure = bool((found.monte_carlo_error < SURE).all())
        return found if sure else replace(found, bound="estimate")

    def integral(self, model: VAE, batch: Batch, nodes: int) -> Tensor:
        """log p(x) by a rule of `nodes` for each latent, `(B,)` float64."""
        path = path_to_posterior(model, batch, start=self.around)
        law = (
            model.prior(batch.given)
            if self.around == "prior"
            else model.posterior(batch.x, batch.given, batch.observed)
        )
        loc, scale = law.mean.to(path.start_width) * torch.ones_like(path.start_width), path.start_width
        line, weight = RULES[self.rule](nodes)
        grid = torch.cartesian_prod(*[line] * model.latent).reshape(-1, model.latent)  # (M, D)
        log_weight = torch.cartesian_prod(*[weight] * model.latent).reshape(-1, model.latent).log().sum(-1)
        normal = -0.5 * (grid.square().sum(-1) + model.latent * math.log(2 * math.pi))
        total = torch.full((len(batch),), -math.inf, dtype=torch.float64)
        size = max(1, self.chunk // (len(batch) * max(model.likelihood.dims, model.latent)))
        for some, weight in zip(grid.split(size), (log_weight - normal).split(size), strict=True):
            with torch.no_grad():
                joint = model.log_joint(batch, loc + scale * some.to(loc)[:, None]).to("cpu", torch.float64)  # (m, B)
            total = torch.logaddexp(total, (joint + weight[:, None]).logsumexp(0))
        return total + scale.to("cpu", torch.float64).log().sum(-1)


def hermite(nodes: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights for means under N(0, 1), float64; those whose weight is below any float are left out.

    Golub & Welsch 1969: eigenvalues of the recurrence of the orthonormal Hermite polynomials, T_{n,n+1} = √n; unlike
    power series they stay exact for thousands of nodes.
    """
    off = np.sqrt(np.arange(1, nodes))
    values, vectors = np.linalg.eigh(np.diag(off, 1) + np.diag(off, -1))
    weight = np.square(vectors[0])
    kept = weight > 0
    return torch.from_numpy(values[kept]), torch.from_numpy(weight[kept])


def trapezoid(nodes: int) -> tuple[Tensor, Tensor]:
    """Even nodes on −REACH … REACH, and N(0, 1) times their distance as weights, float64."""
    line = torch.linspace(-REACH, REACH, max(nodes, 2), dtype=torch.float64)
    return line, torch.exp(-0.5 * line.square()) / math.sqrt(2 * math.pi) * (line[1] - line[0])


RULES = {"hermite": hermite, "trapezoid": trapezoid}
