"""p(z): what a latent is before anything is seen."""

from vael.priors.base import Prior
from vael.priors.discrete import BernoulliPrior, CategoricalPrior
from vael.priors.gaussian import GaussianPrior

__all__ = ["BernoulliPrior", "CategoricalPrior", "GaussianPrior", "Prior"]
