"""Laws that hold for every posterior. A new member joins by one line in MEMBERS."""

import math

import pytest
import torch
from spaces import ball, sphere
from torch import Tensor, nn
from torch.distributions import MultivariateNormal
from torch.testing import assert_close
from worlds import assert_recorded, split_of

from vael import VAE, Batch, Noise, RecipeError, ShapeError, posteriors
from vael.distributions import DiagonalGaussian
from vael.files import load_tensors, save_tensors
from vael.inference.path import path_to_posterior
from vael.likelihoods import Bernoulli
from vael.models import Latent
from vael.networks import MLP
from vael.objectives import ELBO, Score
from vael.posteriors import (
    BernoulliPosterior,
    CategoricalPosterior,
    ChainPosterior,
    ComputedPosterior,
    DeterministicPosterior,
    DiffusionPosterior,
    EncodedPosterior,
    FlowPosterior,
    FullGaussianPosterior,
    GaussianPosterior,
    LadderPosterior,
    LowRankGaussianPosterior,
    MixturePosterior,
    Posterior,
    VonMisesFisherPosterior,
    WrappedNormalPosterior,
)
from vael.posteriors.coded import CodedPosterior
from vael.priors import BernoulliPrior, CategoricalPrior, GaussianPrior, HyperbolicPrior, HypersphericalPrior, Prior

FEATURES = 5
ROUNDING = {"atol": 1e-9, "rtol": 1e-9}
# The rectangle rule is exact to rounding on a smooth density that vanishes at the ends; a radial map's slope jumps at
# its centre, and an ELU's second derivative everywhere it bends.
ROUGHNESS = {"radial": 1e-5, "iaf": 1e-5, "maf": 1e-5}

# name: (class, its arguments beside the network, outputs it takes for 2, 3 and 4 latents)
MEMBERS = {
    "gaussian": (GaussianPosterior, {}, (4, 6, 8)),
    "full_gaussian": (FullGaussianPosterior, {}, (5, 9, 14)),
    "low_rank_gaussian": (LowRankGaussianPosterior, {}, (8, 12, 16)),
    "low_rank_gaussian_1": (LowRankGaussianPosterior, {"rank": 1}, (6, 9, 12)),
    "planar": (FlowPosterior, {"flow": "planar", "transforms": 2}, (14, 20, 26)),
    "radial": (FlowPosterior, {"flow": "radial", "transforms": 2}, (12, 16, 20)),
    "householder": (FlowPosterior, {"flow": "householder", "transforms": 2}, (8, 12, 16)),
    "sylvester": (FlowPosterior, {"flow": "sylvester", "transforms": 2}, (20, 36, 56)),
    "iaf": (FlowPosterior, {"flow": "iaf", "transforms": 2, "context": 3, "hidden": [8]}, (7, 9, 11)),
    "maf": (FlowPosterior, {"flow": "maf", "transforms": 2, "context": 3, "hidden": [8]}, (7, 9, 11)),
    "bernoulli": (BernoulliPosterior, {}, (2, 3, 4)),
    "bernoulli_enumerated": (BernoulliPosterior, {"enumerates": True}, (2, 3, 4)),
    "categorical": (CategoricalPosterior, {}, (2, 3, 4)),
    "mixture": (MixturePosterior, {}, (10, 14, 18)),
    "von_mises_fisher": (VonMisesFisherPosterior, {}, (3, 4, 5)),
    "wrapped_normal": (WrappedNormalPosterior, {"curvature": 0.6}, (4, 6, 8)),
}
# name: the prior over three numbers on the same curved space; points that fill it, and how much of it each stands for
CURVED = {
    "von_mises_fisher": (lambda: HypersphericalPrior(3), lambda latent: sphere(latent, 200)),
    "wrapped_normal": (lambda: HyperbolicPrior(3, curvature=0.6), lambda latent: ball(latent, 100, 0.6, 9.0)),
}
DISCRETE = [name for name in MEMBERS if name.startswith(("bernoulli", "categorical"))]
FLOWS = [name for name, (member, _, _) in MEMBERS.items() if member is FlowPosterior]
GAUSSIAN = [name for name in MEMBERS if "gaussian" in name]
every = pytest.mark.parametrize("name", MEMBERS)
gaussian = pytest.mark.parametrize("name", GAUSSIAN)
flows = pytest.mark.parametrize("name", FLOWS)
continuous = pytest.mark.parametrize("name", [*GAUSSIAN, *FLOWS])
# a KL without a closed form is the draws' own mean; and a mean of points of a ball is not what adds them up
closed = pytest.mark.parametrize("name", [n for n in MEMBERS if n not in (*FLOWS, "mixture", "wrapped_normal")])
added = pytest.mark.parametrize("name", [name for name in MEMBERS if name not in (*FLOWS, "wrapped_normal")])
curved = pytest.mark.parametrize("name", CURVED)
discrete = pytest.mark.parametrize("name", DISCRETE)
sizes_read_off = pytest.mark.parametrize("name", [name for name in MEMBERS if name != "categorical"])


