"""Numbers that are often exactly zero: spike and slab, alone and given what was seen."""

from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution
from torch.nn.functional import logsigmoid
from torch.special import ndtr, ndtri
from torch.types import _size

from vael.distributions.diagonal_gaussian import LOG_2PI


class SpikeSlab(Distribution):
    """Independent z_j = s_j w_j with P(s_j = 1) = π_j = σ(logit_j) and w_j ~ N(0, 1), over the last axis.

        log p(z) = Σ_j log(1 − π_j) where z_j = 0, else log π_j + log N(z_j; 0, 1)

    A density with respect to a point mass at 0 plus length. The scale of the slab is the decoder's affair.

    Args:
        logits: Shape `(D,)`.
    """

    atomic = True  # what counts lengths alone, such as a Hamiltonian move or a grid, never sees the point mass

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 — torch's own declaration of it

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return torch.zeros_like(self.logits)

    @property
    def variance(self) -> Tensor:
        return torch.sigmoid(self.logits)

    def log_prob(self, value: Tensor) -> Tensor:
        slab = logsigmoid(self.logits) - 0.5 * (value.square() + LOG_2PI)
        return torch.where(value == 0, logsigmoid(-self.logits), slab).sum(-1)

    def from_noise(self, eps: Tensor) -> Tensor:
        """z `(K, ..., D)`: the upper share π of each normal number is the slab, stretched back to a whole normal."""
        share = ndtr(-eps) / torch.sigmoid(self.logits)  # uniform on (0, 1) where the spike is on
        limits = torch.finfo(eps.dtype)
        return torch.where(share < 1, -ndtri(share.clamp(limits.tiny, 1 - limits.eps)), 0.0)

    def rsample(self, sample_shape: _size = Size()) -> Tensor:  # noqa: B008 — torch's signature
        shape = Size(sample_shape) + self.logits.shape
        return self.from_noise(torch.randn(shape, dtype=self.logits.dtype, device=self.logits.device))


class SpikedGaussians(Distribution):
    """One Gaussian for each pattern of zeros: P(s) = softmax(logits)_s, z = s ∘ (loc_s + R_s ε).

    A density with respect to a point mass at 0 plus length in each component, like `SpikeSlab`.

    Args:
        patterns: The S patterns, zeros and ones, in the order of `Bits.every`, `(S, D)`.
        logits: Log of their weights up to a constant, `(S, B)`.
        loc: `(S, B, D)`, 0 where the pattern is.
        root: Lower triangular R_s, `(S, 1 or B, D, D)`, the identity where the pattern is 0.
    """

    atomic = True

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, patterns: Tensor, logits: Tensor, loc: Tensor, root: Tensor) -> None:
        self.patterns, self.log_weights, self.loc, self.root = patterns, logits.log_softmax(0), loc, root
        super().__init__(logits.shape[1:], patterns.shape[-1:], validate_args=False)

    @property
    def on(self) -> Tensor:
        """P(z_j ≠ 0), `(B, D)`."""
        return self.log_weights.exp().mT @ self.patterns

    @property
    def mean(self) -> Tensor:
        mean: Tensor = (self.log_weights.exp().unsqueeze(-1) * self.loc).sum(0)
        return mean

    @property
    def covariance(self) -> Tensor:
        """Σ_s P(s) (R_s R_sᵀ + loc_s loc_sᵀ) − mean meanᵀ over what is on, `(B, D, D)`."""
        weights, both = self.log_weights.exp(), self.patterns.unsqueeze(-1) * self.patterns.unsqueeze(-2)
        inner = (self.root @ self.root.mT) * both.unsqueeze(1)
        if inner.shape[1] == 1:
            spread: Tensor = (weights.mT @ inner[:, 0].flatten(1)).unflatten(-1, inner.shape[-2:])
        else:
            spread = torch.einsum("sb,sbij->bij", weights, inner)
        second = torch.einsum("sb,sbi,sbj->bij", weights, self.loc, self.loc)
        return spread + second - self.mean.unsqueeze(-1) * self.mean.unsqueeze(-2)

    @property
    def variance(self) -> Tensor:
        return self.covariance.diagonal(dim1=-2, dim2=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """log P(s) + log N(z_on; loc_on, (R Rᵀ)_on) for the pattern s that z has, nats, `(K, B)`."""
        value = value.expand(*value.shape[:-2], self.log_weights.shape[1], value.shape[-1])
        on = value != 0
        places = 2 ** torch.arange(on.shape[-1], device=on.device)
        number = (on * places).sum(-1)  # (K, B)
        log_weight, loc, root = self._of(number)
        white = torch.linalg.solve_triangular(root, (value - loc).unsqueeze(-1), upper=False).squeeze(-1)
        log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        log_prob: Tensor = (
            log_weight - 0.5 * white.square().sum(-1) - log_det - 0.5 * LOG_2PI * on.sum(-1, dtype=white.dtype)
        )
        return log_prob

    def from_noise(self, eps: Tensor) -> Tensor:
        """z `(K, B, D)` from standard normal `eps` of that shape: its first number says which pattern, by Φ.

        What Φ leaves of it within the pattern's share is uniform, and made normal again for the component itself.
        """
        weights, uniform = self.log_weights.exp(), ndtr(eps[..., 0])
        upto = weights.cumsum(0)
        number = (uniform.unsqueeze(0) > upto[:-1].unsqueeze(1)).sum(0)
        share = weights.gather(0, number)
        rest = (uniform - (upto.gather(0, number) - share)) / share
        least = torch.finfo(eps.dtype).eps
        first = ndtri(rest.clamp(least, 1 - least)).unsqueeze(-1)
        _, loc, root = self._of(number)
        z = loc + (root @ torch.cat([first, eps[..., 1:]], -1).unsqueeze(-1)).squeeze(-1)
        drawn: Tensor = z * self.patterns[number]
        return drawn

    def _of(self, number: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(log P, loc, root) of the patterns numbered `(K, B)`."""
        example = torch.arange(number.shape[-1], device=number.device)
        own = example if self.root.shape[1] > 1 else torch.zeros_like(example)
        return self.log_weights.gather(0, number), self.loc[number, example], self.root[number, own]

    def rsample(self, sample_shape: _size = Size()) -> Tensor:  # noqa: B008
        shape = Size(sample_shape) + self.batch_shape + self.event_shape
        return self.from_noise(torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device))
