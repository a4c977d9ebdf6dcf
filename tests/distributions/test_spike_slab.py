"""Laws of numbers that are often exactly zero: mass plus length adds up to one, draws meet probabilities and moments.

Quadrature of smooth densities that vanish at the ends is exact to rounding; draws are held to four standard errors.
"""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from vael.distributions import SpikedGaussians, SpikeSlab
from vael.models.classical import spike_slab_sparse_coding

F64 = torch.float64
LINE = torch.linspace(-14, 14, 1401, dtype=F64)  # holds 0, which is a point mass of its own: shifted off it below
OFF = LINE + 0.005
CELL = 0.02
DRAWS = 60_000


def prior() -> SpikeSlab:
    return SpikeSlab(torch.tensor([-1.0, 0.7], dtype=F64))


def posterior() -> SpikedGaussians:
    """Four patterns of two numbers for two examples that share their roots."""
    patterns = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=F64)
    logits = torch.tensor([[0.0, 1.0], [1.0, -0.5], [0.3, 0.0], [0.9, 2.0]], dtype=F64)
    loc = torch.tensor([[[0.5, -1.0]], [[1.5, 2.0]], [[-0.3, 0.8]], [[1.0, 0.4]]], dtype=F64)
    loc = (loc + torch.tensor([[0.0], [1.0]], dtype=F64)) * patterns[:, None]
    root = torch.eye(2, dtype=F64).repeat(4, 1, 1, 1)
    root[1, 0, 0, 0], root[2, 0, 1, 1] = 0.6, 1.3
    root[3, 0] = torch.tensor([[0.8, 0.0], [-0.5, 0.4]], dtype=F64)
    return SpikedGaussians(patterns, logits, loc, root)


def noise(examples: int = 2) -> Tensor:
    return torch.randn(DRAWS, examples, 2, dtype=F64, generator=torch.Generator().manual_seed(0))


def pieces() -> list[tuple[Tensor, float]]:
    """Points and the measure each stands for: the origin, both axes, and the plane off them."""
    zero = torch.zeros_like(OFF)
    return [
        (torch.zeros(1, 2, dtype=F64), 1.0),
        (torch.stack([OFF, zero], 1), CELL),
        (torch.stack([zero, OFF], 1), CELL),
        (torch.cartesian_prod(OFF[::4], OFF[::4]), (4 * CELL) ** 2),
    ]


def log_prob(law: torch.distributions.Distribution, z: Tensor) -> Tensor:
    return law.log_prob(z[:, None, :].expand(-1, *law.batch_shape, -1) if law.batch_shape else z[:, None, :])


@pytest.mark.parametrize("make", [prior, posterior])
def test_mass_and_length_add_up_to_one(make):
    total = sum(log_prob(make(), z).exp().sum(0) * measure for z, measure in pieces())
    assert_close(total, torch.ones_like(total), atol=1e-9, rtol=0)


@pytest.mark.parametrize("make", [prior, posterior])
def test_mean_and_covariance_are_integrals(make):
    law = make()
    every = [(z, log_prob(law, z).exp() * measure) for z, measure in pieces()]
    mean = sum(torch.einsum("nb,nd->bd", p, z) for z, p in every)
    second = sum(torch.einsum("nb,nd,ne->bde", p, z, z) for z, p in every)
    covariance = second - mean.unsqueeze(-1) * mean.unsqueeze(-2)
    assert_close(law.mean.expand_as(mean), mean, atol=1e-9, rtol=0)
    variance = covariance.diagonal(dim1=-2, dim2=-1)
    assert_close(law.variance.expand_as(variance), variance, atol=1e-9, rtol=0)
    if isinstance(law, SpikedGaussians):
        assert_close(law.covariance, covariance, atol=1e-9, rtol=0)


@pytest.mark.parametrize("make", [prior, posterior])
def test_draws_have_the_zeros_and_moments_of_the_law(make):
    law = make()
    z = law.from_noise(noise())
    on = torch.sigmoid(law.logits).expand(2, 2) if isinstance(law, SpikeSlab) else law.on
    error = 4 * (on * (1 - on) / DRAWS).sqrt()
    assert (((z != 0).double().mean(0) - on).abs() < error).all()
    spread = law.variance.expand(2, 2).sqrt()
    assert ((z.mean(0) - law.mean).abs() < 4 * spread / math.sqrt(DRAWS)).all()
    squares = z.square()
    wanted = law.variance + law.mean.square()
    assert ((squares.mean(0) - wanted).abs() < 4 * squares.std(0) / math.sqrt(DRAWS)).all()
    products = z[..., 0] * z[..., 1]
    truth = 0.0 if isinstance(law, SpikeSlab) else law.covariance[:, 0, 1] + law.mean[:, 0] * law.mean[:, 1]
    assert ((products.mean(0) - truth).abs() < 4 * products.std(0) / math.sqrt(DRAWS)).all()
    assert float(products.std(0).max()) / math.sqrt(DRAWS) < 0.02


def test_what_decides_the_pattern_and_what_moves_within_it_are_independent():
    """One normal number does both: given its pattern, the first component is normal again (fourth moment 3)."""
    law = posterior()
    z = law.from_noise(noise())
    for pattern in (1, 3):
        for b in range(2):
            chosen = ((z[:, b] != 0) == (law.patterns[pattern] != 0)).all(-1)
            white = (z[chosen, b, 0] - law.loc[pattern, b, 0]) / law.root[pattern, 0, 0, 0]
            count = int(chosen.sum())
            assert count > 3000
            assert abs(float(white.mean())) < 4 / math.sqrt(count)
            assert abs(float(white.square().mean()) - 1) < 4 * math.sqrt(2 / count)
            assert abs(float(white.pow(4).mean()) - 3) < 4 * math.sqrt(96 / count)


def test_one_column_of_z_is_scored_under_every_example():
    """z `(K, 1, D)` against B laws is the same as z repeated B times: the mixture of all posteriors asks so."""
    model = spike_slab_sparse_coding(5, 2).double()
    with torch.no_grad():
        model.likelihood.network.head.weight.normal_(generator=torch.Generator().manual_seed(0))
    q = model.posterior(torch.randn(6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    z = q.from_noise(torch.randn(7, 6, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64))[:, :1]
    assert q.log_prob(z).shape == (7, 6)
    assert torch.equal(q.log_prob(z), q.log_prob(z.expand(-1, 6, -1)))
