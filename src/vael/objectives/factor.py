"""The bound with the dependence among the units of z weighed by its own weight, told by a critic."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from vael.models.terms import Terms, average
from vael.objectives.adversary import Adversary

if TYPE_CHECKING:
    from vael.models.vae import VAE


class Factor(Adversary):
    """FactorVAE: the ELBO less `weight` times the total correlation of the aggregated posterior, as a critic sees it.

    No bound of log p(x): a critic may be wrong on either side.

        L = −distortion − rate − weight · TC,    TC = E_q̄[f(z)],  f ≈ log q̄(z) / Π_j q̄_j(z_j)

    The critic f tells the z of a batch from the same z with each unit dealt out anew among the examples. It asks
    nothing of q(z|x) but draws, where `TotalCorrelation` asks for its density; a critic that has not learned yet knows
    of no dependence. Every example is reconstructed and every z is judged. A batch of one has nothing to deal out, and
    its critic learns nothing.

    Args:
        weight: γ, at least 0; 0 is the ELBO. A rate of 1 + weight = β in `TotalCorrelation`.
        hidden: Widths of the critic's hidden layers; the paper has six of 1000.
        draws: K, at least 1.

    Call: `Terms` with spare noise → nats per example, `(B,)`.
    Source: Kim & Mnih 2018, Disentangling by factorising, eq. 2 and algorithm 2 (arXiv 1802.05983).
    """

    paths: ClassVar[frozenset[str]] = frozenset({"smooth", "relaxed"})

    def __init__(self, weight: float = 6.0, hidden: Sequence[int] = (256, 256), draws: int = 1) -> None:
        super().__init__(hidden, draws, weight=weight)
        self.weight = weight

    def sees(self, model: "VAE") -> int:
        return model.latent

    def total_correlation(self, terms: Terms) -> Tensor:
        """f at each example's draws, nats, `(B,)`: its mean is KL(q̄‖Π_j q̄_j) where the critic is at its best."""
        return average(self.judged(self.level(terms).z, still=True), terms.log_measure)

    def cost(self, terms: Terms) -> Tensor:
        return terms.rate + self.weight * self.total_correlation(terms)

    def lesson(self, terms: Terms) -> Tensor:
        z = self.level(terms).z
        assert terms.spare is not None
        return average(self.told_apart(z, dealt_anew(z, terms.spare[0])), terms.log_measure)


def dealt_anew(z: Tensor, eps: Tensor) -> Tensor:
    """z `(K, B, D)` with each unit dealt out by the ranks of noise `(B, D)` of its own: draws of Π_j q̄_j."""
    order = eps.argsort(0).expand(z.shape)
    return z.gather(1, order)
