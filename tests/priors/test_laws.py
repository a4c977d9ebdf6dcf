"""Laws that hold for every prior. A new member joins by one line in MEMBERS."""

import math
from functools import cache, partial

import pytest
import torch
from spaces import ball, sphere
from torch import Tensor
from torch.testing import assert_close
from worlds import assert_recorded, split_of

from vael import ELBO, VAE, RecipeError, priors
from vael.files import load_tensors, save_tensors
from vael.likelihoods import Bernoulli
from vael.networks import MLP
from vael.posteriors import (
    BernoulliPosterior,
    CategoricalPosterior,
    FullGaussianPosterior,
    Posterior,
    VonMisesFisherPosterior,
    WrappedNormalPosterior,
)
from vael.priors import (
    AutoregressivePrior,
    BernoulliPrior,
    CategoricalPrior,
    ChainPrior,
    CodesPrior,
    ConditionalPrior,
    DiffusionPrior,
    ExemplarPrior,
    FlowPrior,
    GaussianPrior,
    HyperbolicPrior,
    HypersphericalPrior,
    MixturePrior,
    MovedPrior,
    Prior,
    SpikeSlabPrior,
    VampPrior,
)

FEATURES = 5


def posterior_for(prior: Prior) -> Posterior:
    """A posterior of the same kind of numbers, the same at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        if isinstance(prior, CategoricalPrior):
            return CategoricalPosterior(MLP(FEATURES, [], prior.latent), classes=prior.latent, enumerates=True)
        if isinstance(prior, BernoulliPrior):
            return BernoulliPosterior(MLP(FEATURES, [], prior.latent), enumerates=True)
        if isinstance(prior, HypersphericalPrior):
            return VonMisesFisherPosterior(MLP(FEATURES, [4], prior.latent + 1, activation="tanh"))
        if isinstance(prior, HyperbolicPrior):
            network = MLP(FEATURES, [4], 2 * prior.latent, activation="tanh")
            return WrappedNormalPosterior(network, curvature=prior.curvature)
        width = FullGaussianPosterior(None, latent=prior.latent).width(prior.latent)
        return FullGaussianPosterior(MLP(FEATURES, [4], width, activation="tanh"))


def vamp(latent: int) -> VampPrior:
    prior = VampPrior(latent, components=4, event_shape=FEATURES)
    prior.bind(posterior_for(prior).double(), Bernoulli(MLP(latent, [], FEATURES)))
    return prior


# name: what makes one over so many numbers
MEMBERS = {
    "gaussian": GaussianPrior,
    "bernoulli": BernoulliPrior,
    "bernoulli_rare": partial(BernoulliPrior, on=0.1),
    "bernoulli_learned": partial(BernoulliPrior, on=0.7, learned=True),
    "categorical": CategoricalPrior,
    "categorical_learned": partial(CategoricalPrior, learned=True),
    "hyperspherical": HypersphericalPrior,
    "hyperbolic": HyperbolicPrior,
    "hyperbolic_flatter": partial(HyperbolicPrior, curvature=0.3, scale=0.7),
    "mixture": partial(MixturePrior, components=3),
    "vamp": vamp,
    "flow_nsf": partial(FlowPrior, transforms=2, hidden=[8]),
    "flow_maf": partial(FlowPrior, flow="maf", hidden=[8]),
    "flow_coupling": partial(FlowPrior, flow="coupling", hidden=[8]),
    "autoregressive": partial(AutoregressivePrior, components=3, hidden=[8]),
    "exemplar": partial(ExemplarPrior, examples=4),
    "moved": lambda latent: MovedPrior(MixturePrior(latent, components=3)),
}
# name: points that fill its space for so many numbers, and how much of it each stands for
CURVED = {
    "hyperspherical": partial(sphere, count=240),
    "hyperbolic": partial(ball, count=120),
    "hyperbolic_flatter": partial(ball, count=120, curvature=0.3),
}
DISCRETE = [name for name in MEMBERS if name.startswith(("bernoulli", "categorical"))]
# The rectangle rule is exact to rounding on a smooth density that vanishes at the ends; an ELU's second derivative
# jumps, and so does a spline's.
ROUGHNESS = {"flow_nsf": 2e-4, "flow_maf": 1e-5, "flow_coupling": 1e-5, "autoregressive": 1e-5}
every = pytest.mark.parametrize("name", MEMBERS)
continuous = pytest.mark.parametrize("name", [name for name in MEMBERS if name not in (*DISCRETE, *CURVED)])
discrete = pytest.mark.parametrize("name", DISCRETE)
curved = pytest.mark.parametrize("name", CURVED)


def made(name: str, latent: int = 3) -> Prior:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior = MEMBERS[name](latent).double()
        for where, parameter in prior.named_parameters():  # scales and networks by less: a grid resolves and holds them
            small = where.endswith("log_scale") or name.startswith("flow")
            torch.nn.init.normal_(parameter, std=0.3 if small else 0.2 if "network" in where else 1.0)
        return prior


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_every_public_prior_is_under_these_laws():
    # A mass and a density at once: see tests/distributions/test_spike_slab.py.
    # Of what is given, and chains of others: tests/theory, tests/models.
    public = {getattr(priors, name) for name in priors.__all__} - {Prior, SpikeSlabPrior, ConditionalPrior, ChainPrior}
    public -= {CodesPrior}  # of a posterior's codes: tests/posteriors/test_quantized.py
    public -= {DiffusionPrior}  # of a posterior's steps: tests/theory/test_diffusion.py
    assert public == {type(made(name)) for name in MEMBERS}


@every
def test_it_is_a_law_over_as_many_numbers_as_it_says(name):
    prior = made(name, 5)
    assert prior.latent == 5
    assert prior().event_shape == (5,)
    assert isinstance(prior(), prior.family)


@every
def test_none_of_its_numbers_is_refused(name):
    with pytest.raises(
        RecipeError, match=r"must be at least [12], got 0|at least 2 classes and 1 group, got 0 classes"
    ):
        MEMBERS[name](0)


@cache
def grid(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Points `(601², 2)` of a square that holds all of it, log p there, and the mass that stands at each."""
    line = torch.linspace(-12, 12, 601, dtype=torch.float64)
    points = torch.cartesian_prod(line, line)
    with torch.no_grad():
        log_p = made(name, 2)().log_prob(points)
    return points, log_p, log_p.exp() * (line[1] - line[0]) ** 2


