"""An encoder trained on x with noise on it."""

import pytest
import torch
from torch.testing import assert_close
from worlds import assert_recorded, split_of

from vael import VAE, Batch, RecipeError, Training
from vael.evaluation import bounds
from vael.likelihoods import Gaussian
from vael.networks import MLP, Corrupted
from vael.objectives import Reconstruction
from vael.posteriors import DeterministicPosterior
from vael.priors import GaussianPrior
from vael.training import Engine


def auto(**noise: float) -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = Corrupted(MLP(5, [4], 2, activation="tanh"), **noise)
        return VAE(GaussianPrior(2), Gaussian(MLP(2, [4], 5), scale=1.0), DeterministicPosterior(encoder))


def rows(count: int = 30) -> torch.Tensor:
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(1))


def test_a_share_of_the_features_is_blanked_and_the_rest_moved():
    x, eps = torch.full((400, 50), 2.0), torch.randn(2, 400, 50, generator=torch.Generator().manual_seed(0))
    seen = Corrupted(MLP(50, [], 1), mask=0.3, blank=-7.0, noise=0.5).corrupt(x, eps)
    blank = seen == -7.0
    assert abs(float(blank.float().mean()) - 0.3) < 4 * (0.3 * 0.7 / 20_000) ** 0.5
    assert_close(seen[~blank], (2.0 + 0.5 * eps[1])[~blank])
    assert_close(Corrupted(MLP(50, [], 1)).corrupt(x, eps), x)


def test_the_encoder_sees_the_noise_and_the_likelihood_x_itself():
    model, x = auto(noise=0.5), rows(6)
    seen = model.posterior.network.corrupt(x, torch.randn(2, 6, 5))
    terms = model.terms(Batch(x, seen=seen), model.noise(1, 6, seed=0))
    z = model.posterior(seen).mean
    assert_close(terms.latents[0].z[0], z)
    assert_close(terms.log_px_z[0], model.likelihood.log_prob(x, z.unsqueeze(0))[0])


def test_a_step_of_training_has_noise_of_its_own_and_a_measurement_none():
    model, split = auto(mask=0.4, noise=0.2), split_of(rows())
    engine = Engine(model, Reconstruction(), split, Training(steps=9, batch=10), seed=0)
    first, again, second = (engine.look(step).batch for step in (0, 0, 1))
    assert torch.equal(first.seen, again.seen)
    assert not torch.equal(first.seen - first.x, second.seen - second.x)
    plain = VAE(model.prior, model.likelihood, DeterministicPosterior(model.posterior.network.network))
    assert_close(bounds(model, split).distortion, bounds(plain, split).distortion)


def test_a_recorded_step_is_the_step_bit_for_bit():
    assert_recorded(auto(mask=0.4, noise=0.2), Reconstruction(), split_of(rows()), warm_up=0)


def test_trained_on_noise_it_makes_noisy_rows_whole_better_than_one_that_was_not():
    """Rows on a line: where the noise is across it, it can be known and taken off."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(300, 1, generator=generator) * torch.ones(5)
    noisy, ends = x + torch.randn(300, 5, generator=generator), []
    for noise in (0.0, 1.0):
        model = auto(noise=noise)
        engine = Engine(model, Reconstruction(), split_of(x), Training(steps=400, batch=50, learning_rate=0.01), seed=0)
        for _ in range(400):
            engine.advance()
        made = model.likelihood(model.posterior(noisy).mean).mean.detach()
        ends.append(float((made - x).square().mean()))
    assert ends[1] < 0.8 * ends[0]


def test_what_makes_no_sense_is_refused():
    with pytest.raises(RecipeError, match=r"Corrupted: mask must be in 0 … 1 and noise at least 0, got mask 1.5"):
        Corrupted(MLP(5, [], 2), mask=1.5)
