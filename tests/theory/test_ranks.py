"""Simulation-based calibration: what made an example ranks evenly among draws of what is believed of it.

z* ~ p(z), x ~ p(x|z*): then z* is a draw of p(z|x), and its rank among K draws of an exact posterior is uniform on
0 … K. The same of x among draws of p(x|z*). χ² over K + 1 ranks; a true law fails one time in 10⁴.
"""

import pytest
import torch
from scipy import stats
from torch import Tensor
from worlds import Linear, Wave

from vael import VAE, Batch
from vael.evidence.annealed import simulated
from vael.inference import path_to_posterior, sample_posterior
from vael.likelihoods import Bernoulli, Gaussian
from vael.networks import MLP
from vael.posteriors import GaussianPosterior
from vael.priors import GaussianPrior

DRAWS, EXAMPLES = 19, 4000


def is_even(ranks: Tensor, draws: int = DRAWS) -> bool:
    counts = torch.bincount(ranks.flatten().long(), minlength=draws + 1).numpy()
    return bool(stats.chisquare(counts).pvalue > 1e-4)


def ranks(truth: Tensor, draws: Tensor) -> Tensor:
    """How many of the draws `(K, …)` lie below the truth `(…)`."""
    return (draws < truth).sum(0)


def posterior_ranks(world: Linear, model, examples: int = EXAMPLES) -> Tensor:
    z, x = simulated(world.model(), examples, seed=3)
    with torch.no_grad():
        return ranks(z, model.posterior(x).from_noise(model.noise(DRAWS, examples, seed=4).latents[0]))


def test_an_exact_posterior_ranks_evenly_in_each_latent():
    world = Linear.random(3, 5, seed=2)
    found = posterior_ranks(world, world.model_with_full_posterior())
    assert all(is_even(found[:, unit]) for unit in range(3))


def test_the_best_diagonal_posterior_is_too_narrow_and_a_wide_one_shows_too():
    weight = torch.tensor(
        [[1.0, 0.9], [1.0, 1.2], [0.5, 0.4]], dtype=torch.float64
    )  # latents that explain each other away
    world = Linear(weight, torch.zeros(3, dtype=torch.float64), 0.25)
    assert not all(is_even(posterior_ranks(world, world.model())[:, unit]) for unit in range(2))
    wide = world.model()
    with torch.no_grad():
        wide.posterior.network.head.bias[2:] += 0.4
    assert not is_even(posterior_ranks(world, wide)[:, 0])


def test_the_likelihood_ranks_its_own_data_evenly():
    model = Linear.random(2, 4, seed=5).model()
    z, x = simulated(model, EXAMPLES, seed=1)
    law = model.likelihood(z.expand(DRAWS, -1, -1))
    with torch.no_grad():
        draws = model.likelihood.draw(law, torch.Generator().manual_seed(9))
    found = ranks(x, draws)
    assert all(is_even(found[:, feature]) for feature in range(4))
    model.likelihood.scale = 2 * model.likelihood.scale
    with torch.no_grad():
        wider = model.likelihood.draw(model.likelihood(z.expand(DRAWS, -1, -1)), torch.Generator().manual_seed(9))
    assert not is_even(ranks(x, wider)[:, 0])


@pytest.mark.parametrize("world", ["wave", "bits"])
def test_hamiltonian_draws_of_the_posterior_rank_the_truth_evenly(world):
    """19 chains of their own for each of 300 examples; from the prior, along a way of 60 moves."""
    if world == "wave":
        model = Wave(1.0).model()
    else:
        decoder = MLP(1, [], 5)
        with torch.no_grad():
            decoder.head.weight.copy_(torch.tensor([[2.0], [-1.0], [0.5], [3.0], [-2.0]]))
        model = VAE(GaussianPrior(1), Bernoulli(decoder), GaussianPosterior(MLP(5, [], 2))).double()
    assert isinstance(model.likelihood, Gaussian | Bernoulli)
    z, x = simulated(model, 300, seed=6)
    path = path_to_posterior(model, Batch(x), start="prior")
    draws = sample_posterior(path, range(300), draws=1, chains=DRAWS, warm_up=60, leapfrog=5)
    assert is_even(ranks(z, draws))
