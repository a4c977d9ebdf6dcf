"""A prior over the codes of a quantised posterior."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from zuko.nn import MaskedMLP

from vael.distributions.codes import Codes, CodeSequence
from vael.errors import RecipeError
from vael.priors.base import Prior


class CodesPrior(Prior):
    """p(z) = Π_t P(code_t | code_1 … code_{t−1}) over T = positions · stages places, with the posterior's code vectors.

    The codebook is the posterior's own, at every moment; this learns how often its codes come, and after which others.
    A density takes one pass through the network, a draw one for each place.

    Args:
        positions: Of the posterior. codes: C. size: W, numbers of a code. stages: Codes of each position.
        hidden: Widths of the masked network that looks at the codes before; none for places that are independent.

    Raises RecipeError for a posterior that has other codes, or none.
    Source: van den Oord, Vinyals & Kavukcuoglu 2017, section 3.3 (arXiv 1711.00937), there learned after the rest;
        Germain et al. 2015, MADE, for the network (arXiv 1502.03509).
    """

    family = Codes

    def __init__(
        self, positions: int, codes: int = 64, size: int = 2, *, stages: int = 1, hidden: Sequence[int] = (128,)
    ) -> None:
        super().__init__()
        for what, value in {"positions": positions, "codes": codes, "size": size, "stages": stages}.items():
            least = 2 if what == "codes" else 1
            if not (isinstance(value, int) and value >= least):
                raise RecipeError(f"CodesPrior: {what} must be a whole number of at least {least}, got {value!r}.")
        self.positions, self.codes, self.size, self.stages, self.hidden = positions, codes, size, stages, list(hidden)
        self.places = positions * stages
        self.latent = self.places * size
        self.logits = nn.Parameter(torch.zeros(self.places, codes))
        self.network = self.masked() if self.hidden and self.places > 1 else None
        self.neighbours: tuple[nn.Module, ...] = ()

    def masked(self) -> MaskedMLP:
        """The network of all places, each of which sees those before it, and a one that all may see."""
        earlier = torch.ones(self.places, self.places).tril(-1).repeat_interleave(self.codes, 1)
        seen = torch.cat([earlier, torch.ones(self.places, 1)], -1).bool().repeat_interleave(self.codes, 0)
        return MaskedMLP(seen, self.hidden, activation=nn.ELU)

    def bind(self, posterior: nn.Module, likelihood: nn.Module) -> None:
        wanted = ("positions", "codes", "size", "stages")
        if not hasattr(posterior, "codebook"):
            raise RecipeError(
                f"CodesPrior: is a law of a posterior's codes, and {type(posterior).__name__} has none.\n"
                f"  Use posterior quantized or finite_scalar."
            )
        mine, theirs = ([getattr(part, what) for what in wanted] for part in (self, posterior))
        if mine != theirs:
            raise RecipeError(
                f"CodesPrior: {', '.join(wanted)} are {mine}, those of {type(posterior).__name__} {theirs}."
            )
        # A tuple: a module set as an attribute would become one of this prior's own.
        self.neighbours = (posterior,)

    def begin(self, x: Tensor) -> None:
        """Hand the examples on to the posterior, whose codes begin there."""
        for posterior in self.neighbours:
            posterior.begin(x)  # type: ignore[operator]

    def conditionals(self, ones: Tensor) -> Tensor:
        """Logits of every place's code `(..., T, C)`, from zeros with a one for the codes before it `(..., T, C)`."""
        if self.network is None:
            return self.logits
        flat = ones.flatten(-2)
        out: Tensor = self.network(torch.cat([flat, torch.ones_like(flat[..., :1])], -1))
        logits: Tensor = self.logits + out.unflatten(-1, (self.places, self.codes))
        return logits

    def forward(self, given: Tensor | None = None) -> CodeSequence:
        if not self.neighbours:
            raise RecipeError(
                f"CodesPrior: is a law of a posterior's codes, and belongs to no model yet.\n"
                f"  Give it to a VAE: VAE(CodesPrior({self.positions}), likelihood, posterior)."
            )
        codebook: Tensor = self.neighbours[0].codebook  # type: ignore[assignment]
        return CodeSequence(codebook, self.places, self.conditionals, in_turn=self.network is not None)
