"""The importance-weighted bound with a gradient whose signal does not fade."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vael.errors import RecipeError
from vael.models.terms import Terms
from vael.objectives.elbo import check_draws


@dataclass(frozen=True)
class DReG:
    """The importance-weighted bound, differentiated by its posterior doubly reparameterised.

        L_K(x) = E[ log 1/K Σ_k w_k ],    w̃_k = w_k / Σ_j w_j

    With z_k = g(φ, ε_k) its derivative by q's parameters φ is Σ_k w̃_k (∂_z log w_k · ∂_φ g − ∂_φ log q(z_k)|_z). The
    score, the last term, has no mean zero under the weights w̃_k, which depend on z_k; but E_q[f ∂_φ log q] is
    E[∂_z f · ∂_φ g] for any f, and for f = w̃_k, with ∂_z w̃_k = (w̃_k − w̃_k²) ∂_z log w_k, it cancels all but

        ∂_φ L_K = E[ Σ_k w̃_k² ∂_z log w_k · ∂_φ g ],    ∂_θ L_K = E[ Σ_k w̃_k ∂_θ log p(x, z_k) ]

    so the way to the encoder weighs a draw by w̃², the way to decoder and prior by w̃ as ever. Signal over noise of the
    encoder's gradient grows like K^½, that of `IWAE` falls like K^−½. At K = 1 it is `STL`.

    `draws` is K, at least 1; draws have to be q's own, not relaxed ones. The price is one more pass backwards through
    the decoder, as far as z.

    Call: `Terms` with one level of latents → the bound of `IWAE` in nats per example, shape `(B,)`, higher is better.
    Source: Tucker, Lawson, Gu & Maddison 2018, Doubly reparameterized gradient estimators (arXiv 1810.04152), eq. 6.
    """

    draws: int = 50
    kind: ClassVar[str] = "dreg"
    paths: ClassVar[frozenset[str]] = frozenset({"smooth"})

    def __post_init__(self) -> None:
        check_draws("DReG", self.draws)

    def __call__(self, terms: Terms) -> Tensor:
        if len(terms.latents) != 1:
            raise RecipeError(f"DReG: is for one level of latents, got {len(terms.latents)}. Use IWAE or STL.")
        log_share = (terms.log_w_fixed + terms.log_measure).detach()
        bound = log_share.logsumexp(0)
        share = (log_share - bound).exp()  # w̃, (K, B)
        path = (share * terms.log_w_fixed).sum(0)
        z = terms.latents[0].z
        if z.requires_grad and torch.is_grad_enabled():
            # `path` brings w̃ ∂ log w to z, and w̃² ∂ log w has to leave it. A hook on z would do so for every other
            # reader of these terms too; a term linear in z brings the difference and touches nothing else.
            (slope,) = torch.autograd.grad(path.sum(), z, retain_graph=True)
            path = path + ((share - 1).unsqueeze(-1) * slope * z).sum((0, -1))
        return bound + (path - path.detach())

    def warmed(self, share: float | Tensor) -> "DReG":
        raise RecipeError("DReG: has no rate to warm up. Leave warm_up at 0, or use the STL or ELBO objective.")
