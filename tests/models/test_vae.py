"""The model: a pure function of (batch, noise); noise by address; gradients against finite differences."""

import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Laplace
from torch.testing import assert_close

from vael import ELBO, IWAE, VAE, Batch, ShapeError
from vael.likelihoods import Bernoulli, Gaussian
from vael.networks import MLP
from vael.posteriors import GaussianPosterior, Posterior
from vael.priors import GaussianPrior


def small(seed: int = 0) -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder, encoder = MLP(2, [5], 6, activation="tanh"), MLP(6, [5], 4, activation="tanh")
        return VAE(GaussianPrior(2), Bernoulli(decoder), GaussianPosterior(encoder)).double()


X = (torch.rand(7, 6, generator=torch.Generator().manual_seed(0)) > 0.5).double()


def test_the_same_noise_gives_the_same_terms_and_moves_no_global_state():
    model, before = small(), torch.get_rng_state()
    noise = model.noise(3, 7, seed=4)
    first, second = model.terms(X, noise), model.terms(X, noise)
    assert torch.equal(first.log_w, second.log_w)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_example_does_not_feel_its_neighbours():
    model = small()
    (eps,) = model.noise(3, 7, seed=4).latents
    whole = model.terms(X, type(model.noise(1, 1, seed=0))((eps,)))
    part = model.terms(X[2:5], type(model.noise(1, 1, seed=0))((eps[:, 2:5],)))
    assert_close(part.log_w, whole.log_w[:, 2:5], atol=1e-12, rtol=0)


def test_noise_differs_by_seed_step_draw_example_and_unit_and_repeats():
    model = small()
    a = model.noise(4, 7, seed=1, step=5).latents[0]
    assert torch.equal(a, model.noise(4, 7, seed=1, step=5).latents[0])
    for other in (model.noise(4, 7, seed=2, step=5), model.noise(4, 7, seed=1, step=6)):
        assert not torch.equal(a, other.latents[0])
    assert len(a.flatten().unique()) == a.numel()


@pytest.mark.parametrize("objective", [ELBO(draws=2), IWAE(draws=2)])
def test_gradients_equal_finite_differences(objective):
    model = small()
    noise = model.noise(2, 7, seed=0)
    objective(model.terms(X, noise)).sum().backward()
    for name, parameter in model.named_parameters():
        place = (0,) * parameter.dim()
        with torch.no_grad():
            values = []
            for step in (1e-6, -1e-6):
                parameter[place] += step
                values.append(float(objective(model.terms(X, noise)).sum()))
                parameter[place] -= step
        slope = (values[0] - values[1]) / 2e-6
        assert float(parameter.grad[place]) == pytest.approx(slope, rel=1e-5, abs=1e-6), name


def test_reduction_is_a_sum_over_features_so_copies_of_a_feature_count():
    single = VAE(GaussianPrior(1), Gaussian(MLP(1, [], 1), scale=1.0), GaussianPosterior(MLP(1, [], 2))).double()
    double = VAE(GaussianPrior(1), Gaussian(MLP(1, [], 2), scale=1.0), GaussianPosterior(MLP(2, [], 2))).double()
    with torch.no_grad():
        for source, target in [(single.likelihood, double.likelihood)]:
            target.network.head.weight.copy_(source.network.head.weight.expand(2, 1))
            target.network.head.bias.copy_(source.network.head.bias.expand(2))
        double.posterior.network.head.weight.copy_(single.posterior.network.head.weight.expand(2, 2) / 2)
        double.posterior.network.head.bias.copy_(single.posterior.network.head.bias)
    x = torch.tensor([[0.4], [-1.0]], dtype=torch.float64)
    noise = single.noise(3, 2, seed=0)
    one, two = single.terms(x, noise), double.terms(x.expand(2, 2), noise)
    assert_close(two.distortion, 2 * one.distortion)
    assert_close(two.rate, one.rate)


