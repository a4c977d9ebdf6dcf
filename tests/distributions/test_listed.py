"""A law with mass on listed states, against torch's own categorical law."""

import math

import torch
from torch.testing import assert_close

from vael.distributions import Listed

F64 = torch.float64
SHARED = torch.tensor([[0, 0], [1, 0], [0, 1], [2, -1]], dtype=F64)[:, None]  # (S, 1, D)
LOGITS = torch.tensor([[0.0, 2.0, -1.0], [1.0, -3.0, 0.5], [-1.0, 0.3, 0.0], [0.2, 0.1, 900.0]], dtype=F64)  # (S, B)
OWN = SHARED + torch.arange(3, dtype=F64)[None, :, None]  # (S, B, D)


def weights() -> torch.Tensor:
    return torch.distributions.Categorical(logits=LOGITS.T).probs.T


def test_the_mass_of_all_states_is_one_and_that_of_any_other_point_is_none():
    for states in (SHARED, OWN):
        q = Listed(states, LOGITS)
        assert_close(q.log_prob(q.every()).exp(), weights(), atol=1e-12, rtol=0)
        assert_close(q.log_prob(q.every()).exp().sum(0), torch.ones(3, dtype=F64), atol=1e-12, rtol=0)
        assert torch.isneginf(q.log_prob(states + 0.25)).all()


def test_log_prob_of_draws_is_that_of_their_state():
    q = Listed(OWN, LOGITS)
    for s in range(4):
        assert_close(q.log_prob(OWN[s : s + 1]), q.log_weights[s : s + 1], atol=0, rtol=0)
    shuffled = OWN[[3, 1, 0, 2, 2]]
    assert_close(q.log_prob(shuffled), q.log_weights[[3, 1, 0, 2, 2]], atol=0, rtol=0)
    assert_close(Listed(SHARED, LOGITS).log_prob(SHARED[[2, 0]].expand(2, 3, 2)), q.log_weights[[2, 0]])


def test_mean_covariance_and_entropy_are_sums_over_the_states():
    for states in (SHARED, OWN):
        q, p = Listed(states, LOGITS), weights()
        for b in range(3):
            points = states[:, b % states.shape[1]]
            mean = p[:, b] @ points
            covariance = sum(p[s, b] * torch.outer(points[s] - mean, points[s] - mean) for s in range(4))
            assert_close(q.mean[b], mean, atol=1e-12, rtol=0)
            assert_close(q.covariance[b], covariance, atol=1e-12, rtol=0)
            assert_close(q.variance[b], covariance.diagonal(), atol=1e-12, rtol=0)
    truth = torch.distributions.Categorical(logits=LOGITS.T).entropy()
    assert_close(Listed(OWN, LOGITS).entropy(), truth, atol=1e-12, rtol=0)


def test_draws_meet_the_probabilities():
    draws = 40_000
    eps = torch.randn(draws, 3, 2, dtype=F64, generator=torch.Generator().manual_seed(0))
    for states in (SHARED, OWN):
        z, p = Listed(states, LOGITS).from_noise(eps), weights()
        for s in range(4):
            share = (z == states[s]).all(-1).double().mean(0)
            assert ((share - p[s]).abs() <= 4 * (p[s] * (1 - p[s]) / draws).sqrt()).all()
    assert 4 * math.sqrt(0.25 / draws) < 0.011  # what four standard errors allow
