"""Recipe names of classes, and help with misspelled ones."""

from vael.likelihoods import DiscretizedLogistic, GreyBernoulli
from vael.names import closest, kind_of
from vael.networks import MLP
from vael.objectives import ELBO, IWAE, STL, VIMCO, DReG
from vael.posteriors import FullGaussianPosterior, GaussianPosterior, LowRankGaussianPosterior
from vael.priors import GaussianPrior


def test_kinds_are_snake_case_without_the_rooms_name():
    kinds = [
        kind_of(c) for c in (DiscretizedLogistic, GreyBernoulli, MLP, ELBO, IWAE, GaussianPosterior, GaussianPrior)
    ]
    assert kinds == ["discretized_logistic", "grey_bernoulli", "mlp", "elbo", "iwae", "gaussian", "gaussian"]


def test_posteriors_of_one_family_are_told_apart():
    members = (GaussianPosterior, FullGaussianPosterior, LowRankGaussianPosterior)
    assert [kind_of(c) for c in members] == ["gaussian", "full_gaussian", "low_rank_gaussian"]


def test_a_class_whose_capitals_part_no_words_says_its_own_kind():
    assert [kind_of(c) for c in (DReG, STL, VIMCO)] == ["dreg", "stl", "vimco"]


def test_a_near_word_is_offered_and_a_far_one_is_not():
    assert closest("bernouli", ["bernoulli", "poisson"]) == " Did you mean 'bernoulli'?"
    assert closest("zzz", ["bernoulli", "poisson"]) == ""
