"""Zeros and ones."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor
from torch.autograd import Function
from torch.distributions import Bernoulli as BernoulliLaw
from torch.nn.functional import binary_cross_entropy_with_logits

from vael.data.schema import Field, View
from vael.likelihoods.base import Likelihood, masked_mean
from vael.likelihoods.cross_entropy import CrossEntropy


class _Score(Function):
    """Σ_f x_f l_f − softplus(l_f) over the last axis: logits l `(K, B, F)`, x `(B, F)` → `(K, B)`.

    Its gradient by l is x − σ(l), and the forward pass keeps nothing but l: two passes over the pixels instead of the
    ten of the formula left to autograd. 1 + e^−|l| is rounded before its logarithm is taken, an absolute error of half
    a unit in the last place of 1 for each feature, below that of the sum.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, x: Tensor) -> Tensor:
        soft = logits.abs().neg_().exp_().add_(1).log_().add_(torch.relu(logits))
        return (logits * x - soft).sum(-1)  # addcmul would be one pass less, and cannot be batched

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        logits, x = ctx.saved_tensors
        by_x = (weight.unsqueeze(-1) * logits).sum(0) if ctx.needs_input_grad[1] else None
        return (x - torch.sigmoid(logits)).mul_(weight.unsqueeze(-1)), by_x


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

    def log_prob(self, x: Tensor, z: Tensor, given: Tensor | None = None, observed: Tensor | None = None) -> Tensor:
        if observed is not None or not torch.is_grad_enabled() or not self.is_plain:
            return super().log_prob(x, z, given, observed)
        self.check(x)
        logits = self.parameters_of(z, given).squeeze(-1 - self.rank)
        flat = logits.flatten(-self.rank) if self.rank > 1 else logits
        score: Tensor = _Score.apply(flat, x.flatten(1))  # type: ignore[no-untyped-call]
        return score

    def draw(self, law: Any, generator: Generator | None) -> Tensor:
        return torch.bernoulli(law.probs, generator=generator)

    @property
    def is_plain(self) -> bool:
        """Whether the law is one of this file, and not that of a subclass, which may be another of the same logits."""
        return type(self).__module__ == __name__

    def scorer(self, x: Tensor, given: Tensor | None, observed: Tensor | None) -> Callable[[Tensor], Tensor]:
        if not self.is_plain or given is not None:
            return super().scorer(x, given, observed)

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