@continuous
def test_the_density_of_two_latents_integrates_to_one(name):
    _, _, mass = grid(name)
    assert_close(mass.sum(), torch.tensor(1.0).double(), atol=ROUGHNESS.get(name, 1e-9), rtol=0)


@continuous
def test_draws_are_its_own(name):
    """Means of log p(z), z, its squares and its product over draws, against those over a grid; four standard errors."""
    prior, (points, log_p, mass) = made(name, 2), grid(name)

    def seen(z: Tensor, log_p: Tensor) -> Tensor:
        return torch.stack([log_p, *z.unbind(-1), *z.square().unbind(-1), z.prod(-1)])

    with torch.no_grad():
        z = prior().from_noise(noise(20_000, 2))
        drawn = seen(z, prior().log_prob(z))
    error, truth = 4 * drawn.std(1) / math.sqrt(20_000), seen(points, log_p) @ mass
    assert ((drawn.mean(1) - truth).abs() < error).all()
    assert (error < 0.03 * drawn.std(1)).all()
    if name != "gaussian":
        assert truth[1:3].abs().max() > 0.05  # not nearly the standard normal


@continuous
def test_the_gradient_of_the_density_reaches_every_parameter(name):
    prior = made(name)
    if name != "gaussian":
        prior().log_prob(noise(50, 3)).sum().backward()
    for where, parameter in prior.named_parameters():
        assert (parameter.grad.abs() > 1e-9).any(), where


@continuous
def test_its_mean_and_variance_are_those_of_draws(name):
    """In closed form, or estimated from 256 draws: within six standard errors of those."""
    prior = made(name)()
    with torch.no_grad():
        z = prior.from_noise(noise(20_000, 3))
    assert ((prior.mean - z.mean(0)).abs() < 6 * z.std(0) / 16).all()
    assert ((prior.variance / z.var(0)).log().abs() < 0.7).all()


@every
def test_a_recorded_step_is_the_step_bit_for_bit(name):
    prior = made(name).float()
    posterior = posterior_for(prior)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = VAE(prior, Bernoulli(MLP(3, [4], FEATURES)), posterior).float()
    assert_recorded(model, ELBO(), split_of((torch.randn(12, FEATURES) > 0).float()))


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
    prior, z = made(name), made(name)().from_noise(noise(4, 3))
    save_tensors(tmp_path / "weights.safetensors", prior.state_dict())
    again = MEMBERS[name](3).double()
    again.load_state_dict(load_tensors(tmp_path / "weights.safetensors")[0])
    assert torch.equal(again().log_prob(z), prior().log_prob(z))


