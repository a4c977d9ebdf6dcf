"""Moving latents: against the decoder called by hand."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch.testing import assert_close
from worlds import Linear, split_of

import vael
from vael import VAE, RecipeError
from vael.applications import analogy, direction, encode, manifold, most_told, quantiles, traverse
from vael.likelihoods import Gaussian
from vael.networks import MLP
from vael.posteriors import CategoricalPosterior, ChainPosterior, GaussianPosterior, VonMisesFisherPosterior
from vael.priors import CategoricalPrior, ChainPrior, GaussianPrior, HypersphericalPrior

WORLD = Linear.random(latent=3, observed=5, seed=2)


def decoded(z: torch.Tensor) -> torch.Tensor:
    return z @ WORLD.weight.T + WORLD.bias


def test_quantiles_part_the_normal_into_equal_masses():
    found = quantiles(7).numpy()
    assert np.allclose(np.diff(norm.cdf(found)), 0.96 / 6)
    assert np.allclose(found[[0, -1]], norm.ppf([0.02, 0.98]))
    with pytest.raises(RecipeError, match="at least 2 steps, the ends; got 1"):
        quantiles(1)


def test_one_unit_moves_and_the_others_stay():
    z, values = torch.tensor([0.3, -1.0, 2.0]).double(), quantiles(5)
    found = traverse(WORLD.model(), z, [2, 0], values)
    assert found.shape == (2, 5, 5)
    for line, unit in enumerate([2, 0]):
        for step in range(5):
            moved = z.clone()
            moved[unit] = values[step]
            assert_close(found[line, step], decoded(moved))
    with pytest.raises(RecipeError, match=r"unit z4: is not there; z has 3 numbers, z1 … z3"):
        traverse(WORLD.model(), z, [3], values)


def test_what_has_no_line_to_move_along_is_left_out_and_refused():
    prior = ChainPrior([CategoricalPrior(2), GaussianPrior(2)])
    guess = CategoricalPosterior(MLP(5, [], 2), classes=2, enumerates=True)
    posterior = ChainPosterior([guess, GaussianPosterior(MLP(5, [], 4, given=2))])
    model = VAE(prior, Gaussian(MLP(4, [], 5)), posterior).double()
    assert set(most_told(model, split_of(WORLD.sample(9)), 8)) == {2, 3}
    z, values = torch.zeros(4).double(), quantiles(3)
    assert traverse(model, z, [3], values).shape == (1, 3, 5)
    with pytest.raises(RecipeError, match="z2 is part of a state"):
        traverse(model, z, [3, 1], values)
    curved = VAE(HypersphericalPrior(2), Gaussian(MLP(2, [], 5)), VonMisesFisherPosterior(MLP(5, [], 3))).double()
    with pytest.raises(RecipeError, match="traverse: z is part of"):
        traverse(curved, z[:2], most_told(curved, split_of(WORLD.sample(9)), 8), values)


def test_the_plane_grows_to_the_right_and_upwards_by_equal_shares_of_the_prior():
    found = manifold(WORLD.model(), units=(1, 2), steps=4)
    at = norm.ppf((np.arange(4) + 0.5) / 4)
    for row in range(4):
        for column in range(4):
            z = torch.tensor([0.0, at[column], at[3 - row]]).double()
            assert_close(found[row, column], decoded(z))


def test_a_plane_needs_a_standard_prior():
    with pytest.raises(RecipeError, match="the prior is GaussianPrior of 1"):
        manifold(Linear.random(latent=1, observed=3).model())


def test_the_fourth_of_an_analogy_is_c_plus_b_less_a():
    x = WORLD.sample(3)
    z, _ = encode(WORLD.model(), split_of(x))
    assert_close(analogy(WORLD.model(), split_of(x)), decoded(z[2] + z[1] - z[0])[None])
    with pytest.raises(RecipeError, match=r"needs three rows.* got 2"):
        analogy(WORLD.model(), split_of(x[:2]))


def test_an_attribute_is_the_difference_of_two_means():
    x = WORLD.sample(10)
    z, _ = encode(WORLD.model(), split_of(x))
    towards, away = torch.arange(10) < 3, torch.arange(10) > 6
    assert_close(direction(WORLD.model(), split_of(x), towards, away), z[:3].mean(0) - z[7:].mean(0))
    with pytest.raises(RecipeError, match="no example has the value"):
        direction(WORLD.model(), split_of(x), towards, away & False)


def test_the_units_that_move_most_come_first():
    x = WORLD.sample(200)
    z, _ = encode(WORLD.model(), split_of(x))
    assert most_told(WORLD.model(), split_of(x), 2) == np.argsort(-z.var(0).numpy())[:2].tolist()


def test_a_run_moves_in_the_users_units(tmp_path):
    run = vael.fit("digits", latent=3, steps=3, output=tmp_path / "run")
    columns, units = run.traverse(5, units=[2, 0], steps=4)
    assert (units, columns["unit"].tolist()) == ([2, 0], [3] * 4 + [1] * 4)
    assert columns["x"].shape == (8, 1, 8, 8)
    assert len(run.traverse(steps=3)[1]) == 3
    assert run.manifold(steps=5)["x"].shape == (25, 1, 8, 8)
    assert run.analogy([1, 2, 3])["x"].shape == (1, 1, 8, 8)
    way = run.moved(4, ("digit", 8), ("digit", 3), steps=6)["x"]
    assert way.shape == (6, 1, 8, 8)
    assert np.array_equal(way[0], run.reconstruct(run.rows([4]))["x"][0])
    with pytest.raises(RecipeError, match="the run's label of classes is 'digit'"):
        run.moved(4, ("colour", 8))
