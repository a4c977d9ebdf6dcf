"""Mixtures of Gaussians."""

from typing import Literal

from vael.likelihoods.gaussian import Gaussian
from vael.models.vae import VAE
from vael.networks.mlp import MLP
from vael.networks.shapes import Shape, as_shape
from vael.posteriors.exact import EnumeratedPosterior
from vael.priors.discrete import CategoricalPrior


def gaussian_mixture(
    features: Shape, components: int, *, scale: Literal["shared", "per_feature", "per_example"] = "per_example"
) -> VAE:
    """p(x) = Σ_c π_c N(x; μ_c, diag σ_c²)

    z is the one-hot choice of a component, so the affine decoder's column c holds μ_c, and log σ_c where each component
    has its own. The posterior is the responsibilities.

    features: The shape of one x, or how many numbers it has. components: How many Gaussians, at least 2.
    scale: "per_example" for a σ_cf of each component and feature, "per_feature" for a σ_f that all components share,
        "shared" for one σ.
    """
    first, *others = as_shape(features)
    width = 2 * first if scale == "per_example" else first
    likelihood = Gaussian(MLP(components, [], [width, *others] if others else width), scale=scale)
    return VAE(CategoricalPrior(components, learned=True), likelihood, EnumeratedPosterior(components))
