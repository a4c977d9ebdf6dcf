"""Laws that hold for every posterior. A new member joins by one line in MEMBERS."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal
from torch.testing import assert_close

from vael import VAE, RecipeError, ShapeError, posteriors
from vael.distributions import DiagonalGaussian
from vael.files import load_tensors, save_tensors
from vael.likelihoods import Bernoulli
from vael.models import Latent
from vael.networks import MLP
from vael.posteriors import (
    ComputedPosterior,
    EncodedPosterior,
    FullGaussianPosterior,
    GaussianPosterior,
    LowRankGaussianPosterior,
    Posterior,
)
from vael.priors import GaussianPrior

FEATURES = 5
ROUNDING = {"atol": 1e-9, "rtol": 1e-9}

# name: (class, its arguments beside the network, outputs it takes for 2, 3 and 4 latents)
MEMBERS = {
    "gaussian": (GaussianPosterior, {}, (4, 6, 8)),
    "full_gaussian": (FullGaussianPosterior, {}, (5, 9, 14)),
    "low_rank_gaussian": (LowRankGaussianPosterior, {}, (8, 12, 16)),
    "low_rank_gaussian_1": (LowRankGaussianPosterior, {"rank": 1}, (6, 9, 12)),
}
every = pytest.mark.parametrize("name", MEMBERS)


def made(name: str, latent: int = 3) -> EncodedPosterior:
    member, arguments, outputs = MEMBERS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = MLP(FEATURES, [7], outputs[latent - 2], activation="tanh")
        network.head.weight.data.mul_(3.0)  # laws well away from the standard normal
        return member(network, **arguments).double()


def rows(count: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(count, FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def root_of(q: torch.distributions.Distribution, latent: int) -> Tensor:
    """R `(B, D, D)`, read off column by column: what unit noise is turned into."""
    columns = torch.eye(latent, dtype=torch.float64)[:, None, :].expand(-1, *q.batch_shape, -1)
    return (q.from_noise(columns) - q.mean).movedim(0, -1)


def as_torchs(q: torch.distributions.Distribution, latent: int) -> MultivariateNormal:
    root = root_of(q, latent)
    return MultivariateNormal(q.mean, root @ root.mT)


def test_every_public_posterior_is_under_these_laws():
    public = {getattr(posteriors, name) for name in posteriors.__all__} - {Posterior, EncodedPosterior}
    public = {member for member in public if not issubclass(member, ComputedPosterior)}  # without a network
    assert public == {member for member, _, _ in MEMBERS.values()}


@every
@pytest.mark.parametrize("latent", [2, 3, 4])
def test_the_size_of_z_is_read_off_the_networks_outputs(name, latent):
    member, arguments, outputs = MEMBERS[name]
    assert made(name, latent).latent == latent
    assert member(None, latent=latent, **arguments).width(latent) == outputs[latent - 2]
    assert made(name, latent)(rows()).mean.shape == (4, latent)


@every
def test_its_covariance_is_the_root_times_its_transpose(name):
    q = made(name)(rows())
    root = root_of(q, 3)
    assert_close(q.variance, (root @ root.mT).diagonal(dim1=-2, dim2=-1), **ROUNDING)
    assert (root @ root.mT - torch.eye(3)).abs().max() > 0.1  # no law that is nearly the prior
    if name != "gaussian":
        assert (root @ root.mT)[:, 0, 1].abs().min() > 1e-3  # what the diagonal one cannot say


@every
def test_log_prob_and_entropy_are_torchs(name):
    q, truth = made(name)(rows()), as_torchs(made(name)(rows()), 3)
    z = q.mean + 2 * noise(6, 4, 3)
    assert_close(q.log_prob(z), truth.log_prob(z), **ROUNDING)
    assert_close(q.entropy(), truth.entropy(), **ROUNDING)


@every
def test_the_density_of_two_latents_integrates_to_one(name):
    """The rectangle rule on a smooth density that vanishes at the ends is exact to rounding."""
    q = made(name, 2)(rows(1))
    line = torch.linspace(-9, 9, 721, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)[:, None, :] * q.variance.sqrt() + q.mean
    cell = (line[1] - line[0]) ** 2 * q.variance.sqrt().prod()
    assert_close(q.log_prob(grid).exp().sum() * cell, torch.tensor(1.0).double(), **ROUNDING)


@every
def test_the_mean_of_many_draws_is_the_mean(name):
    q = made(name)(rows(1))
    z = q.from_noise(noise(40_000, 1, 3))[:, 0]
    assert ((z.mean(0) - q.mean[0]).abs() < 4 * q.variance[0].sqrt() / 200).all()  # four standard errors


@every
def test_draws_and_examples_broadcast(name):
    q = made(name)(rows())
    eps = noise(3, 4, 3)
    z = q.from_noise(eps)
    assert z.shape == (3, 4, 3)
    for k in range(3):
        assert_close(q.from_noise(eps[k]), z[k], **ROUNDING)
        assert_close(q.log_prob(z)[k], q.log_prob(z[k]), **ROUNDING)
    deeper = q.from_noise(noise(2, 3, 4, 3))
    assert q.log_prob(deeper).shape == (2, 3, 4)
    assert_close(q.log_prob(deeper)[1, 2], q.log_prob(deeper[1, 2]), **ROUNDING)


@every
def test_an_example_does_not_feel_its_neighbours(name):
    posterior, x, z = made(name), rows(), noise(2, 4, 3)
    whole = posterior(x).log_prob(z)
    for b in range(4):
        assert_close(posterior(x[b : b + 1]).log_prob(z[:, b : b + 1]), whole[:, b : b + 1], **ROUNDING)


@every
@pytest.mark.parametrize("what", ["draw", "log_prob", "rate", "entropy"])
def test_the_gradient_reaches_every_parameter(name, what):
    """Of the last layer every output matters, except where the mean has no part in the entropy."""
    posterior, x = made(name), rows()
    q = posterior(x)
    model = VAE(GaussianPrior(3), Bernoulli(MLP(3, [], FEATURES)), posterior).double()
    value = {
        "draw": lambda: q.from_noise(noise(2, 4, 3)).square().sum(),
        "log_prob": lambda: q.log_prob(noise(2, 4, 3)).sum(),
        "rate": lambda: model.kl(q, GaussianPrior(3)()).sum(),
        "entropy": lambda: q.entropy().sum(),
    }[what]()
    value.backward()
    moved = posterior.network.head.bias.grad.abs() > 1e-9
    gaussian_spread = what == "entropy"
    assert moved[3 if gaussian_spread else 0 : 6].all()
    if name != "gaussian" and not (name == "full_gaussian" and gaussian_spread):
        assert moved[6:].all()  # the entropy of a Cholesky factor is its diagonal's


@every
def test_the_rate_is_the_mean_log_ratio_of_draws(name):
    posterior, x = made(name), rows()
    model = VAE(GaussianPrior(3), Bernoulli(MLP(3, [], FEATURES)), posterior).double()
    terms = model.terms((x > 0).double(), model.noise(20_000, 4, seed=0))
    ratio = terms.latents[0].log_q - terms.latents[0].log_p
    error = 4 * ratio.std(0) / math.sqrt(20_000)
    assert ((terms.rate - ratio.mean(0)).abs() < error).all()
    assert (error < 0.05 * terms.rate).all()


@every
def test_rates_of_units_add_up_to_the_rate_and_stand_alone_where_q_factorises(name):
    q, p = made(name)(rows()), GaussianPrior(3)()
    model = VAE(GaussianPrior(3), Bernoulli(MLP(3, [], FEATURES)), made(name))
    latent = Latent(q, p, noise(2, 4, 3), torch.tensor(-math.log(2)), model.kl, model.unit_kl)
    assert latent.unit_rate.shape == ((4, 3) if name == "gaussian" else (4, 1))
    assert_close(latent.unit_rate.sum(-1), latent.rate, **ROUNDING)


@every
def test_single_and_double_precision_agree(name):
    double = made(name)(rows())
    single = made(name).float()(rows().float())
    z = double.from_noise(noise(5, 4, 3))
    assert_close(single.log_prob(z.float()).double(), double.log_prob(z), atol=2e-4, rtol=1e-4)
    assert single.from_noise(noise(5, 4, 3).float()).dtype == torch.float32


@every
def test_weights_survive_saving_and_loading(name, tmp_path):
    posterior, z = made(name), noise(2, 4, 3)
    save_tensors(tmp_path / "weights.safetensors", posterior.state_dict())
    member, arguments, outputs = MEMBERS[name]
    again = member(MLP(FEATURES, [7], outputs[1], activation="tanh"), **arguments).double()
    again.load_state_dict(load_tensors(tmp_path / "weights.safetensors")[0])
    assert torch.equal(again(rows()).log_prob(z), posterior(rows()).log_prob(z))


class Masked(nn.Module):
    """A network that tells what it was handed."""

    takes_mask = True

    def __init__(self, width: int) -> None:
        super().__init__()
        self.outputs, self.seen = width, None

    def forward(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        self.seen = observed
        return x.new_zeros(len(x), self.outputs)


@every
def test_a_network_that_takes_the_mask_is_handed_it(name):
    member, arguments, outputs = MEMBERS[name]
    posterior, observed = member(Masked(outputs[1]), **arguments), torch.zeros(4, FEATURES, dtype=torch.bool)
    posterior(rows().float(), observed=observed)
    assert posterior.network.seen is observed
    q = posterior(rows().float())  # all outputs zero: the standard normal
    assert_close(q.log_prob(torch.zeros(4, 3)), torch.full((4,), -1.5 * math.log(2 * math.pi)))


@every
def test_sizes_that_do_not_fit_are_refused_in_words(name):
    member, arguments, outputs = MEMBERS[name]
    with pytest.raises(ShapeError, match=rf"{member.__name__}: needs .*, got a network with {outputs[1] + 1} outputs"):
        member(MLP(FEATURES, [], outputs[1] + 1), **arguments)
    with pytest.raises(ShapeError, match=rf"with {outputs[1]} outputs for 4 latents, which take {outputs[2]}"):
        member(MLP(FEATURES, [], outputs[1]), latent=4, **arguments)
    with pytest.raises(RecipeError, match="does not say its `outputs`; give latent"):
        member(nn.Linear(FEATURES, outputs[1]), **arguments)
    with pytest.raises(RecipeError, match="latent must be at least 1, got 0"):
        member(None, latent=0, **arguments)
    with pytest.raises(ShapeError, match=rf"output has shape \(4, 1\), expected \(…, {outputs[1]}\)"):
        member(nn.Linear(FEATURES, 1), latent=3, **arguments)(rows().float())
    with pytest.raises(RecipeError, match="has no encoder network"):
        member(None, latent=3, **arguments)(rows())


def test_a_rank_below_one_is_refused():
    with pytest.raises(RecipeError, match="rank must be a whole number of at least 1, got 0"):
        LowRankGaussianPosterior(None, latent=3, rank=0)


def test_without_correlations_each_law_is_the_diagonal_one():
    loc, log_scale, z = noise(4, 3), noise(4, 3) / 2, noise(2, 4, 3)
    truth = DiagonalGaussian(loc, log_scale)
    both = torch.cat([loc, log_scale], -1)
    for name in ("full_gaussian", "low_rank_gaussian"):
        posterior = made(name)
        q = posterior.law(torch.cat([both, both.new_zeros(4, posterior.width(3) - 6)], -1))
        assert_close(q.log_prob(z), truth.log_prob(z), **ROUNDING)
        assert_close(q.from_noise(z), truth.from_noise(z), **ROUNDING)
        assert_close(q.entropy(), truth.entropy(), **ROUNDING)
