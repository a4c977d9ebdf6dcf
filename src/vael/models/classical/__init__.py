"""Models from before the VAE, each a VAE with an exact posterior: same terms, same verbs, every log-weight log p(x)."""

from vael.models.classical.linear import factor_analysis, probabilistic_pca
from vael.models.classical.mixture import gaussian_mixture
from vael.models.classical.sparse import binary_sparse_coding, spike_slab_sparse_coding

__all__ = [
    "binary_sparse_coding",
    "factor_analysis",
    "gaussian_mixture",
    "probabilistic_pca",
    "spike_slab_sparse_coding",
]