def arguments_of(name: str, latent: int = 3, **more: object) -> dict[str, object]:
    """Its arguments beside the network; a choice among as many classes as z has numbers."""
    return {**MEMBERS[name][1], **({"classes": latent} if name == "categorical" else {}), **more}


def prior_for(name: str) -> Prior:
    """A prior over three numbers of the same kind, well away from what the encoder says."""
    if name in DISCRETE:
        return CategoricalPrior(3) if name == "categorical" else BernoulliPrior(3, on=0.2)
    return CURVED[name][0]() if name in CURVED else GaussianPrior(3)


def made(name: str, latent: int = 3, **more: object) -> EncodedPosterior:
    member, _, outputs = MEMBERS[name]
    arguments = arguments_of(name, latent, **more)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = MLP(FEATURES, [7], outputs[latent - 2], activation="tanh")
        # laws well away from the standard normal, or from equal chances
        network.head.weight.data.mul_(
            {"von_mises_fisher": 9.0, "wrapped_normal": 0.6}.get(name, 9.0 if name in DISCRETE else 3.0)
        )
        if name == "von_mises_fisher":
            network.head.bias.data[-1] += 1.5
        posterior = member(network, **arguments).double()
        for parameter in getattr(posterior, "maps", nn.Module()).parameters():  # which begin as the identity
            nn.init.normal_(parameter, std=0.5)
        return posterior


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
    # Made of others, and without a density: tests/models.
    public -= {ChainPosterior, LadderPosterior, DeterministicPosterior, DiffusionPosterior}
    public = {member for member in public if not issubclass(member, CodedPosterior)}  # test_quantized.py
    public = {member for member in public if not issubclass(member, ComputedPosterior)}  # without a network
    assert public == {member for member, _, _ in MEMBERS.values()}


@sizes_read_off
@pytest.mark.parametrize("latent", [2, 3, 4])
def test_the_size_of_z_is_read_off_the_networks_outputs(name, latent):
    member, arguments, outputs = MEMBERS[name]
    assert made(name, latent).latent == latent
    assert member(None, latent=latent, **arguments).width(latent) == outputs[latent - 2]
    assert made(name, latent)(rows()).mean.shape == (4, latent)


@gaussian
def test_its_covariance_is_the_root_times_its_transpose(name):
    q = made(name)(rows())
    root = root_of(q, 3)
    assert_close(q.variance, (root @ root.mT).diagonal(dim1=-2, dim2=-1), **ROUNDING)
    assert (root @ root.mT - torch.eye(3)).abs().max() > 0.1  # no law that is nearly the prior
    if name != "gaussian":
        assert (root @ root.mT)[:, 0, 1].abs().min() > 1e-3  # what the diagonal one cannot say


@gaussian
def test_log_prob_and_entropy_are_torchs(name):
    q, truth = made(name)(rows()), as_torchs(made(name)(rows()), 3)
    z = q.mean + 2 * noise(6, 4, 3)
    assert_close(q.log_prob(z), truth.log_prob(z), **ROUNDING)
    assert_close(q.entropy(), truth.entropy(), **ROUNDING)


@continuous
def test_the_density_of_two_latents_integrates_to_one(name):
    q = made(name, 2)(rows(1))
    line = torch.linspace(-9, 9, 721, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)[:, None, :] * q.variance.sqrt() + q.mean
    cell = (line[1] - line[0]) ** 2 * q.variance.sqrt().prod()
    total = q.log_prob(grid).exp().sum() * cell
    assert_close(total, torch.tensor(1.0).double(), atol=ROUGHNESS.get(name, 1e-9), rtol=0)


@added
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
    posterior, x = made(name), rows()
    z = posterior(x).from_noise(noise(2, 4, 3))
    whole = posterior(x).log_prob(z)
    for b in range(4):
        assert_close(posterior(x[b : b + 1]).log_prob(z[:, b : b + 1]), whole[:, b : b + 1], **ROUNDING)


@gaussian
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


