"""Real numbers with heavy tails."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.distributions import Distribution
from torch.distributions import StudentT as StudentTLaw

from vael.data.schema import Field, Kind, View
from vael.likelihoods.continuous import Continuous, needs_a_line


class StudentT(Continuous):
    """Real features with Student-t noise: outliers cost the logarithm of their distance, not its square.

        p(x_f|z) = t_ν((x_f − loc) / scale) / scale,    (loc, log scale) = network(z),    ν_f = 2 + exp(a_f) learned

    ν stays above 2, so that a mean and a variance exist; Gaussian in the limit of large ν. On a grid a cell's mass is
    the density's integral by quadrature.

    Arguments: those of `Continuous`; the network gives twice as many outputs as x has features.

    Source: for VAEs, Takahashi et al. 2018 (IJCAI, Student-t variational autoencoder).
    """

    parameters_per_feature = 2
    view: ClassVar[View] = "standard"
    candidate_for: ClassVar[tuple[Kind, ...]] = ("real", "positive")

    def __init__(
        self,
        network: nn.Module | None = None,
        *,
        step: float | Sequence[float] = 0.0,
        floor: float = 1e-3,
        event_shape: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__(network, step=step, floor=floor, event_shape=event_shape)
        self.log_excess = nn.Parameter(torch.full(self.event_shape, 1.0))

    def density(self, parameters: Tensor) -> StudentTLaw:
        """(loc, log scale) `(..., 2, *event)` → Student-t of batch shape `(..., *event)`."""
        loc, log_scale = parameters.unbind(-1 - len(self.event_shape))
        freedom = 2 + torch.clamp(self.log_excess, -7.0, 7.0).exp()  # above e⁷ a Gaussian to float32
        return Unchecked(freedom.expand(loc.shape), loc, self.floored(log_scale))

    def draw_density(self, law: Any, generator: Generator | None) -> Tensor:
        """A normal draw divided by the root of a χ²/ν one."""
        normal = torch.empty_like(law.loc).normal_(generator=generator)
        chi_square = 2 * torch._standard_gamma((law.df / 2).contiguous(), generator=generator)
        drawn: Tensor = law.loc + law.scale * normal * torch.sqrt(law.df / chi_square)
        return drawn

    @classmethod
    def refusal(cls, field: Field) -> str | None:
        return needs_a_line(cls, field)


class Unchecked(StudentTLaw):
    """torch's law without the χ² that its constructor makes for drawing, and checks by looking at every value."""

    def __init__(self, df: Tensor, loc: Tensor, scale: Tensor) -> None:
        self.df, self.loc, self.scale = torch.broadcast_tensors(df, loc, scale)
        Distribution.__init__(self, self.loc.shape, validate_args=False)
