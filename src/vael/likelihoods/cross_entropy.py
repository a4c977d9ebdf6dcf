"""The score of zeros and ones, or of grey values, under logits: in few passes over them, and without gradients."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vael.networks.mlp import MLP

LEAST = -80.0  # of a signed logit: σ of less than −87 is no normal number of float32


class CrossEntropy:
    """z `(K, 1 or B, D)` → Σ_f x_f log σ(l_f) + (1 − x_f) log σ(−l_f) for x `(B, F)`, nats, `(K, B)`.

    Zeros and ones are scored by Σ_f log σ(s_f), s = (2x − 1) l, of which no term is larger than the sum. (Splitting
    off Σ_f x_f l_f = h · Wᵀx + b · x saves little beside it, and leaves two sums of thousands of nats to subtract,
    which costs float32 the fourth decimal.) Where the decoder ends in a linear layer, its bias joins the multiplication
    by 2x − 1, and its product is written over again and again. With the products of a decoder of 400 hidden units for
    784 features as 1, decoding and scoring took 1.38; with softplus of (1 − 2x) l 1.48, by torch's formula 1.69.

    Args:
        logits: z → l `(K, 1 or B, F)`.
        network: The decoder behind it; an MLP is taken apart.
        x: `(B, F)` in [0, 1].
        observed: `(B, F)` booleans; hidden features are left out of the sum.
    """

    def __init__(
        self, logits: Callable[[Tensor], Tensor], network: nn.Module | None, x: Tensor, observed: Tensor | None
    ) -> None:
        self.x = x if observed is None else torch.where(observed, x, torch.zeros_like(x))
        self.logits, self.observed, self.sign = logits, observed, 2 * self.x - 1
        self.whole = bool(((self.x == 0) | (self.x == 1)).all())
        apart = self.whole and is_plain(network) and not torch.is_autocast_enabled(x.device.type)
        self.network = network if apart and isinstance(network, MLP) else None
        if self.network is not None:
            self.bias = self.sign * self.network.head.bias
        self.kept: Tensor | None = None

    def __call__(self, z: Tensor) -> Tensor:
        """Whoever has the network keep its output may go on doing so: it is not written to."""
        if not self.whole:
            return cross_entropy(self._seen(self.logits(z), -LEAST * self.sign), self.x)
        signed = self._seen(self._signed(z), torch.full_like(self.x, -LEAST))
        if not signed.amin() >= LEAST:
            return cross_entropy(signed * self.sign, self.x)
        return signed.sigmoid_().log_().sum(-1)

    def _signed(self, z: Tensor) -> Tensor:
        """(2x − 1) l, `(K, B, F)`, which may be written to."""
        if self.network is None:
            return self.logits(z) * self.sign
        hidden = self.network.body(z)
        product = self._product(hidden.flatten(0, 1), self.network.head.weight).unflatten(0, hidden.shape[:2])
        ours = product if product.shape[1] == len(self.x) else None
        return torch.addcmul(self.bias, product, self.sign, out=ours)

    def _product(self, hidden: Tensor, weight: Tensor) -> Tensor:
        """hidden Wᵀ in memory that is used again: fresh pages cost as much as a kernel."""
        if self.kept is None or len(self.kept) < len(hidden):
            self.kept = hidden.new_empty(len(hidden), len(weight))
        return torch.mm(hidden, weight.T, out=self.kept[: len(hidden)])

    def _seen(self, values: Tensor, certain: Tensor) -> Tensor:
        """`values`, and where a feature is hidden what leaves it with probability one; e⁻⁸⁰ is nothing beside 1."""
        return values if self.observed is None else torch.where(self.observed, values, certain)


def is_plain(network: nn.Module | None) -> bool:
    """Whether a network is an MLP and no more: a subclass, another head or a hook may change what its parts give."""
    if type(network) is not MLP or network.past is not None or type(network.head) is not nn.Linear:
        return False
    return not any(part._forward_pre_hooks or part._forward_hooks for part in (network, network.head))


def cross_entropy(logits: Tensor, x: Tensor) -> Tensor:
    """Σ_f log σ(|l_f|) − [max(l_f, 0) − x_f l_f] for any x `(B, F)` in [0, 1], logits `(K, 1 or B, F)`; nats, `(K, B)`.

    Both terms are as small as the score, and σ(|l|) ≥ ½, so nothing cancels and nothing underflows.
    """
    missed = torch.addcmul(logits.clamp(min=0), logits, x, value=-1).sum(-1)
    return logits.abs().sigmoid_().log_().sum(-1) - missed
