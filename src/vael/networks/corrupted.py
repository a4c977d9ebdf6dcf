"""An encoder that is trained on x with noise on it, and used on x itself."""

import torch
from torch import Tensor, nn

from vael.errors import RecipeError


class Corrupted(nn.Module):
    """A network that in training sees x with some features replaced and noise added: a denoising autoencoder's encoder.

        x̃_f = blank with probability `mask`, else x_f + noise · ε_f,    ε_f ~ N(0, 1)

    The likelihood scores x itself. Everywhere but in a step of training x is seen as it is. The noise is a function of
    the run's seed and the step. Under a posterior with a density the objective is then E[log p(x|z) + log p(z)
    − log q(z|x̃)], a bound of log p(x) for q̃(z|x) = E q(z|x̃) and a looser one than without noise (Im et al. 2017).

    Args:
        network: What sees x̃.
        mask: Share of the features that are replaced, 0 … 1. blank: By what, in the units of x.
        noise: Standard deviation of what is added, in the units of x, at least 0.

    Source: Vincent et al. 2008, Extracting and composing robust features with denoising autoencoders (ICML); Im et al.
        2017, Denoising criterion for variational auto-encoding framework (arXiv 1511.06406).
    """

    def __init__(self, network: nn.Module, *, mask: float = 0.0, blank: float = 0.0, noise: float = 0.0) -> None:
        super().__init__()
        if not (0 <= mask <= 1 and noise >= 0):
            raise RecipeError(
                f"Corrupted: mask must be in 0 … 1 and noise at least 0, got mask {mask} and noise {noise}."
            )
        self.network, self.mask, self.blank, self.noise = network, mask, blank, noise
        self.outputs = network.outputs
        self.takes_mask, self.given = getattr(network, "takes_mask", False), getattr(network, "given", 0)

    def corrupt(self, x: Tensor, eps: Tensor) -> Tensor:
        """x̃ from standard normals `(2, *x.shape)`: the first choose what is replaced, the second are added."""
        moved = x + self.noise * eps[1]
        return torch.where(torch.special.ndtr(eps[0]) < self.mask, torch.full_like(x, self.blank), moved)

    def forward(self, x: Tensor, **beside: Tensor) -> Tensor:
        """What the network inside makes of x `(..., *event)`, and of what it is told beside it."""
        out: Tensor = self.network(x, **beside)
        return out
