"""Generate, encode, reconstruct."""

import dataclasses

import pytest
import torch
from torch.testing import assert_close
from worlds import Linear, split_of

from vael import VAE, RecipeError
from vael.applications import encode, generate, generated, reconstruct
from vael.likelihoods import Bernoulli
from vael.networks import MLP
from vael.posteriors import GaussianPosterior
from vael.priors import GaussianPrior

WORLD = Linear.random(latent=2, observed=4, seed=2)


def test_samples_have_the_mean_and_covariance_of_p_of_x():
    x = generate(WORLD.model(), 60_000, seed=0)
    covariance = WORLD.weight @ WORLD.weight.T + WORLD.variance * torch.eye(4)
    spread = covariance.diagonal().sqrt()
    assert ((x.mean(0) - WORLD.bias).abs() < 4 * spread / 60_000**0.5).all()
    assert_close(torch.cov(x.T), covariance, atol=5 * float(spread.max()) ** 2 / 60_000**0.5, rtol=0)


def test_mean_samples_lack_the_noise_of_the_likelihood():
    x = generate(WORLD.model(), 60_000, seed=0, mean=True)
    assert_close(torch.cov(x.T), WORLD.weight @ WORLD.weight.T, atol=0.1, rtol=0)


def test_a_seed_fixes_the_samples_and_more_of_them_are_new():
    model = WORLD.model()
    assert torch.equal(generate(model, 10, seed=1), generate(model, 10, seed=1))
    assert not torch.equal(generate(model, 10, seed=1), generate(model, 10, seed=2))
    assert len(generate(model, 9000, seed=1).unique(dim=0)) == 9000


def test_samples_come_in_pieces_and_in_bytes_as_they_do_whole():
    model = VAE(GaussianPrior(2), Bernoulli(MLP(2, [4], 6)), GaussianPosterior(MLP(6, [4], 4)))
    whole = generate(model, 9000, seed=1)
    pieces = []
    for first, some in generated(model, 9000, seed=1):
        assert first == sum(map(len, pieces))
        assert not torch.is_inference_mode_enabled()
        pieces.append(some)
    assert max(map(len, pieces)) < 5000
    assert torch.equal(torch.cat(pieces), whole)
    assert torch.equal(generate(model, 9000, seed=1, dtype=torch.uint8), whole.to(torch.uint8))
    assert generate(model, 1, seed=1, dtype=torch.uint8).dtype == torch.uint8


def test_bytes_are_encoded_as_the_fractions_they_stand_for():
    """Any number of rows at a time, against the encoder on grey / 255 in one product."""
    model = VAE(GaussianPrior(2), Bernoulli(MLP(2, [4], 784)), GaussianPosterior(MLP(784, [4], 4)))
    grey = torch.randint(0, 256, (1500, 784), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    q = model.posterior(grey.float() / 255)
    means, deviations = encode(model, dataclasses.replace(split_of(grey), divisor=255.0))
    assert_close(means, q.loc.detach().double(), atol=1e-5, rtol=0)  # float32: the same sums in another order
    assert_close(deviations, q.scale.detach().double(), atol=1e-5, rtol=0)


def test_encoding_is_the_posterior_mean_and_deviation_without_gradient():
    x, model = WORLD.sample(30), WORLD.model()
    means, deviations = encode(model, split_of(x))
    q = model.posterior(x)
    assert_close(means, q.loc.detach(), atol=1e-12, rtol=0)
    assert_close(deviations, q.scale.detach(), atol=1e-12, rtol=0)
    assert not means.requires_grad
    assert torch.equal(means, encode(model, split_of(x))[0])


def test_a_row_has_the_same_latent_wherever_it_stands():
    """Also under dynamic binarisation, which encoding replaces by a threshold."""
    model = VAE(GaussianPrior(2), Bernoulli(MLP(2, [4], 6)), GaussianPosterior(MLP(6, [4], 4)))
    grey = torch.randint(0, 256, (5, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    split = dataclasses.replace(split_of(grey), divisor=255.0, dynamic=True)
    means, _ = encode(model, split)
    moved, _ = encode(model, dataclasses.replace(split, x=grey.flip(0)))
    assert_close(moved.flip(0), means)
    assert len(means.unique(dim=0)) > 2  # and other rows have others


def test_a_reconstruction_is_the_decoded_posterior_mean():
    x, model = WORLD.sample(30), WORLD.model()
    assert_close(reconstruct(model, split_of(x)), model.likelihood(model.posterior(x).loc).mean.detach())


def test_no_samples_are_refused():
    with pytest.raises(RecipeError, match="must be at least 1, got 0"):
        generate(WORLD.model(), 0, seed=0)
