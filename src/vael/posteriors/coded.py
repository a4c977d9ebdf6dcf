"""What posteriors that say one code have in common."""

from typing import ClassVar

from torch import Tensor, nn

from vael.distributions.codes import CodePoint, Codes
from vael.errors import RecipeError
from vael.posteriors.base import EncodedPosterior


class CodedPosterior(EncodedPosterior):
    """q(z|x): certain of one code for each place of z, whose vectors stand side by side.

    The mass of q is on one state, so KL(q‖p) = −log p(code), and with a prior over the codes

        ELBO(x) = log p(codes(x)) + log p(x|z(codes(x))) ≤ log p(x)

    is a bound of a true log p(x) = log Σ_codes p(codes) p(x|codes). More draws are the same draw.

    positions, codes, size, stages: Places of an encoded x, codes to choose from, numbers of each, and how many codes a
        position has, each for what those before it have left. codebook: Their vectors, `(stages, codes, size)`.
    """

    family = Codes
    certain: ClassVar[bool] = True
    positions: int
    codes: int
    size: int
    stages: int = 1
    codebook: Tensor

    def __init__(self, network: nn.Module | None = None) -> None:
        name = type(self).__name__
        for what in ("positions", "codes", "size", "stages"):
            value, least = getattr(self, what), 2 if what == "codes" else 1
            if not (isinstance(value, int) and value >= least):
                raise RecipeError(f"{name}: {what} must be a whole number of at least {least}, got {value!r}.")
        super().__init__(network, self.positions * self.stages * self.size)

    @property
    def path(self) -> str:
        return "straight"

    def width(self, latent: int) -> int:
        return latent // self.stages

    def needs(self) -> str:
        return f"needs {self.size} numbers for each of {self.positions} positions"

    def numbers_of(self, x: Tensor, given: Tensor | None = None, observed: Tensor | None = None) -> Tensor:
        """The numbers of the codes of x, `(B, positions · stages)`, a position's stages beside each other."""
        law = self(x, given, observed)
        assert isinstance(law, CodePoint)
        return law.numbers

    def begin(self, x: Tensor) -> None:
        """Start from training examples x `(N, *event)`, in an order of no meaning, before the first step."""
