"""One normal chooses among components and is a normal again."""

import pytest
import torch
from scipy.stats import kstest
from torch import Tensor
from torch.special import ndtri
from torch.testing import assert_close

from vael.distributions.choice import choose

MIDDLES = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000


def log_weights(*weights: float) -> Tensor:
    return torch.tensor(weights, dtype=torch.float64).log()


def test_each_component_comes_as_often_as_its_weight_and_what_is_left_is_normal():
    """Over a fine grid of quantiles in place of draws, so that only the grid's cells are between it and the truth."""
    weights = (0.5, 0.1, 0.0, 0.4)
    number, rest = choose(ndtri(MIDDLES), log_weights(*weights))
    for k, weight in enumerate(weights):
        mine = rest[number == k]
        assert abs(len(mine) / len(MIDDLES) - weight) < 1.1e-5
        if weight:
            assert kstest(mine.numpy(), "norm").statistic < 1.1 / len(mine)


def test_one_component_leaves_the_normal_as_it_was():
    eps = torch.linspace(-6, 6, 101, dtype=torch.float64)
    number, rest = choose(eps, log_weights(1.0))
    assert (number == 0).all()
    assert_close(rest, eps, atol=1e-6, rtol=0)  # beyond 5 there are few bits left of 1 − Φ


def test_weights_may_differ_from_place_to_place():
    eps = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64).log_softmax(-1)
    number, rest = choose(eps, weights)
    for b in range(4):
        alone = choose(eps[:, b], weights[b])
        assert torch.equal(number[:, b], alone[0])
        assert_close(rest[:, b], alone[1], atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weights", [(1.0,), (1e-12, 1 - 1e-12), (1 - 1e-12, 1e-12), (0.5, 0.0, 0.5)])
def test_what_is_left_is_finite_far_out(dtype, weights):
    eps = torch.tensor([-40.0, -8.0, 0.0, 8.0, 40.0], dtype=dtype)
    number, rest = choose(eps, log_weights(*weights))
    assert rest.dtype == dtype
    assert torch.isfinite(rest).all()
    assert (number < len(weights)).all()
