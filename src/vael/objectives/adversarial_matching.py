"""The likelihood, with the aggregated posterior held at the prior by a critic."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor
from torch.nn.functional import softplus

from vael.models.terms import Terms, average
from vael.objectives.adversary import Adversary

if TYPE_CHECKING:
    from vael.models.vae import VAE


class AdversarialMatching(Adversary):
    """Adversarial autoencoder, WAE-GAN: no rate is charged, and a critic tells the z of a batch from draws of p(z).

        L = −distortion + weight · E_q[log σ(f(z))],    f ≈ log p(z) / q̄(z)

    The encoder seeks what the critic takes for the prior (the form that does not saturate). Where the clouds are one,
    the cost is weight · log 2. The two names differ in the likelihood and the weight alone. A posterior needs no
    density; p(z) is a target and does not move. Where there is no bound the best weights are those of the best
    objective, so a critic that is fooled early can choose early weights.

    Args:
        weight: Nats per unit of −log σ(f), at least 0; 0 is `Reconstruction`.
        hidden: Widths of the critic's hidden layers.
        draws: K, at least 1.

    Call: `Terms` with spare noise → nats per example, `(B,)`.
    Source: Makhzani et al. 2015, Adversarial autoencoders (arXiv 1511.05644); Tolstikhin et al. 2018, Wasserstein
        autoencoders, algorithm 1 (arXiv 1711.01558).
    """

    paths: ClassVar[frozenset[str]] = frozenset({"smooth", "relaxed", "point"})

    def __init__(self, weight: float = 10.0, hidden: Sequence[int] = (256, 256), draws: int = 1) -> None:
        super().__init__(hidden, draws, weight=weight)
        self.weight = weight

    def sees(self, model: "VAE") -> int:
        return model.latent

    def cost(self, terms: Terms) -> Tensor:
        z = self.level(terms).z
        return self.weight * average(softplus(-self.judged(z, still=True)), terms.log_measure)

    def lesson(self, terms: Terms) -> Tensor:
        z = self.level(terms).z
        prior = self.prior_draws(terms).expand_as(z)
        return average(self.told_apart(prior, z), terms.log_measure)