def test_the_decoder_sees_draws_not_the_mean():
    """E f(z) ≠ f(E z): for z ~ N(.3, .64), E sin z = .214592 and sin E z = .295520."""
    z = torch.randn(400_000, generator=torch.Generator().manual_seed(0)).double() * 0.8 + 0.3
    assert float(z.sin().mean()) == pytest.approx(0.214592, abs=4 * 0.6 / 632)
    model = small()
    distortion = float(model.terms(X, model.noise(4000, 7, seed=0)).distortion.detach().mean())
    with torch.no_grad():
        at_mean = -model.likelihood.log_prob_parts(X, model.posterior(X).mean[None]).sum(-1).mean()
    assert abs(distortion - float(at_mean)) > 0.01


def test_an_image_event_is_summed_over_all_its_axes():
    model = VAE(
        GaussianPrior(2), Bernoulli(MLP(2, [3], (1, 4, 4))), GaussianPosterior(MLP((1, 4, 4), [3], 4))
    )  # fmt: skip
    terms = model.terms(torch.ones(5, 1, 4, 4), model.noise(2, 5, seed=0))
    assert terms.log_px_z.shape == (2, 5)
    assert model.likelihood.log_prob_parts(torch.ones(5, 1, 4, 4), terms.latents[0].z).shape == (2, 5, 16)
    with pytest.raises(ShapeError, match=r"x has shape \(5, 1, 5, 5\), expected \(batch, 1, 4, 4\)"):
        model.terms(torch.ones(5, 1, 5, 5), model.noise(1, 5, seed=0))


def test_prior_and_posterior_must_agree_on_the_latents():
    with pytest.raises(ShapeError, match="the prior has 3 latents, the posterior 2"):
        VAE(GaussianPrior(3), Bernoulli(MLP(3, [], 6)), GaussianPosterior(MLP(6, [], 4)))


def test_a_mask_hides_values_from_the_score():
    model = VAE(GaussianPrior(1), Gaussian(MLP(1, [], 3)), GaussianPosterior(nn.Linear(3, 2), latent=1)).double()
    x = torch.tensor([[0.1, 5.0, -2.0]], dtype=torch.float64)
    observed = torch.tensor([[True, False, True]])
    noise = model.noise(2, 1, seed=0)
    model.posterior.network.weight.data[:, 1] = 0  # an encoder blind to the hidden feature
    hidden = model.terms(Batch(x, observed=observed), noise).log_px_z
    x[0, 1] = 1e6
    assert torch.equal(model.terms(Batch(x, observed=observed), noise).log_px_z, hidden)


class LaplacePosterior(Posterior):
    """A foreign family: no from_noise, no registered KL."""

    def __init__(self) -> None:
        super().__init__()
        self.latent, self.network = 2, nn.Linear(6, 2)

    def forward(self, x: Tensor, given: Tensor | None = None, observed: Tensor | None = None) -> Independent:
        return Independent(Laplace(self.network(x), torch.ones(2, dtype=x.dtype)), 1)


def test_a_foreign_posterior_is_drawn_from_a_forked_state_and_says_so():
    model = VAE(GaussianPrior(2), Bernoulli(MLP(2, [5], 6)), LaplacePosterior()).double()
    noise, before = model.noise(4, 7, seed=0), torch.get_rng_state()
    with pytest.warns(UserWarning, match="Independent has no from_noise"):
        first = model.terms(X, noise)
    assert torch.equal(torch.get_rng_state(), before)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert torch.equal(model.terms(X, noise).log_w, first.log_w)
        other = model.terms(X, model.noise(4, 7, seed=1))
    assert not torch.equal(other.log_w, first.log_w)
    # without a closed form the rate is the Monte Carlo mean, so the bound is the mean log weight
    assert_close(first.elbo, first.log_w.mean(0))


def test_a_density_over_lengths_is_no_posterior_of_a_prior_with_point_masses():
    from vael import RecipeError
    from vael.priors import SpikeSlabPrior

    with pytest.raises(RecipeError, match="the prior is a law of SpikeSlab, the posterior one of DiagonalGaussian"):
        VAE(SpikeSlabPrior(2), Gaussian(MLP(2, [], 5)), GaussianPosterior(MLP(5, [], 4)))