@closed
def test_the_rate_is_the_mean_log_ratio_of_draws(name):
    posterior, x = made(name), rows()
    model = VAE(prior_for(name), Bernoulli(MLP(3, [], FEATURES)), posterior).double()
    terms = model.terms((x > 0).double(), model.noise(2, 4, seed=0))
    q, p = terms.latents[0].q, terms.latents[0].p
    z = q.from_noise(model.noise(20_000, 4, seed=0).latents[0])
    ratio = q.log_prob(z) - p.log_prob(z)
    error = 4 * ratio.std(0) / math.sqrt(20_000)
    assert ((terms.rate - ratio.mean(0)).abs() < error).all()
    assert (error < 0.1 * terms.rate).all()


@gaussian
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
    posterior = made(name)
    z = posterior(rows()).from_noise(noise(2, 4, 3))
    save_tensors(tmp_path / "weights.safetensors", posterior.state_dict())
    member, _, outputs = MEMBERS[name]
    again = member(MLP(FEATURES, [7], outputs[1], activation="tanh"), **arguments_of(name)).double()
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
    member, _, outputs = MEMBERS[name]
    posterior, observed = member(Masked(outputs[1]), **arguments_of(name)), torch.zeros(4, FEATURES, dtype=torch.bool)
    posterior(rows().float(), observed=observed)
    assert posterior.network.seen is observed
    q = posterior(rows().float())  # all outputs zero: the standard normal, fair coins, classes of equal chances
    z = torch.eye(3)[0].expand(4, 3) if name in DISCRETE else torch.zeros(4, 3)
    kappa = 3 * math.log(2) + 0.01  # on a sphere the density of z = 0, were it of the sphere, is at −½ κ from the peak
    shares = {
        "bernoulli": 3 * math.log(2),
        "categorical": math.log(3),
        "wrapped": 1.5 * math.log(2 * math.pi),
        "von": math.log(4 * math.pi * math.sinh(kappa) / kappa) - 0.5 * kappa,
    }
    share = shares.get(name.split("_")[0], 1.5 * math.log(2 * math.pi))
    assert_close(q.log_prob(z), torch.full((4,), -share))


@sizes_read_off
def test_sizes_that_do_not_fit_are_refused_in_words(name):
    member, arguments, outputs = MEMBERS[name]
    if name not in (*DISCRETE, "von_mises_fisher"):  # any number of outputs is a number of bits, or of a direction
        with pytest.raises(ShapeError, match=rf"{member.__name__}: needs .*, got a network with {outputs[1] + 1} out"):
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


# ── curved spaces ────────────────────────────────────────────────────────────────────────────────────────────


@curved
@pytest.mark.parametrize("latent", [2, 3])
def test_the_density_over_its_space_integrates_to_one(name, latent):
    points, cells = CURVED[name][1](latent)
    log_q = made(name, latent)(rows()).log_prob(points.unsqueeze(1))
    assert_close(cells @ log_q.exp(), torch.ones(4).double(), atol=1e-6, rtol=0)  # of the narrowest on the ball
    assert (log_q.max(0).values - log_q.min(0).values > 1).all()  # no law that is nearly uniform


@curved
@pytest.mark.parametrize("what", ["draw", "log_prob", "rate"])
def test_the_gradient_reaches_every_output_on_its_space(name, what):
    posterior, x = made(name), rows()
    model = VAE(prior_for(name), Bernoulli(MLP(3, [], FEATURES)), posterior).double()
    weight = torch.tensor([1.0, -2.0, 0.5]).double()
    terms = model.terms((x > 0).double(), Noise((noise(2, 4, 3),)))
    value = {
        "draw": lambda: (terms.latents[0].z * weight).sum(),
        "log_prob": lambda: terms.latents[0].q.log_prob(terms.latents[0].z.detach()).sum(),
        "rate": lambda: terms.rate.sum(),
    }[what]()
    value.backward()
    turned = what == "rate" and name == "von_mises_fisher"  # to the uniform law all directions are one
    assert (posterior.network.head.bias.grad.abs() > 1e-9)[3 if turned else 0 :].all()


