"""Weights of a minibatch's posteriors, against the whole aggregated posterior by going through every minibatch."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal
from torch.testing import assert_close

from vael import RecipeError
from vael.distributions import even_weights, log_aggregated, log_aggregated_units, stratified_weights, weighted_weights

LOC = torch.tensor([-1.0, 0.2, 0.9, 2.5, 4.0], dtype=torch.float64)  # five examples' posteriors N(loc, ½²)
EXAMPLES = len(LOC)
Z = torch.tensor(0.7, dtype=torch.float64)  # near the second and the third


def density() -> Tensor:
    return Normal(LOC, 0.5).log_prob(Z).exp()


def over_every_batch(weights: Tensor, batch: int, row: int, anchor: int) -> float:
    """The mean estimate of q̄(z) over all ordered minibatches in which example `anchor` stands in `row`."""
    batches = [chosen for chosen in itertools.permutations(range(EXAMPLES), batch) if chosen[row] == anchor]
    return float(torch.stack([weights[row] @ density()[list(chosen)] for chosen in batches]).mean())


@pytest.mark.parametrize("make", [stratified_weights, even_weights])
@pytest.mark.parametrize("batch", [2, 3, 4, 5])
def test_unbiased_weights_give_the_aggregated_posterior_over_all_minibatches(make, batch):
    weights = make(batch, EXAMPLES)
    truth = float(density().mean())
    for row in range(batch):
        for anchor in range(EXAMPLES):
            assert over_every_batch(weights, batch, row, anchor) == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize("make", [stratified_weights, even_weights])
def test_rows_sum_to_one_and_the_example_itself_counts_one_of_n(make):
    weights = make(8, 1000)
    assert_close(weights.sum(1), torch.ones(8).double(), atol=1e-12, rtol=0)
    assert_close(weights.diagonal(), torch.full((8,), 1e-3).double())


def test_weights_in_the_first_column_would_not_be_unbiased():
    """What ports of the authors' code do: 1/N and the odd weight in columns 0 and 1, whatever the row."""
    ported = torch.full((3, 3), 0.5, dtype=torch.float64)
    ported[:, 0], ported[:, 1] = 1 / EXAMPLES, (EXAMPLES - 2) / (EXAMPLES * 2)
    off = [over_every_batch(ported, 3, row, 1) - float(density().mean()) for row in range(3)]
    assert max(map(abs, off)) > 0.02


def test_for_the_whole_data_even_weights_are_the_aggregated_posterior_itself():
    assert_close(even_weights(EXAMPLES, EXAMPLES), torch.full((5, 5), 0.2).double())
    log_q = Normal(LOC, 0.5).log_prob(Z).expand(5, 5)
    assert_close(log_aggregated(log_q, even_weights(5, 5)), density().mean().log().expand(5))


def test_even_weights_spread_less():
    def spread(weights: Tensor) -> float:
        found = [
            weights[0] @ density()[list(chosen)] for chosen in itertools.permutations(range(5), 4) if chosen[0] == 1
        ]
        return float(torch.stack(found).var())

    assert spread(even_weights(4, 5)) < 0.8 * spread(stratified_weights(4, 5))


def test_weighted_sampling_counts_every_posterior_alike_and_falls_short_by_n_on_average():
    weights = weighted_weights(3, EXAMPLES)
    assert_close(weights, torch.full((3, 3), 1 / 15).double())
    mean = sum(over_every_batch(weights, 3, 0, anchor) for anchor in range(EXAMPLES)) / EXAMPLES
    assert mean == pytest.approx(float(density().mean()) / EXAMPLES, rel=1e-12)


def test_weighted_sampling_makes_total_correlation_too_large_and_kl_too_small():
    """Units that overlap, 50 of 1000 examples: each log q̄ is low by about log N, and TC takes D of them away."""
    examples, batch, dims, batches = 1000, 50, 4, 40
    source = torch.Generator().manual_seed(0)
    loc = 0.5 * torch.randn(examples, dims, generator=source, dtype=torch.float64)
    scale = math.sqrt(0.75)  # so that q̄ is nearly N(0, I)
    weights, parts = weighted_weights(batch, examples), []
    for _ in range(batches):
        part = loc[torch.randperm(examples, generator=source)[:batch]]
        z = part + scale * torch.randn(batch, dims, generator=source, dtype=torch.float64)
        log_p = Normal(0.0, 1.0).log_prob(z).sum(-1)
        near, all_ = (Normal(m, scale).log_prob(z[:, None]) for m in (part, loc))  # (B, B, D), (B, N, D)
        of_batch = log_aggregated(near.sum(-1), weights), log_aggregated_units(near, weights).sum(-1)
        truth = (all_.sum(-1).logsumexp(1) - math.log(examples), (all_.logsumexp(1) - math.log(examples)).sum(-1))
        parts.append([[(whole - units).mean(), (whole - log_p).mean()] for whole, units in (of_batch, truth)])
    (correlation, kl), (its_correlation, its_kl) = torch.tensor(parts, dtype=torch.float64).mean(0)
    assert abs(its_correlation) < 0.1
    assert abs(its_kl) < 0.1
    # What the example itself adds to its batch of 50 is worth some tenths of a nat in q̄ and less in each q̄_j.
    shift = math.log(examples)
    assert float(correlation - its_correlation) == pytest.approx((dims - 1) * shift, abs=1)
    assert float(kl - its_kl) == pytest.approx(-shift, abs=1)
    assert correlation > 19
    assert kl < -6


def test_weighted_sampling_of_examples_that_lie_apart_is_low_by_log_b():
    """Only the example's own posterior speaks of z: it counts 1/(N B) where q̄ counts it 1/N."""
    log_q = torch.full((4, 4), -1e3, dtype=torch.float64).fill_diagonal_(0.7)
    found = log_aggregated(log_q, weighted_weights(4, 100))
    assert_close(found, torch.full((4,), 0.7 - math.log(100) - math.log(4)).double())


def test_units_are_aggregated_each_by_itself():
    log_q = torch.randn(2, 4, 4, 3, generator=torch.Generator().manual_seed(0)).double()
    units = log_aggregated_units(log_q, stratified_weights(4, 100))
    assert units.shape == (2, 4, 3)
    pairs = zip(stratified_weights(4, 100)[1].tolist(), log_q[0, 1, :, 2].tolist(), strict=True)
    by_hand = math.log(sum(weight * math.exp(value) for weight, value in pairs))
    assert float(units[0, 1, 2]) == pytest.approx(by_hand)


@pytest.mark.parametrize("make", [stratified_weights, even_weights, weighted_weights])
@pytest.mark.parametrize("batch", [1, 6])
def test_a_batch_must_be_part_of_the_data(make, batch):
    with pytest.raises(RecipeError, match=f"got batch {batch} of 5 examples"):
        make(batch, 5)
