"""A posterior over few states: its bound rises with the set up to log p(x), and evolution never hurts."""

from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from vael import ELBO, IWAE, VAE, Batch, RecipeError
from vael.models.classical import binary_sparse_coding
from vael.posteriors import EnumeratedPosterior, TruncatedPosterior
from vael.posteriors.truncated import evolved, fewest_ones, repeated
from vael.priors import GaussianPrior

F64 = torch.float64
ROUNDING = {"atol": 1e-9, "rtol": 0}
BITS = 6


def sparse() -> VAE:
    model, generator = binary_sparse_coding(9, BITS, on=0.3).double(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.likelihood.network.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=F64, generator=generator))
    return model


def with_states(states: int, generations: int = 0) -> VAE:
    whole = sparse()
    return VAE(whole.prior, whole.likelihood, TruncatedPosterior(BITS, states=states, generations=generations))


X = torch.randn(7, 9, dtype=F64, generator=torch.Generator().manual_seed(1)) * 2
SEEN = torch.rand(7, 9, generator=torch.Generator().manual_seed(2)) > 0.3


def bound(model: VAE, batch: Batch = Batch(X)) -> torch.Tensor:  # noqa: B008
    return ELBO(draws=3)(model.terms(batch, model.noise(3, 7, seed=0))).detach()


@pytest.mark.parametrize("batch", [Batch(X), Batch(X, observed=SEEN)])
def test_the_bound_rises_with_the_set_up_to_log_px(batch):
    whole = sparse()
    log_px = IWAE()(whole.terms(batch, whole.noise(1, 7, seed=0))).detach()
    found = [bound(with_states(2**power), batch) for power in range(BITS + 1)]
    for small, large in pairwise(found):
        assert (large >= small).all()
        assert (large > small).any()
    assert (found[-2] < log_px).any()
    assert_close(found[-1], log_px, **ROUNDING)


def test_every_log_weight_is_the_bound_by_a_written_sum():
    model = with_states(10)
    terms = model.terms(X, model.noise(20, 7, seed=0))
    states = fewest_ones(BITS, 10).double()
    total = model.log_joint(Batch(X), states.unsqueeze(1).expand(-1, 7, -1)).logsumexp(0)
    assert_close(terms.log_w, total.expand(20, 7), **ROUNDING)
    assert_close(terms.latents[0].q.log_weights.exp().sum(0), torch.ones(7, dtype=F64), **ROUNDING)


def test_with_all_states_it_is_the_enumerated_posterior():
    all_of_them, enumerated = with_states(2**BITS).posterior(X), sparse().posterior(X)
    assert isinstance(sparse().posterior, EnumeratedPosterior)
    assert_close(all_of_them.mean, enumerated.mean, **ROUNDING)
    assert_close(all_of_them.covariance, enumerated.covariance, **ROUNDING)


def test_generations_never_hurt_and_find_the_best_states():
    whole = sparse()
    log_px = IWAE()(whole.terms(X, whole.noise(1, 7, seed=0))).detach()
    found = [bound(with_states(6, generations)) for generations in (0, 1, 3, 10, 100)]
    for earlier, later in pairwise(found):
        assert (later >= earlier - 1e-12).all()
    best = whole.posterior(X).log_weights.topk(6, dim=0).values.logsumexp(0).detach() + log_px
    assert_close(found[-1], best, **ROUNDING)  # the six most probable of the 64
    assert (found[0] < best - 0.1).any()


def test_no_state_is_kept_twice_and_none_is_repeated_unseen():
    model = with_states(12)
    states, value = evolved(
        fewest_ones(BITS, 12).double().unsqueeze(1).repeat(1, 7, 1), model.posterior.log_joint(X), 20,
        torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert not repeated(states).any()
    for b in range(7):
        assert len(states[:, b].unique(dim=0)) == 12
    assert_close(value, model.posterior.log_joint(X)(states), **ROUNDING)
    doubled = torch.cat([states[:3], states[:3], states[4:5]])
    assert repeated(doubled).sum(0).tolist() == [3] * 7


def test_an_example_does_not_feel_its_neighbours():
    posterior = with_states(6, 15).posterior
    whole = posterior(X)
    for b in range(7):
        assert torch.equal(posterior(X[b : b + 1]).states[:, 0], whole.states[:, b])


def test_the_states_with_fewest_ones_come_first_and_are_all_there():
    table = fewest_ones(4, 16)
    assert table.sum(1).tolist() == [0] + [1] * 4 + [2] * 6 + [3] * 4 + [4]
    assert len(table.unique(dim=0)) == 16
    assert torch.equal(fewest_ones(4, 7), table[:7])


def test_the_gradient_is_that_of_the_bound():
    model = with_states(8, 5)
    value = ELBO(draws=2)(model.terms(X, model.noise(2, 7, seed=0))).sum()
    value.backward()
    weight = model.likelihood.network.head.weight
    slope, before = weight.grad[2, 3], float(value.detach())
    with torch.no_grad():
        weight[2, 3] += 1e-6
    assert (float(bound(model).sum()) - before) / 1e-6 == pytest.approx(float(slope), rel=1e-4)


def test_what_it_cannot_be_is_refused_in_words():
    assert TruncatedPosterior(4, states=17).states == 16
    with pytest.raises(RecipeError, match="states must be at least 1, got 0"):
        TruncatedPosterior(4, states=0)
    with pytest.raises(RecipeError, match="at most 62, got 63"):
        TruncatedPosterior(63)
    with pytest.raises(RecipeError, match="generations must be at least 0, got -1"):
        TruncatedPosterior(6, generations=-1)
    with pytest.raises(RecipeError, match="needs BernoulliPrior, got GaussianPrior"):
        VAE(GaussianPrior(6), sparse().likelihood, TruncatedPosterior(6))
