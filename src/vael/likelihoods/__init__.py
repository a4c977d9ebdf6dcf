"""p(x|z): what a decoder's output says about an example."""

from vael.likelihoods.base import Likelihood
from vael.likelihoods.bernoulli import Bernoulli, GreyBernoulli
from vael.likelihoods.beta_binomial import BetaBinomial
from vael.likelihoods.categorical import Categorical
from vael.likelihoods.continuous import Continuous
from vael.likelihoods.counts import NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial
from vael.likelihoods.discretized_logistic import DiscretizedLogistic
from vael.likelihoods.gamma import Gamma
from vael.likelihoods.gaussian import Gaussian
from vael.likelihoods.laplace import Laplace
from vael.likelihoods.log_normal import LogNormal
from vael.likelihoods.logistic_mixture import LogisticMixture
from vael.likelihoods.mixed import Mixed, Part
from vael.likelihoods.ordered_logit import OrderedLogit
from vael.likelihoods.spiked import Spiked
from vael.likelihoods.student_t import StudentT
from vael.likelihoods.unit_interval import Beta, ContinuousBernoulli

__all__ = [
    "Bernoulli",
    "Beta",
    "BetaBinomial",
    "Categorical",
    "Continuous",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Gamma",
    "Gaussian",
    "GreyBernoulli",
    "Laplace",
    "Likelihood",
    "LogNormal",
    "LogisticMixture",
    "Mixed",
    "NegativeBinomial",
    "OrderedLogit",
    "Part",
    "Poisson",
    "Spiked",
    "StudentT",
    "ZeroInflatedNegativeBinomial",
]