@curved
@pytest.mark.parametrize("what", ["value", "gradient"])
def test_many_draws_mean_what_the_density_over_its_space_says(name, what):
    """E[sin(2 z₁ + z₂) + z₃²] and its gradient by the last layer's bias, beside quadrature; four standard errors."""
    posterior, (points, cells), x = made(name), CURVED[name][1](3), rows(1)

    def value(z: Tensor) -> Tensor:
        return torch.sin(2 * z[..., 0] + z[..., 1]) + z[..., 2].square()

    outputs = posterior.network(x).detach()[0].requires_grad_()
    there = (cells * posterior.law(outputs).log_prob(points).exp()) @ value(points)
    many = outputs.detach().expand(20_000, -1).requires_grad_()  # one copy of the outputs for each draw
    seen = value(posterior.law(many).from_noise(noise(20_000, 3)))
    if what == "gradient":
        (there,) = torch.autograd.grad(there, outputs)
        (seen,) = torch.autograd.grad(seen.sum(), many)
    assert ((seen.mean(0) - there).abs() < 4 * seen.std(0) / 141).all()
    assert (seen.std(0) / 141 < 0.01).all()
    assert there.abs().max() > 0.05


@curved
def test_a_flat_law_under_a_curved_prior_is_refused_and_the_reverse(name):
    with pytest.raises(
        RecipeError, match=r"VAE: the prior is a law of \w+, the posterior one of DiagonalGaussian; a \w+"
    ):
        VAE(prior_for(name), Bernoulli(MLP(3, [], FEATURES)), made("gaussian"))
    with pytest.raises(RecipeError, match=r"is a density over a [\w ]+, so that log p\(z\) − log q\(z\|x\) needs both"):
        VAE(GaussianPrior(3), Bernoulli(MLP(3, [], FEATURES)), made(name))


@curved
def test_straight_moves_on_a_curved_space_are_refused(name):
    model = VAE(prior_for(name), Bernoulli(MLP(3, [], FEATURES)), made(name)).double()
    with pytest.raises(
        RecipeError, match=r"the latents are points of a [\w ]+, and Hamiltonian moves and grids go straight"
    ):
        path_to_posterior(model, Batch((rows() > 0).double()))


# ── zeros and ones ───────────────────────────────────────────────────────────────────────────────────────────


@discrete
def test_probabilities_of_all_states_sum_to_one_and_their_mean_is_the_mean(name):
    q = made(name)(rows())
    states = q.every()
    weight = q.log_prob(states).exp()  # (states, B)
    assert_close(weight.sum(0), torch.ones(4).double(), **ROUNDING)
    assert_close((weight.unsqueeze(-1) * states).sum(0), q.mean, **ROUNDING)
    assert (weight.max(0).values > 1.3 / len(states)).all()  # laws well away from equal chances


@discrete
@pytest.mark.parametrize("what", ["log_prob", "rate", "entropy", "relaxed draw", "straight-through draw"])
def test_the_gradient_reaches_every_output(name, what):
    relaxed = {"enumerates": False, "temperature": 0.5, "straight_through": what.startswith("straight")}
    posterior = made(name, **(relaxed if "draw" in what else {}))
    q, model = posterior(rows()), VAE(prior_for(name), Bernoulli(MLP(3, [], FEATURES)), posterior)
    weight = torch.tensor([1.0, -2.0, 0.5]).double()
    value = {
        "log_prob": lambda: (q.log_prob(q.every()) * torch.arange(len(q.every()))[:, None]).sum(),
        "rate": lambda: model.kl(q, prior_for(name)()).sum(),
        "entropy": lambda: q.entropy().sum(),
        "relaxed draw": lambda: (q.from_noise(noise(2, 4, 3)) * weight).sum(),
        "straight-through draw": lambda: (q.from_noise(noise(2, 4, 3)) * weight).sum(),
    }[what]()
    value.backward()
    assert (posterior.network.head.bias.grad.abs() > 1e-9).all()


@discrete
def test_exact_draws_carry_no_gradient_and_relaxed_ones_are_made_in_training_alone(name):
    posterior = made(name, enumerates=False)
    assert not posterior(rows()).from_noise(noise(2, 4, 3)).requires_grad
    relaxed = made(name, enumerates=False, temperature=0.5)
    z = relaxed(rows()).from_noise(noise(2, 4, 3))
    assert z.requires_grad
    assert ((z > 0) & (z < 1)).all()
    z = relaxed.eval()(rows()).from_noise(noise(2, 4, 3))
    assert torch.equal(z, posterior(rows()).from_noise(noise(2, 4, 3)))


@discrete
def test_the_way_of_the_gradient_is_told(name):
    assert made(name, enumerates=True).path == "all"
    assert made(name, enumerates=False).path == "none"
    assert made(name, enumerates=False, temperature=1.0).path == "relaxed"
    assert made("gaussian").path == "smooth"


