"""What z is worth to a decoder, and what decoding its mean hides, against closed forms."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from worlds import Linear, split_of

from vael import VAE, RecipeError
from vael.diagnostics import decoder_use
from vael.diagnostics.decoder_use import distortions, shuffled
from vael.likelihoods import Bernoulli, Gaussian
from vael.networks import MLP
from vael.posteriors import GaussianPosterior
from vael.priors import GaussianPrior

WORLD = Linear.random(latent=2, observed=5, seed=3)


class Sine(nn.Module):
    """A decoder that is no line: f(z) = sin z."""

    outputs = 1

    def forward(self, z: Tensor) -> Tensor:
        return torch.sin(z)


def sine(scale: float = 1.0) -> VAE:
    """q(z|x) = N(0.3, 0.8²) whatever x, p(x|z) = N(sin z, scale²)."""
    posterior = GaussianPosterior(MLP(1, [], 2))
    with torch.no_grad():
        posterior.network.head.weight.zero_()
        posterior.network.head.bias.copy_(torch.tensor([0.3, math.log(0.8)]))
    return VAE(GaussianPrior(1), Gaussian(Sine(), scale=scale), posterior).double()


def quantiles(count: int) -> Tensor:
    """z `(K, 1, 1)` in the middle of K equal shares of N(0.3, 0.8²): means over it are quadrature."""
    shares = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return (0.3 + 0.8 * torch.special.ndtri(shares))[:, None, None]


def test_the_mean_of_a_sine_is_not_the_sine_of_the_mean():
    """−log p(x|z) has the slope −E f(z) in x at 0: .214592 over q, .295520 where its mean is decoded."""
    model, z, step = sine(), quantiles(100_000), 1e-3

    def slope(z: Tensor) -> float:
        up, down = (float(distortions(model, split_of(torch.tensor([[x]]).double()), z)) for x in (step, -step))
        return -(up - down) / (2 * step)

    assert slope(z) == pytest.approx(0.214592, abs=5e-7)
    assert slope(torch.full((1, 1, 1), 0.3).double()) == pytest.approx(0.295520, abs=5e-7)
    assert slope(z) == pytest.approx(math.exp(-0.32) * math.sin(0.3), abs=5e-7)


def test_the_distortion_hidden_by_the_mean_is_told_with_its_error():
    """E log p(x|z) from E sin z and E sin² z = ½(1 − e^{−2s²} cos 2μ), in closed form."""
    x = torch.linspace(-1, 1, 400)[:, None].double()
    mean, square = math.exp(-0.32) * math.sin(0.3), 0.5 * (1 - math.exp(-1.28) * math.cos(0.6))
    at_mean = math.sin(0.3)
    truth = float(((square - 2 * x * mean) - (at_mean**2 - 2 * x * at_mean)).mean() / (2 * 0.25))
    found = decoder_use(sine(0.5), split_of(x), draws=500)
    assert found.at_mean.standard_error < 0.03
    assert abs(found.at_mean.value - truth) < 4 * found.at_mean.standard_error
    assert truth > 0.3  # decoding the mean makes it look better than it is


def test_another_examples_z_costs_a_linear_decoder_what_its_gaussian_says():
    """E|x − W z'|² − E|x − W z|² = 2 tr(W Cov(z, x)), for z' of another example: independent, with the same law."""
    model, x = WORLD.model(), WORLD.sample(4000)
    found = decoder_use(model, split_of(x), examples=None)
    gain = model.posterior.network.head.weight[:2].detach()
    covariance = WORLD.weight @ WORLD.weight.T + WORLD.variance * torch.eye(5).double()
    truth = float(torch.trace(WORLD.weight @ gain @ covariance)) / WORLD.variance
    assert found.of_z.standard_error < 0.4
    assert abs(found.of_z.value - truth) < 4 * found.of_z.standard_error
    assert found.of_z.exceeds(1.0)


def test_no_example_keeps_its_own_z():
    """Zeros and ones that z copies: with its own z every example is free, with another's half of them are lost."""
    model = VAE(GaussianPrior(1), Bernoulli(MLP(1, [], 1)), GaussianPosterior(MLP(1, [], 2))).double()
    with torch.no_grad():
        model.likelihood.network.head.weight.fill_(1.0), model.likelihood.network.head.bias.zero_()
    x = torch.tensor([[0.0], [1.0], [0.0], [1.0]]).double()
    z = (20 * (2 * x - 1)).unsqueeze(0)
    assert_close(distortions(model, split_of(x), z), torch.zeros(4).double(), atol=1e-6, rtol=0)
    assert_close(shuffled(model, split_of(x), z), torch.full((4,), 20.0).double(), atol=1e-6, rtol=0)


def test_a_decoder_whose_features_are_independent_knows_nothing_of_x():
    found = decoder_use(WORLD.model(), split_of(WORLD.sample(4000)), examples=None)
    assert abs(found.of_x.value) < 4 * found.of_x.standard_error
    assert found.of_x.standard_error < 0.5


def test_a_collapsed_decoder_uses_neither():
    weight = torch.zeros(5, 2).double()
    model = Linear(weight, WORLD.bias, 2.0).model()
    found = decoder_use(model, split_of(WORLD.sample(500)))
    assert found.of_z.value == pytest.approx(0, abs=1e-12)
    assert found.of_x.value == pytest.approx(0, abs=1e-9)  # the same features in another order: the same sum
    assert found.at_mean.value == pytest.approx(0, abs=1e-12)


def test_the_distortion_is_in_the_users_units():
    split = split_of(WORLD.sample(100))
    plain = decoder_use(WORLD.model(), split)
    wide = decoder_use(WORLD.model(), type(split)(split.x, split.index, torch.full((100,), 2.0).double()))
    assert wide.distortion.value == pytest.approx(plain.distortion.value - 2)
    assert wide.of_z.value == pytest.approx(plain.of_z.value)
    assert wide.at_mean.value == pytest.approx(plain.at_mean.value)


def test_one_example_has_no_other():
    with pytest.raises(RecipeError, match="needs at least 2 examples to exchange z between, got 1"):
        decoder_use(WORLD.model(), split_of(WORLD.sample(1)))
