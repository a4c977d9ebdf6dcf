"""Laws that hold for every prior. A new member joins by one line in MEMBERS."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from vael import RecipeError, priors
from vael.files import load_tensors, save_tensors
from vael.priors import GaussianPrior, Prior, SpikeSlabPrior

MEMBERS = {"gaussian": GaussianPrior}
every = pytest.mark.parametrize("name", MEMBERS)


def made(name: str, latent: int = 3) -> Prior:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MEMBERS[name](latent).double()


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_every_public_prior_is_under_these_laws():
    smooth = {getattr(priors, name) for name in priors.__all__} - {Prior, SpikeSlabPrior}  # which has a mass at 0
    assert smooth == set(MEMBERS.values())


@every
def test_it_is_a_density_over_as_many_numbers_as_it_says(name):
    prior = made(name, 5)
    assert prior.latent == 5
    assert prior().event_shape == (5,)
    with pytest.raises(RecipeError, match="latent must be at least 1, got 0"):
        MEMBERS[name](0)


@every
def test_the_density_of_two_latents_integrates_to_one(name):
    """The rectangle rule on a smooth density that vanishes at the ends is exact to rounding."""
    line = torch.linspace(-12, 12, 601, dtype=torch.float64)
    density = made(name, 2)().log_prob(torch.cartesian_prod(line, line)).exp()
    assert_close(density.sum() * (line[1] - line[0]) ** 2, torch.tensor(1.0).double(), atol=1e-9, rtol=0)


@every
def test_draws_are_its_own(name):
    """E[log p(z)] over draws is minus the entropy, by a second set of draws; four standard errors."""
    prior = made(name)()
    log_p = prior.log_prob(prior.from_noise(noise(20_000, 3)))
    line = torch.linspace(-9, 9, 181, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line, line)
    there = prior.log_prob(grid)
    minus_entropy = (there.exp() * there).sum() * (line[1] - line[0]) ** 3
    assert (log_p.mean() - minus_entropy).abs() < 4 * log_p.std() / 141
    assert log_p.std() / 141 < 0.02


@every
def test_draws_and_examples_broadcast(name):
    prior, eps = made(name)(), noise(4, 5, 3)
    z = prior.from_noise(eps)
    assert prior.log_prob(z).shape == (4, 5)
    for k in range(4):
        assert_close(prior.from_noise(eps[k]), z[k], atol=1e-12, rtol=0)
        assert_close(prior.log_prob(z)[k], prior.log_prob(z[k]), atol=1e-12, rtol=0)


@every
def test_weights_survive_saving_and_loading(name, tmp_path):
    prior, z = made(name), noise(4, 3)
    save_tensors(tmp_path / "weights.safetensors", prior.state_dict())
    again = MEMBERS[name](3).double()
    again.load_state_dict(load_tensors(tmp_path / "weights.safetensors")[0])
    assert torch.equal(again().log_prob(z), prior().log_prob(z))
