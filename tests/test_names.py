"""Recipe names of classes, and help with misspelled ones."""

from vael.likelihoods import DiscretizedLogistic, GreyBernoulli
from vael.names import closest, kind_of
from vael.networks import MLP
from vael.objectives import ELBO, IWAE
from vael.posteriors import GaussianPosterior
from vael.priors import GaussianPrior


def test_kinds_are_snake_case_without_the_rooms_name():
    kinds = [
        kind_of(c) for c in (DiscretizedLogistic, GreyBernoulli, MLP, ELBO, IWAE, GaussianPosterior, GaussianPrior)
    ]
    assert kinds == ["discretized_logistic", "grey_bernoulli", "mlp", "elbo", "iwae", "gaussian", "gaussian"]


def test_a_near_word_is_offered_and_a_far_one_is_not():
    assert closest("bernouli", ["bernoulli", "poisson"]) == " Did you mean 'bernoulli'?"
    assert closest("zzz", ["bernoulli", "poisson"]) == ""
