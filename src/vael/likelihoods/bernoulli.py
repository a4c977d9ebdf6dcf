"""Zeros and ones."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor
from torch.distributions import Bernoulli as BernoulliLaw
from torch.nn.functional import binary_cross_entropy_with_logits

from vael.data.schema import Field, View
from vael.likelihoods.base import Likelihood, masked_mean
from vael.likelihoods.cross_entropy import CrossEntropy


class Bernoulli(Likelihood):
    """Features that are 0 or 1, with probability σ(logit).

        log p(x|z) = Σ_f x_f log σ(l_f) + (1 − x_f) log σ(−l_f),    l = network(z)

    Grey pictures are turned into zeros and ones first (the schema's binarisation); grey values themselves have no
    Bernoulli density, see `GreyBernoulli`.
    """

    view: ClassVar[View] = "binary"

    def distribution(self, parameters: Tensor) -> BernoulliLaw:
        """Logits `(..., 1, *event)` → Bernoulli of batch shape `(..., *event)`."""
        return BernoulliLaw(logits=parameters.squeeze(-1 - self.rank), validate_args=False)

    def draw(self, law: Any, generator: Generator | None) -> Tensor:
        return torch.bernoulli(law.probs, generator=generator)

    def scorer(self, x: Tensor, given: Tensor | None, observed: Tensor | None) -> Callable[[Tensor], Tensor]:
        def logits(z: Tensor) -> Tensor:
            return self.parameters_of(z, given).flatten(-1 - self.rank)

        return CrossEntropy(logits, self.network, x.flatten(1), observed)

    def marginal(self, x: Tensor, observed: Tensor) -> Tensor:
        """Logits of the mean, kept within [0.001, 0.999] so that a rare one can still be learned."""
        return torch.logit(masked_mean(x, observed), eps=1e-3).unsqueeze(0)

    @classmethod
    def refusal(cls, field: Field) -> str | None:
        return (
            None
            if field.kind in ("binary", "image")
            else "Bernoulli needs zeros and ones, or grey pictures to binarise"
        )


class GreyLaw(BernoulliLaw):
    """The Bernoulli score of grey values in [0, 1]: cross entropy, which is no log-density of them."""

    def log_prob(self, value: Tensor) -> Tensor:
        logits, value = torch.broadcast_tensors(self.logits, value)
        return -binary_cross_entropy_with_logits(logits, value, reduction="none")


class GreyBernoulli(Bernoulli):
    """Grey values in [0, 1] scored by cross entropy, as many published MNIST figures are.

        score(x|z) = Σ_f x_f log σ(l_f) + (1 − x_f) log σ(−l_f),    0 ≤ x_f ≤ 1

    It does not integrate to one over [0, 1] (to 0.364 for a mean of 0.1), so there is no log p(x): evidence and
    bits/dim are null, and the score compares only with itself. A draw is its mean.
    """

    view: ClassVar[View] = "unit"

    def has_density(self) -> bool:
        return False

    def distribution(self, parameters: Tensor) -> GreyLaw:
        return GreyLaw(logits=parameters.squeeze(-1 - self.rank), validate_args=False)

    def draw(self, law: Any, generator: Generator | None) -> Tensor:
        mean: Tensor = law.probs
        return mean

    @classmethod
    def refusal(cls, field: Field) -> str | None:
        return None if field.kind in ("binary", "image", "unit") else "grey_bernoulli needs values between 0 and 1"
