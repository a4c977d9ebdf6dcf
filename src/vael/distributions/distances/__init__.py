"""How far two laws lie apart, from a cloud of points of each; and in closed form between Gaussians.

A cloud of N points is `(..., N, D)`; what stands before them is kept. Every pair of points is looked at, N × M × D
numbers at once, by differences: a product of matrices would lose the digits of near ones.
"""

from vael.distributions.distances.energy import energy
from vael.distributions.distances.kernels import mmd_imq, mmd_rbf, two_sample
from vael.distributions.distances.smoothed import cauchy_schwarz, cramer_wold
from vael.distributions.distances.transport import sinkhorn, sliced_wasserstein

__all__ = [
    "cauchy_schwarz",
    "cramer_wold",
    "energy",
    "mmd_imq",
    "mmd_rbf",
    "sinkhorn",
    "sliced_wasserstein",
    "two_sample",
]
