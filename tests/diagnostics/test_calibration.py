"""Ranks of the true z: uniform for an exact posterior, and how not for one that is too narrow, too wide or off."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch.testing import assert_close
from worlds import Linear

from vael import VAE, RecipeError
from vael.diagnostics import calibration
from vael.diagnostics.calibration import of_ranks, tied
from vael.distributions.diagonal_gaussian import StandardGaussian
from vael.distributions.spike_slab import SpikeSlab
from vael.likelihoods import Bernoulli, Gaussian
from vael.networks import MLP
from vael.posteriors import BernoulliPosterior, SpikeSlabPosterior
from vael.priors import BernoulliPrior, SpikeSlabPrior

# Orthogonal columns: the exact posterior is diagonal, so that the best diagonal one is the true one.
WORLD = Linear(torch.tensor([[1.0, 0], [1, 0], [0, 2], [0, 1]]).double(), torch.zeros(4).double(), 0.5)


def changed(widen: float = 1.0, shift: float = 0.0) -> VAE:
    model = WORLD.model()
    with torch.no_grad():
        model.posterior.network.head.bias[2:] += math.log(widen)
        model.posterior.network.head.bias[:2] += shift
    return model


def test_an_exact_posterior_has_uniform_ranks_and_covers_what_it_says():
    found = calibration(WORLD.model(), examples=4000)
    # √(½·½/4000) = 0.008 and √(.9·.1/4000) = 0.005: four standard errors.
    assert_close(found.half, torch.full((2,), 0.5).double(), atol=0.032, rtol=0)
    assert_close(found.most, torch.full((2,), 0.9).double(), atol=0.019, rtol=0)
    assert (found.p_value > 0.001).all()
    assert found.counts.sum(1).tolist() == [4000, 4000]


def test_a_full_posterior_is_exact_where_a_diagonal_one_is_too_narrow():
    mixed = Linear(torch.tensor([[1.0, 0.9], [0.9, 1.0], [0.5, 0.5]]).double(), torch.zeros(3).double(), 0.5)
    assert (calibration(mixed.model_with_full_posterior(), examples=4000).p_value > 0.001).all()
    narrow = calibration(mixed.model(), examples=4000)
    assert (narrow.p_value < 1e-6).all()
    assert (narrow.most < 0.87).all()


def test_the_coverage_of_a_wrong_width_is_that_of_the_normal():
    """z − loc is N(0, s²) while q says N(0, (c s)²): the central 90 % of q hold 2 Φ(1.645 c) − 1 of them."""
    for widen in (0.5, 2.0):
        found = calibration(changed(widen), examples=4000)
        for share, held in ((0.5, found.half), (0.9, found.most)):
            edge = widen * float(torch.special.ndtri(torch.tensor(0.5 + share / 2).double()))
            truth = math.erf(edge / math.sqrt(2))
            # Of 99 draws the edges of an interval are themselves drawn, which moves its coverage by up to 0.01.
            assert_close(held, torch.full((2,), truth).double(), atol=0.032 + 0.01, rtol=0)
        assert (found.p_value < 1e-6).all()


def test_an_encoder_off_its_mark_is_seen_on_one_side():
    found = calibration(changed(shift=1.0))
    assert (found.p_value < 1e-6).all()
    assert (found.counts[:, :5].sum(1) > 2 * found.counts[:, -5:].sum(1)).all()  # z lies low among q's draws


def test_the_chi_square_p_value_is_scipys():
    from scipy.stats import chisquare

    ranks = torch.randint(0, 100, (700, 1), generator=torch.Generator().manual_seed(3))
    found = of_ranks(ranks)
    assert float(found.p_value) == pytest.approx(chisquare(found.counts[0].numpy()).pvalue, rel=1e-9)


def test_uniform_ranks_cover_exactly_and_ranks_at_the_edge_do_not():
    found = of_ranks(torch.arange(100)[:, None])
    assert (float(found.half), float(found.most)) == (0.5, 0.9)
    assert float(found.p_value) == 1.0
    assert float(of_ranks(torch.tensor([[0], [99], [5], [94], [4]])).most) == pytest.approx(0.4)


def test_bits_have_no_ranks():
    model = VAE(BernoulliPrior(2), Bernoulli(MLP(2, [], 3)), BernoulliPosterior(MLP(3, [], 2)))
    with pytest.raises(RecipeError, match="z is discrete"):
        calibration(model)


@dataclass
class Told:
    """A prior's law, with what it says of itself."""

    discrete: bool = False
    atomic: bool = False


def test_any_law_that_says_it_is_discrete_or_has_point_masses_has_no_ranks():
    assert tied(Told()) is None
    assert tied(StandardGaussian(2)) is None
    assert "discrete" in tied(Told(discrete=True))
    assert "point masses" in tied(Told(atomic=True))


def test_a_spike_has_no_ranks(monkeypatch):
    """Zero among zeros: 80 of 100 draws tie with a true z of 0."""
    monkeypatch.setattr(SpikeSlab, "atomic", True, raising=False)
    model = VAE(SpikeSlabPrior(2), Gaussian(MLP(2, [], 3), scale="shared"), SpikeSlabPosterior(2))
    with pytest.raises(RecipeError, match="calibration: z has point masses"):
        calibration(model)