# ── curved spaces ────────────────────────────────────────────────────────────────────────────────────────────


@curved
@pytest.mark.parametrize("latent", [2, 3])
def test_the_density_over_its_space_integrates_to_one(name, latent):
    points, cells = CURVED[name](latent)
    assert_close(cells @ made(name, latent)().log_prob(points).exp(), torch.tensor(1.0).double(), atol=1e-9, rtol=0)


@curved
def test_draws_have_the_moments_of_the_density_over_its_space(name):
    """Means, and the mean square of a number off the first axis; four standard errors."""
    prior, (points, cells) = made(name)(), CURVED[name](3)
    weight, z = cells * prior.log_prob(points).exp(), prior.from_noise(noise(20_000, 3))
    for seen, there in ((z, points), (z.square(), points.square()), (z[:, 1].pow(4), points[:, 1].pow(4))):
        assert ((seen.mean(0) - weight @ there).abs() < 4 * seen.std(0) / 141).all()
        assert (seen.std(0) / 141 < 0.02).all()
    assert_close(prior.mean.double(), torch.zeros(3).double(), atol=1e-9, rtol=0)


# ── zeros and ones ───────────────────────────────────────────────────────────────────────────────────────────


@discrete
def test_probabilities_of_all_states_sum_to_one_and_their_mean_is_the_mean(name):
    prior = made(name)()
    states = prior.every()[:, 0]
    weight = prior.log_prob(states).exp()
    assert_close(weight.sum(), torch.tensor(1.0).double(), atol=1e-9, rtol=0)
    assert_close(weight @ states, prior.mean, atol=1e-9, rtol=0)


@discrete
def test_the_mean_of_many_draws_is_the_mean(name):
    prior = made(name)()
    z = prior.from_noise(noise(40_000, 3))
    assert ((z.mean(0) - prior.mean).abs() < 4 * prior.variance.sqrt() / 200).all()  # four standard errors
    assert (prior.variance.sqrt() / 200 <= 0.0025).all()


@discrete
def test_only_what_is_learned_is_a_parameter_and_the_gradient_reaches_it(name):
    prior = made(name)
    assert bool(list(prior.parameters())) == prior.learned
    if prior.learned:
        (-prior().log_prob(prior().from_noise(noise(7, 3))).sum()).backward()
        assert (prior.logits.grad.abs() > 1e-9).all()


def test_a_bits_probability_is_what_was_asked_and_classes_start_equal():
    assert_close(BernoulliPrior(2, on=0.1)().mean, torch.full((2,), 0.1))
    assert_close(BernoulliPrior(2, on=0.7, learned=True)().mean, torch.full((2,), 0.7))
    prior = CategoricalPrior(4, groups=2, learned=True)
    assert prior.latent == 8
    assert_close(prior().mean, torch.full((8,), 0.25))
    assert_close(prior().log_prob(prior().every()), torch.full((16, 1), -2 * math.log(4)))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: BernoulliPrior(2, on=1.0), "on must be between 0 and 1, got 1.0"),
        (lambda: BernoulliPrior(2, on=0.0), "on must be between 0 and 1, got 0.0"),
        (lambda: HyperbolicPrior(2, curvature=0), "curvature must be a number above 0, got 0"),
        (lambda: HyperbolicPrior(2, scale=-1.0), "scale must be a number above 0, got -1.0"),
        (lambda: HyperbolicPrior(2, scale="wide"), "scale must be a number above 0, got 'wide'"),
        (lambda: CategoricalPrior(1), "at least 2 classes and 1 group, got 1 classes and 1 groups"),
        (lambda: CategoricalPrior(3, groups=0), "at least 2 classes and 1 group, got 3 classes and 0 groups"),
        (lambda: MixturePrior(2, components=0), "must be at least 1, got 2 latents and 0 components"),
        (lambda: VampPrior(2, components=0), "must be at least 1, got 2 latents and 0 components"),
        (lambda: AutoregressivePrior(2, components=0), "must be at least 1, got 2 latents and 0 components"),
        (lambda: FlowPrior(2, transforms=0), "must be at least 1, got 2 latents and 0 transforms"),
        (lambda: FlowPrior(2, "mof"), "unknown flow 'mof'. There are: nsf, maf, coupling. Did you mean 'maf'"),
    ],
)
def test_laws_that_are_none_are_refused(make, told):
    with pytest.raises(RecipeError, match=told):
        make()
