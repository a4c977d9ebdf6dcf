"""Real numbers with normal noise, whose scale is fixed, learned, predicted or solved for."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Generator, Tensor, nn
from torch.distributions import Normal

from vael.data.schema import Field, Kind, View
from vael.distributions.cells import log_interval
from vael.errors import RecipeError
from vael.likelihoods.base import masked_mean
from vael.likelihoods.continuous import Continuous, needs_a_line

Scale = Literal["shared", "per_feature", "per_example", "optimal"]

# Adam moves any parameter by about a learning rate a step, and a scale has to fall by whole factors of e while every
# weight moves by a little: held as a tenth of its logarithm, it keeps up with the errors that it measures.
QUICKER = 10.0


class Gaussian(Continuous):
    """Real features with independent normal noise.

        p(x_f|z) = N(x_f; loc_f(z), scale²),        loc = network(z)

    Args:
        network: z → loc; for scale="per_example" z → (loc, log scale), twice the outputs.
        scale: A number, fixed; "shared", one learned number; "per_feature", learned for each feature;
            "per_example", predicted from z for each feature; "optimal", the root mean squared error in closed form
            (Rybkin et al. 2021, σ-VAE, eq. 5; arXiv 2006.13202): of the batch while training, its running mean after.
        step: Width of a grid cell in the units of x, one number or one per feature; 0 for continuous features.
        floor: Least learned scale of a continuous feature, in the units of x. On a grid it is half a step.
        event_shape: Shape of one x; from the network's outputs where it has them.
    """

    view: ClassVar[View] = "standard"
    candidate_for: ClassVar[tuple[Kind, ...]] = ("real", "unit", "positive")
    slow_scale: nn.Parameter
    mean_square: Tensor
    batches: Tensor

    def __init__(
        self,
        network: nn.Module | None = None,
        *,
        scale: float | Scale = "per_feature",
        step: float | Sequence[float] = 0.0,
        floor: float = 1e-3,
        event_shape: int | Sequence[int] | None = None,
    ) -> None:
        if isinstance(scale, str) and scale not in ("shared", "per_feature", "per_example", "optimal"):
            raise RecipeError(
                f"Gaussian: scale must be a number, shared, per_feature, per_example or optimal, got {scale!r}."
            )
        if not isinstance(scale, str) and not scale > 0:
            raise RecipeError(f"Gaussian: a fixed scale must be above 0, got {scale}.")
        self.scale = scale
        super().__init__(network, step=step, floor=floor, event_shape=event_shape)
        self._make_scale()

    def _make_scale(self) -> None:
        if self.scale == "optimal":
            self.register_buffer("mean_square", torch.tensor(1.0))
            self.register_buffer("batches", torch.tensor(0.0))
        elif self.scale in ("shared", "per_feature"):
            shape = self.event_shape if self.scale == "per_feature" else ()
            self.slow_scale = nn.Parameter(torch.zeros(shape))

    @property
    def log_scale(self) -> Tensor:
        """Log of the learned scale that does not depend on z, shape `()` or `(*event)`."""
        return QUICKER * self.slow_scale

    @property
    def joins_examples(self) -> bool:
        """Whether an example's density depends in training on the others of its batch."""
        return self.scale == "optimal"

    def width(self) -> int:
        return 2 if self.scale == "per_example" else 1

    def density(self, parameters: Tensor) -> Normal:
        """(loc[, log scale]) `(..., P, *event)` → normal of batch shape `(..., *event)`."""
        axis = -1 - self.rank
        loc, *predicted = parameters.unbind(axis)
        return self._law(loc, self._learned_scale(loc, predicted[0] if predicted else None))

    def _law(self, loc: Tensor, scale: Tensor) -> Normal:
        return Normal(loc, scale.expand(loc.shape), validate_args=False)

    def log_mass(self, law: Any, value: Tensor, step: Tensor) -> Tensor:
        """Φ((x + step/2 − loc)/scale) − Φ((x − step/2 − loc)/scale), in logs."""
        return log_interval((value - law.loc) / law.scale, step / law.scale)

    def _learned_scale(self, loc: Tensor, predicted: Tensor | None) -> Tensor:
        if not isinstance(self.scale, str):
            return torch.full((), float(self.scale), dtype=loc.dtype, device=loc.device)
        floor = self._floor.to(loc.dtype)
        if self.scale == "optimal":
            return torch.maximum(self.mean_square.sqrt().to(loc.dtype), floor)
        return self.floored(self.log_scale if predicted is None else predicted)

    def noise_scale(self, like: Tensor) -> Tensor:
        """The scale where it does not depend on z, in the type of `like`: shape `()` or `(*event)`."""
        if self.scale == "per_example":
            raise RecipeError("Gaussian: scale='per_example' depends on z and has no single value.")
        return self._learned_scale(like, None)

    def log_prob_parts(
        self, x: Tensor, z: Tensor, given: Tensor | None = None, observed: Tensor | None = None
    ) -> Tensor:
        if self.scale == "optimal" and self.training:
            return self._parts_at_optimum(x, z, given, observed)
        return super().log_prob_parts(x, z, given, observed)

    def _parts_at_optimum(self, x: Tensor, z: Tensor, given: Tensor | None, observed: Tensor | None) -> Tensor:
        """Parts `(K, B, F)` under this batch's own mean squared error, which the running mean then learns of."""
        self.check(x)
        law: Any = self(z, given)
        squares = (x - law.mean).detach().square()
        seen = torch.ones_like(x) if observed is None else observed.reshape(x.shape).to(x.dtype)
        error = (squares * seen).sum() / (len(squares) * torch.clamp(seen.sum(), min=1))
        with torch.no_grad():
            self.batches += 1
            weight = torch.clamp(1 / self.batches, min=0.01)  # a plain mean at first, then the last 100 batches
            self.mean_square += weight * (error - self.mean_square)
        normal = self._law(law.mean, torch.maximum(error.sqrt(), self._floor.to(error.dtype)))
        parts: Tensor = self.on_cells(normal).log_prob(x)
        return parts.flatten(-self.rank)

    def draw_density(self, law: Any, generator: Generator | None) -> Tensor:
        eps = torch.empty_like(law.mean).normal_(generator=generator)
        return torch.addcmul(law.mean, law.scale, eps)

    def marginal(self, x: Tensor, observed: Tensor) -> Tensor:
        """The mean of each feature, and its deviation as the scale to begin with."""
        mean = masked_mean(x, observed)
        variance = masked_mean((x - mean).square(), observed)
        floor = self._floor.to(x.dtype).expand(self.event_shape)
        log_scale = torch.log(torch.clamp(variance.sqrt() - floor, min=1e-2))
        if self.scale == "per_example":
            return torch.stack([mean, log_scale])
        with torch.no_grad():
            if self.scale == "shared":
                log_scale = torch.log(torch.clamp(variance.mean().sqrt() - floor.max(), min=1e-2))
            if self.scale in ("shared", "per_feature"):
                self.slow_scale.copy_(log_scale / QUICKER)
        return mean.unsqueeze(0)

    @classmethod
    def view_for(cls, field: Field) -> View:
        """Pictures in [0, 1], so that a scale is the σ of the literature; other numbers standardised."""
        return "unit" if field.kind == "image" else super().view_for(field)

    @classmethod
    def refusal(cls, field: Field) -> str | None:
        return needs_a_line(cls, field)