@discrete
def test_all_states_stand_in_for_draws_where_it_enumerates(name):
    model = VAE(prior_for(name), Bernoulli(MLP(3, [], FEATURES)), made(name, enumerates=True)).double()
    x = (rows() > 0).double()
    terms = model.terms(x, model.noise(1, 4, seed=0))
    states = 3 if name == "categorical" else 8
    assert terms.log_w.shape == terms.log_px_z.shape == (states, 4)
    assert_close(terms.log_measure.exp().sum(0), torch.ones(4).double(), **ROUNDING)
    log_px = torch.logsumexp(model.log_joint(Batch(x), model.prior().every().expand(-1, 4, -1)), 0)
    assert_close((terms.log_w + terms.log_measure).logsumexp(0), log_px, **ROUNDING)
    many = made(name, enumerates=False)
    drawn = VAE(model.prior, model.likelihood, many).terms(x, model.noise(20_000, 4, seed=0))
    error = 4 * drawn.log_w.std(0) / math.sqrt(20_000)
    assert ((terms.elbo - drawn.log_w.mean(0)).abs() < error).all()
    assert (error < 0.1).all()


@discrete
@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"temperature": 0.0}, "temperature must be a number above 0, got 0.0"),
        ({"temperature": "cold"}, "temperature must be a number above 0, got 'cold'"),
        (
            {"straight_through": True},
            "straight_through passes on the gradient of relaxed draws; give their temperature",
        ),
        ({"temperature": 1.0, "enumerates": True}, "enumerates takes every state and draws none; leave out the temper"),
    ],
)
def test_ways_of_drawing_that_contradict_themselves_are_refused(name, asked, told):
    with pytest.raises(RecipeError, match=told):
        made(name, **{"enumerates": False, **asked})


def test_choices_in_groups_take_a_logit_for_each_class_of_each():
    posterior = CategoricalPosterior(MLP(FEATURES, [7], 6), classes=3, groups=2).double()
    assert posterior.latent == 6
    assert posterior(rows()).logits.shape == (4, 2, 3)
    with pytest.raises(ShapeError, match=r"needs a logit for each class of each group.*with 6 outputs for 8 latents"):
        CategoricalPosterior(MLP(FEATURES, [7], 6), classes=4, groups=2)


@pytest.mark.parametrize(
    ("prior", "name"),
    [(GaussianPrior(3), "bernoulli"), (BernoulliPrior(3), "gaussian"), (CategoricalPrior(3), "bernoulli")],
)
def test_a_prior_over_other_states_is_refused(prior, name):
    with pytest.raises(RecipeError, match=r"VAE: the prior is a law of \w+, the posterior one of \w+; .* same states"):
        VAE(prior, Bernoulli(MLP(3, [], FEATURES)), made(name))


@every
def test_a_recorded_step_is_the_step_bit_for_bit(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = VAE(prior_for(name), Bernoulli(MLP(3, [4], FEATURES)), made(name)).float()
    objective = ELBO() if model.posterior.path != "none" else Score(draws=3)
    assert_recorded(model, objective, split_of((rows(12) > 0).float()))


def test_curvatures_that_are_none_or_not_the_priors_are_refused():
    with pytest.raises(RecipeError, match=r"curvature must be a number above 0, got -1.0"):
        WrappedNormalPosterior(None, latent=3, curvature=-1.0)
    with pytest.raises(RecipeError, match=r"curvature is 0.6, the prior's 1.0; the two are laws of different spaces"):
        VAE(HyperbolicPrior(3), Bernoulli(MLP(3, [], FEATURES)), made("wrapped_normal"))


def test_fewer_than_two_numbers_are_no_direction():
    with pytest.raises(RecipeError, match="latent must be at least 2, got 1"):
        VonMisesFisherPosterior(None, latent=1)
    with pytest.raises(RecipeError, match="latent must be at least 2, got 1"):
        HypersphericalPrior(1)


@pytest.mark.parametrize("components", [0, 1.5])
def test_a_mixture_of_no_components_is_refused(components):
    with pytest.raises(RecipeError, match=f"components must be a whole number of at least 1, got {components}"):
        MixturePosterior(None, latent=3, components=components)


@every
def test_draws_of_models_side_by_side_are_each_models_own(name):
    """vmap over stacked outputs of the encoder and over noise."""
    posterior = made(name)
    outputs, eps = noise(2, 4, MEMBERS[name][2][1]), noise(2, 3, 4, 3).flip(0)

    def one(some: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        q = posterior.law(some)
        z = q.from_noise(noise)
        return z, q.log_prob(z)

    both = torch.func.vmap(one)(outputs, eps)
    for model in range(2):
        for side, alone in zip(both, one(outputs[model], eps[model]), strict=True):
            assert_close(side[model], alone, **ROUNDING)
