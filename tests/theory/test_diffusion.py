"""Diffusion as a hierarchical VAE with a fixed encoder, by the library's own ELBO.

For x ~ N(m, v) every x_t is normal, with m_t = √α_t m_{t−1} and v_t = α_t v_{t−1} + β_t, and so is each step back,
p(x_{t−1}|x_t) = N(m_{t−1} + g_t (x_t − m_t), o_t), g_t = √α_t v_{t−1} / v_t, o_t = v_{t−1} β_t / v_t. With these

    E ELBO = −½ (log 2πv + 1) − KL(N(m_T, v_T)‖N(0, 1))

and each step whose variance is s instead of o costs ½ (o/s − 1 − log(o/s)) more. A bound that is quadratic in x and in
all noise has its mean at the nodes ±√d e_j, exactly; its 1e-9 is rounding.
"""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from worlds import assert_recorded, split_of

from vael import ELBO, IWAE, VAE, Noise, RecipeError
from vael.likelihoods import Gaussian
from vael.networks import MLP, Last
from vael.posteriors import DiffusionPosterior, GaussianPosterior
from vael.posteriors.diffusion import geometric_betas
from vael.priors import ChainPrior, ConditionalPrior, DiffusionPrior, GaussianPrior
from vael.runs.recipe import build_model, describe_model
from vael.training import Engine, Training

F64 = torch.float64
MEAN, VARIANCE = 0.7, 0.3


def betas_of(steps: int) -> list[float]:
    """Of even size, with a tenth of the variance left at the end."""
    return [1 - 0.1 ** (1 / steps) + 0.02 * t / steps**2 for t in range(steps)]


def marginals(betas: list[float]) -> tuple[list[float], list[float]]:
    """m_t and v_t, t = 0 … T."""
    means, variances = [MEAN], [VARIANCE]
    for beta in betas:
        means.append(math.sqrt(1 - beta) * means[-1])
        variances.append((1 - beta) * variances[-1] + beta)
    return means, variances


def best(betas: list[float]) -> list[float]:
    """o_1 … o_T."""
    _, v = marginals(betas)
    return [v[t - 1] * betas[t - 1] / v[t] for t in range(1, len(v))]


def gaussian(betas: list[float], variances: list[float]) -> VAE:
    """The steps back with the best means and these variances, each an affine map of the levels above."""
    means, v = marginals(betas)
    steps = len(betas)

    def gain(t: int) -> tuple[float, float]:
        g = math.sqrt(1 - betas[t - 1]) * v[t - 1] / v[t]
        return g, means[t - 1] - g * means[t]

    levels: list = [GaussianPrior(1)]
    for t in range(steps, 1, -1):
        network = MLP(steps - t + 1, [], 2).double()
        with torch.no_grad():
            network.head.weight.zero_()
            network.head.weight[0, -1] = gain(t)[0]  # x_t is the last of those above
            network.head.bias.copy_(torch.tensor([gain(t)[1], 0.5 * math.log(variances[t - 1])], dtype=F64))
        levels.append(ConditionalPrior(network))
    decoder = MLP(1, [], 1)
    likelihood = Gaussian(Last(decoder, steps), scale=math.sqrt(variances[0]))
    model = VAE(ChainPrior(levels), likelihood, DiffusionPosterior(1, betas)).double()
    with torch.no_grad():
        decoder.head.weight.fill_(gain(1)[0]), decoder.head.bias.fill_(gain(1)[1])
    return model


def mean_bound(model: VAE) -> float:
    """E over x ~ N(m, v) and all noise of the ELBO, at the nodes ±√d e_j of both."""
    dims = 1 + model.latent
    nodes = math.sqrt(dims) * torch.eye(dims, dtype=F64)
    nodes = torch.cat([nodes, -nodes])
    x = MEAN + math.sqrt(VARIANCE) * nodes[:, :1]
    with torch.no_grad():
        return float(ELBO()(model.terms(x, Noise((nodes[None, :, 1:],)))).mean())


def truth(betas: list[float]) -> float:
    means, v = marginals(betas)
    missed = 0.5 * (means[-1] ** 2 + v[-1] - 1 - math.log(v[-1]))
    return -0.5 * (math.log(2 * math.pi * VARIANCE) + 1) - missed


@pytest.mark.parametrize("steps", [1, 10, 100])
def test_with_the_best_steps_back_only_the_last_marginal_is_missing_from_the_entropy(steps):
    betas = betas_of(steps)
    assert mean_bound(gaussian(betas, best(betas))) == pytest.approx(truth(betas), abs=1e-9)
    assert truth(betas) < -0.5 * (math.log(2 * math.pi * VARIANCE) + 1) - 0.01


