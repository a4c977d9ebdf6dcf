"""Linear-Gaussian latent variables: probabilistic PCA and factor analysis."""

from vael.likelihoods.gaussian import Gaussian
from vael.models.vae import VAE
from vael.networks.mlp import MLP
from vael.networks.shapes import Shape
from vael.posteriors.exact import LinearGaussianPosterior
from vael.priors.gaussian import GaussianPrior


def probabilistic_pca(features: Shape, latent: int) -> VAE:
    """x = W z + b + ε,  z ~ N(0, I),  ε ~ N(0, σ² I)

    Its maximum-likelihood W spans the first principal components. Fit it by `em`, `principal_components` or gradient.

    features: The shape of one x, or how many numbers it has. latent: How many columns W has.
    Source: Tipping & Bishop 1999, Probabilistic principal component analysis.
    """
    likelihood = Gaussian(MLP(latent, [], features), scale="shared")
    return VAE(GaussianPrior(latent), likelihood, LinearGaussianPosterior(latent))


def factor_analysis(features: Shape, latent: int) -> VAE:
    """x = W z + b + ε,  z ~ N(0, I),  ε ~ N(0, diag σ²): each feature has a noise of its own.

    features, latent: As for `probabilistic_pca`. Fit it by `em` or gradient.
    Source: Rubin & Thayer 1982, EM algorithms for ML factor analysis.
    """
    likelihood = Gaussian(MLP(latent, [], features), scale="per_feature")
    return VAE(GaussianPrior(latent), likelihood, LinearGaussianPosterior(latent))
