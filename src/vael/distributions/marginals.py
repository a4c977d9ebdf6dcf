"""The density of each unit of a latent alone."""

from torch import Tensor
from torch.nn.functional import logsigmoid

from vael.distributions.bits import Bits, OneHot
from vael.distributions.correlated_gaussian import CorrelatedGaussian
from vael.distributions.diagonal_gaussian import LOG_2PI, DiagonalGaussian, StandardGaussian


def unit_log_prob(law: object, z: Tensor) -> Tensor | None:
    """log of the marginal density of each unit, nats, `(..., G)` for z `(..., D)`; None where it is not known.

    A unit is one number of z; of one-hot choices it is one choice, so that G = D / classes.
    """
    if isinstance(law, StandardGaussian):
        return -0.5 * (z.square() + LOG_2PI)
    if isinstance(law, DiagonalGaussian | CorrelatedGaussian):
        variance = law.variance
        gaussian: Tensor = -0.5 * ((z - law.loc).square() / variance + variance.log() + LOG_2PI)
        return gaussian
    if isinstance(law, Bits):
        bits: Tensor = z * logsigmoid(law.logits) + (1 - z) * logsigmoid(-law.logits)
        return bits
    if isinstance(law, OneHot):
        chosen: Tensor = z.unflatten(-1, (law.groups, law.classes)) * law.logits.log_softmax(-1)
        return chosen.sum(-1)
    return None


def is_factorised(law: object) -> bool:
    """Whether the units of a law are independent, so that its log-density is the sum of theirs."""
    return isinstance(law, StandardGaussian | DiagonalGaussian | Bits | OneHot)