@pytest.mark.parametrize("steps", [1, 10, 100])
@pytest.mark.parametrize("which", ["beta", "posterior"])
def test_the_usual_fixed_variances_cost_what_the_closed_form_says(steps, which):
    """s_t = β_t or β̃_t; the likelihood's, where β̃_1 is 0, is β_1."""
    betas = betas_of(steps)
    fixed = list(betas)
    if which == "posterior":
        kept = [math.prod(1 - beta for beta in betas[:t]) for t in range(steps + 1)]
        fixed[1:] = [(1 - kept[t - 1]) / (1 - kept[t]) * betas[t - 1] for t in range(2, steps + 1)]
    extra = [0.5 * (o / s - 1 - math.log(o / s)) for o, s in zip(best(betas), fixed, strict=True)]
    assert mean_bound(gaussian(betas, fixed)) == pytest.approx(truth(betas) - sum(extra), abs=1e-9)
    assert sum(extra) > 1e-3


def test_levels_of_the_encoder_are_the_steps_forward_turned_round():
    """Covariance of (x_T, …, x_1) given x: (1 − ᾱ_s) √(ᾱ_t / ᾱ_s) for s ≤ t, from the noise's linear map."""
    betas = betas_of(6)
    law = DiffusionPosterior(1, betas)(torch.tensor([[0.9]], dtype=F64))
    origin = law.from_noise(torch.zeros(1, 6, dtype=F64))
    root = (law.from_noise(torch.eye(6, dtype=F64)[:, None]) - origin)[:, 0].T
    kept = torch.tensor([1 - beta for beta in betas], dtype=F64).cumprod(0).flip(0)  # ᾱ_T … ᾱ_1
    wanted = (1 - torch.maximum(kept, kept[:, None])) * torch.sqrt(
        torch.minimum(kept, kept[:, None]) / torch.maximum(kept, kept[:, None])
    )
    assert_close(root @ root.T, wanted, atol=1e-9, rtol=0)
    assert_close(origin[0], 0.9 * kept.sqrt(), atol=1e-9, rtol=0)


@pytest.mark.parametrize("steps", [1, 2, 9])
def test_geometric_steps_add_noise_by_the_same_factor(steps):
    kept = torch.tensor([1 - beta for beta in geometric_betas(steps, 0.01, 0.9)], dtype=F64).cumprod(0)
    assert float(1 - kept[-1]) == pytest.approx(0.9, abs=1e-9)
    grown = (1 - kept)[1:] / (1 - kept)[:-1]
    assert_close(grown, torch.full_like(grown, 90 ** (1 / max(steps - 1, 1))), atol=1e-9, rtol=0)


# ── a network for all steps ──────────────────────────────────────────────────────────────────────────────────


def learned(steps: int = 4, variance: str = "beta", hidden: tuple[int, ...] = (8,)) -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior = DiffusionPrior(MLP(2, hidden, 2, activation="silu", given=3), steps, variance=variance)
        likelihood = Gaussian(Last(MLP(2, hidden, 2, activation="silu"), 2 * steps), scale="shared")
        return VAE(prior, likelihood, DiffusionPosterior(2, geometric_betas(steps)))


@pytest.mark.parametrize("variance", ["beta", "posterior", "learned"])
def test_a_step_back_is_the_papers_and_all_steps_are_one_network(variance):
    """From z = (x_4, x_3, x_2, x_1) and the network alone."""
    model, betas = learned(variance=variance).double(), geometric_betas(4)
    if variance == "learned":
        model.prior.wider.data.copy_(torch.tensor([0.1, -0.2, 0.3], dtype=F64))
    z = torch.randn(3, 8, dtype=F64, generator=torch.Generator().manual_seed(0))
    log_p = torch.distributions.Normal(0, 1).log_prob(z[:, :2].double()).sum(-1)
    for place, t in enumerate((4, 3, 2)):
        noisy, cleaner = z[:, 2 * place : 2 * place + 2], z[:, 2 * place + 2 : 2 * place + 4]
        kept, before = math.prod(1 - b for b in betas[:t]), math.prod(1 - b for b in betas[: t - 1])
        beta = betas[t - 1]
        time = torch.tensor([math.cos(math.pi * k * t / 4) for k in (1, 2, 3)]).double()
        noise = model.prior.network(noisy, given=time)
        loc = (noisy - beta / math.sqrt(1 - kept) * noise) / math.sqrt(1 - beta)
        spread = beta * (1 - before) / (1 - kept) if variance == "posterior" else beta
        if variance == "learned":
            spread = spread * math.exp(2 * [0.1, -0.2, 0.3][t - 2])
        log_p = log_p + torch.distributions.Normal(loc, math.sqrt(spread)).log_prob(cleaner).sum(-1)
    assert_close(model.prior().log_prob(z), log_p, atol=1e-9, rtol=0)


