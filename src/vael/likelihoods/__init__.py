"""p(x|z): what a decoder's output says about an example."""

from vael.likelihoods.base import Likelihood
from vael.likelihoods.bernoulli import Bernoulli, GreyBernoulli
from vael.likelihoods.categorical import Categorical
from vael.likelihoods.counts import NegativeBinomial, Poisson
from vael.likelihoods.discretized_logistic import DiscretizedLogistic
from vael.likelihoods.gaussian import Gaussian
from vael.likelihoods.mixed import Mixed, Part

__all__ = [
    "Bernoulli",
    "Categorical",
    "DiscretizedLogistic",
    "Gaussian",
    "GreyBernoulli",
    "Likelihood",
    "Mixed",
    "NegativeBinomial",
    "Part",
    "Poisson",
]