@pytest.mark.parametrize("objective", [ELBO(), IWAE(2)])
def test_a_recorded_step_is_the_step_bit_for_bit(objective):
    x = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
    assert_recorded(learned(), objective, split_of(x), warm_up=0)


def test_a_recipe_builds_it_again():
    model = learned(variance="posterior")
    again = build_model(describe_model(model))
    again.load_state_dict(model.state_dict())
    x, noise = torch.ones(3, 2), model.noise(2, 3, seed=0)
    assert torch.equal(again.terms(x, noise).elbo, model.terms(x, noise).elbo)
    assert not list(model.posterior.parameters())
    assert model.terms(x, noise).unit_rate.shape == (3, 8)


def ring(count: int, seed: int) -> Tensor:
    """(1 + ρ/10) in an even direction, ρ ~ Rayleigh(1): g(z) = z/10 + z/|z| of a normal z."""
    z = torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))
    return z / 10 + z / z.norm(dim=-1, keepdim=True)


def log_ring(x: Tensor) -> Tensor:
    """Its log-density, nats: log [100 (r − 1) exp(−50 (r − 1)²)] − log 2πr."""
    off = x.norm(dim=-1) - 1
    return torch.log(100 * off) - 50 * off.square() - torch.log(2 * math.pi * (1 + off))


def test_trained_on_a_ring_its_bound_is_above_the_best_gaussians_and_below_the_truth():
    """Held-out points; the best Gaussian's is exact, ½ log |2πe Σ|, and the truth the ring's own density."""
    x, unseen = ring(2000, 0), ring(2000, 1)
    model = learned(8, "learned", (64, 64)).train()
    training = Training.of({"steps": 500, "batch": 256, "learning_rate": 1e-2})
    engine = Engine(model, ELBO(), split_of(x), training, seed=0)
    for _ in range(500):
        engine.advance()
    with torch.no_grad():
        bound = ELBO()(model.eval().terms(unseen, model.noise(1, 2000, seed=9)))
        drawn = model.prior().from_noise(torch.randn(2000, 16, generator=torch.Generator().manual_seed(2)))
        radius = model.likelihood(drawn).mean.norm(dim=-1)
    error = float(bound.std()) / math.sqrt(2000)
    plain = -0.5 * float(torch.logdet(2 * math.pi * math.e * torch.cov(unseen.T)))
    assert float(bound.mean()) > plain + 0.3 + 4 * error
    assert float(bound.mean()) < float(log_ring(unseen).mean()) + 4 * error
    assert float(radius.mean()) == pytest.approx(1.1253, abs=0.1)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: DiffusionPosterior(0, [0.1]), "features must be a whole number of at least 1, got 0"),
        (lambda: DiffusionPosterior(1, []), r"betas must be numbers above 0 and below 1, got \[\]"),
        (lambda: DiffusionPosterior(1, [1.0]), r"betas must be numbers above 0 and below 1, got \[1.0\]"),
        (
            lambda: DiffusionPosterior(1, [0.1])(torch.ones(2, 1), None, torch.ones(2, 1)),
            "cannot leave out what is mis",
        ),
        (lambda: DiffusionPrior(MLP(2, [], 2, given=1), 0), "steps must be a whole number of at least 1, got 0"),
        (lambda: DiffusionPrior(MLP(2, [], 2), 3), "needs a network with as many outputs as inputs, told the time"),
        (
            lambda: DiffusionPrior(MLP(2, [], 2, given=1), 3, variance="best"),
            "one of beta, posterior, learned, got 'best'",
        ),
        (
            lambda: DiffusionPrior(MLP(2, [], 2, given=1), 3)(),
            "takes back a posterior's steps, and belongs to no model",
        ),
        (
            lambda: DiffusionPrior(MLP(2, [], 2, given=1), 3).bind(GaussianPosterior(MLP(2, [], 12)), MLP(1, [], 1)),
            "takes back 3 steps, and GaussianPosterior makes 0",
        ),
        (lambda: geometric_betas(3, 0.5, 0.4), "0 < least < most < 1, got 3, 0.5 and 0.4"),
        (lambda: Last(MLP(3, [], 1), 2), "its network takes 3 numbers, of 2 inputs"),
    ],
)
def test_steps_that_do_not_fit_are_refused(make, told):
    with pytest.raises(RecipeError, match=told):
        make()
