"""Objectives that hold the aggregated posterior at the prior: by a distance of clouds, or by a covariance."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from worlds import Linear, split_of

from vael import ELBO, VAE, RecipeError, Terms, Training
from vael.distributions import DiagonalGaussian, FullGaussian, StandardGaussian, distances, find_kl
from vael.distributions.distances.gaussians import mmd_rbf_gaussians
from vael.likelihoods import Gaussian
from vael.models import Latent
from vael.networks import MLP
from vael.objectives import DIP, InfoVAE, Matching
from vael.objectives.distances import DISTANCES
from vael.posteriors import DeterministicPosterior
from vael.priors import GaussianPrior
from vael.training import Engine

F64 = torch.float64
LOCS = torch.tensor([[1.0, 0.0], [2.0, 0.2], [0.0, 0.4], [-1.0, -0.7]], dtype=F64)
LOG_PX_Z = torch.tensor([[-10.0, -3.0, -7.0, -5.0], [-11.0, -2.0, -7.5, -5.5]], dtype=F64)  # (K, B) = (2, 4)
HALF = torch.tensor(-math.log(2), dtype=F64)
EPS = torch.randn(2, 4, 2, dtype=F64, generator=torch.Generator().manual_seed(0))
SPARE = torch.randn(2, 4, 2, dtype=F64, generator=torch.Generator().manual_seed(1))
PLAIN = {
    "mmd_rbf": lambda x, y: distances.mmd_rbf(x, y, width=math.sqrt(2)),
    "mmd_imq": lambda x, y: distances.mmd_imq(x, y, constant=4.0),
    "energy": distances.energy,
    "sliced": lambda x, y: distances.sliced_wasserstein(x, y, SPARE[1]),
    "sinkhorn": lambda x, y: distances.sinkhorn(x, y, blur=math.sqrt(2) / 4),
    "cramer_wold": lambda x, y: distances.cramer_wold(x, y, width=0.4),
    "cauchy_schwarz": lambda x, y: distances.cauchy_schwarz(x, y, width=math.sqrt(2)),
}


class Jump:
    """A law that draws and has no density."""

    def log_prob(self, z: Tensor) -> Tensor:
        raise AssertionError("asked for a density")


def terms(q: object = None, p: object = None, spare: Tensor | None = SPARE, loc: Tensor = LOCS) -> Terms:
    law = DiagonalGaussian(loc, torch.full_like(loc, -0.5)) if q is None else q
    z = DiagonalGaussian(loc, torch.full_like(loc, -0.5)).from_noise(EPS)
    prior = StandardGaussian(2) if p is None else p
    kl = find_kl(type(law), type(prior))
    return Terms((Latent(law, prior, z, HALF, kl),), LOG_PX_Z, HALF, spare=spare)


# ── Matching ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_distance_has_a_name_here():
    assert set(PLAIN) == set(DISTANCES)


@pytest.mark.parametrize("name", DISTANCES)
def test_the_mean_of_matching_is_the_likelihood_less_the_mean_distance_of_the_clouds(name):
    found = terms()
    expected = np.mean([float(PLAIN[name](z, SPARE[0])) for z in found.latents[0].z])
    value = Matching(distance=name, weight=3.0, draws=2)(found)
    assert value.shape == (4,)
    assert expected > 0
    assert_close(value, LOG_PX_Z.mean(0) - 3.0 * expected, atol=1e-12, rtol=0)
    assert_close(Matching(distance=name, weight=0.0)(found), LOG_PX_Z.mean(0))


@pytest.mark.parametrize("name", DISTANCES)
def test_matching_asks_for_no_density_and_no_rate(name):
    value = Matching(distance=name)(terms(q=Jump(), p=StandardGaussian(2)))
    assert torch.isfinite(value).all()


@pytest.mark.parametrize("name", [name for name, way in DISTANCES.items() if way.width is not None])
def test_the_width_of_a_kernel_has_an_effect(name):
    narrow, wide = (float(Matching(distance=name, width=width, weight=1.0)(terms()).mean()) for width in (0.2, 3.0))
    assert abs(narrow - wide) > 1e-3


def test_matching_pulls_the_cloud_to_the_prior_and_a_learned_prior_to_the_cloud():
    """A step along the gradient lowers the distance, by z as by p."""
    loc = (LOCS + 2).requires_grad_()
    prior_loc = torch.zeros(2, dtype=F64, requires_grad=True)
    found = terms(p=DiagonalGaussian(prior_loc, torch.zeros(2, dtype=F64)), loc=loc)
    by_loc, by_prior = torch.autograd.grad(Matching(weight=1.0)(found).sum(), (loc, prior_loc))
    assert (by_loc.mean(0) < 0).all()
    assert (by_prior > 0).all()


def test_the_distance_is_that_of_the_aggregated_posterior_to_the_prior():
    """All q(z|x) = N(Δ, 0.7² I): MMD² in closed form and what a V-statistic of 200 points adds; 4 standard errors."""
    shift, spread = torch.tensor([0.5, -0.3], dtype=F64), 0.49 * torch.eye(2, dtype=F64)
    generator, found = torch.Generator().manual_seed(2), []
    for _ in range(60):
        eps, spare = torch.randn(2, 1, 200, 2, dtype=F64, generator=generator)
        z = shift + 0.7 * eps
        one = torch.zeros((), dtype=F64)
        latent = Latent(Jump(), StandardGaussian(2), z, one)
        terms = Terms((latent,), z.new_zeros(1, 200), one, spare=spare)
        found.append(float(Matching(weight=1.0, width=1.3)(terms).mean()))
    own = lambda variance: 1.69 / (1.69 + 2 * variance)  # noqa: E731 — E k of two draws, (h² / (h² + 2s²))^{D/2}
    excess = (2 - own(0.49) - own(1.0)) / 200
    truth = float(mmd_rbf_gaussians(shift, spread, torch.zeros(2, dtype=F64), torch.eye(2, dtype=F64), width=1.3))
    error = float(np.std(found)) / 60**0.5
    assert error < 0.05 * truth
    assert abs(-np.mean(found) - truth - excess) < 4 * error


@pytest.mark.parametrize("name", DISTANCES)
def test_an_encoder_without_a_density_learns_by_matching(name):
    """And by no objective that charges a rate, which it has not."""
    x = Linear.random(2, 5).sample(40)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder, encoder = MLP(2, [], 5), MLP(5, [], 2)
    model = VAE(GaussianPrior(2), Gaussian(decoder, scale=0.7), DeterministicPosterior(encoder)).double()
    training = Training(steps=60, batch=20, learning_rate=0.03)
    engine, values = Engine(model, Matching(distance=name), split_of(x), training, seed=0), []
    for _ in range(6):
        for _ in range(10):
            engine.advance()
        values.append(float(engine.means()["objective"]))
    assert values[-1] > values[0] + 1
    with pytest.raises(RecipeError, match="InfoVAE: does not go with DeterministicPosterior"):
        Engine(model, InfoVAE(), split_of(x), training, seed=0)


# ── InfoVAE ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_info_vae_goes_from_the_elbo_to_matching():
    found = terms()
    assert_close(InfoVAE(alpha=0.0, weight=1.0)(found), ELBO()(found))
    for name in DISTANCES:
        assert_close(InfoVAE(alpha=1.0, weight=7.0, distance=name)(found), Matching(distance=name, weight=7.0)(found))
    assert torch.isfinite(InfoVAE(alpha=1.0)(terms(q=Jump()))).all()  # no rate is asked for


def test_info_vae_weighs_rate_and_distance_as_the_paper_does():
    """(1 − α) and α + λ − 1."""
    found = terms()
    far = np.mean([float(PLAIN["mmd_imq"](z, SPARE[0])) for z in found.latents[0].z])
    value = InfoVAE(alpha=0.25, weight=9.0, distance="mmd_imq")(found)
    assert_close(value, LOG_PX_Z.mean(0) - 0.75 * found.rate - 8.25 * far, atol=1e-12, rtol=0)


def test_a_warm_up_weighs_what_they_charge():
    found, share = terms(), torch.tensor(0.25, dtype=F64)
    for objective in (Matching(distance="sliced", draws=3), InfoVAE(distance="sliced", draws=3), DIP(draws=3)):
        warmed = objective.warmed(share)
        assert (warmed.draws, warmed.spare) == (3, getattr(objective, "spare", 0))
        assert_close(warmed(found), LOG_PX_Z.mean(0) + 0.25 * (objective(found) - LOG_PX_Z.mean(0)))


# ── DIP ──────────────────────────────────────────────────────────────────────────────────────────────────────


def charged(covariance: np.ndarray, off_diagonal: float, diagonal: float) -> float:
    squared = (covariance - np.eye(2)) ** 2
    return off_diagonal * (squared[0, 1] + squared[1, 0]) + diagonal * (squared[0, 0] + squared[1, 1])


def test_dip_holds_the_covariance_of_the_means_or_of_the_draws_at_the_identity():
    found = terms()
    between = np.cov(LOCS.numpy().T, bias=True)
    within = math.exp(-1.0) * np.eye(2)
    for kind, covariance in (("means", between), ("draws", between + within)):
        value = DIP(covariance=kind, off_diagonal=3.0, diagonal=5.0)(found)
        assert_close(value, ELBO()(found) - charged(covariance, 3.0, 5.0), atol=1e-12, rtol=0)


def test_dip_of_a_correlated_posterior_counts_its_correlations():
    shear = torch.zeros(4, 2, 2, dtype=F64)
    shear[:, 1, 0] = torch.tensor([0.5, 1.0, -0.2, 0.3])
    q = FullGaussian(LOCS, torch.full_like(LOCS, -0.5), shear)
    roots = math.exp(-0.5) * (np.eye(2) + shear.numpy())
    within = np.mean([root @ root.T for root in roots], 0)
    found = terms(q=q)
    between = np.cov(LOCS.numpy().T, bias=True)
    value = DIP(covariance="draws", off_diagonal=3.0, diagonal=5.0)(found)
    assert_close(value, ELBO()(found) - charged(between + within, 3.0, 5.0), atol=1e-12, rtol=0)


def test_without_weights_dip_is_the_elbo_and_never_is_it_above():
    found = terms()
    assert_close(DIP(off_diagonal=0.0, diagonal=0.0)(found), ELBO()(found))
    for kind in ("means", "draws"):
        assert (DIP(covariance=kind)(found) < ELBO()(found)).all()


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Matching(distance="mmd"), "Matching: distance must be one of mmd_rbf.*got 'mmd'"),
        (lambda: InfoVAE(distance="slice"), "InfoVAE: distance must be one of .*Did you mean 'sliced'"),
        (lambda: Matching(weight=-1.0), "Matching: weight must be at least 0, got -1"),
        (lambda: Matching(width=0.0), "Matching: width must be above 0, got 0"),
        (lambda: Matching(distance="energy", width=1.0), "the distance energy has no width, got 1"),
        (lambda: Matching(draws=0), "Matching: draws must be at least 1, got 0"),
        (lambda: InfoVAE(alpha=1.5), "InfoVAE: alpha must be at most 1, got 1.5"),
        (lambda: InfoVAE(alpha=-2.0, weight=2.0), r"InfoVAE: alpha \+ weight must be at least 1, got -2.0 \+ 2.0"),
        (lambda: DIP(covariance="z"), "DIP: covariance must be means or draws, got 'z'"),
        (lambda: DIP(diagonal=-1.0), "DIP: diagonal must be at least 0, got -1"),
        (lambda: DIP(off_diagonal=-1.0), "DIP: off_diagonal must be at least 0, got -1"),
        (lambda: Matching()(terms(spare=None)), r"Matching: draws from the prior.*\n.*spare=1"),
        (lambda: Matching(distance="sliced")(terms(spare=SPARE[:1])), r"Matching: draws from the prior.*\n.*spare=2"),
    ],
)
def test_what_cannot_be_is_refused(make, complaint):
    with pytest.raises(RecipeError, match=complaint):
        make()


@pytest.mark.parametrize("objective", [Matching(), InfoVAE(), DIP()])
def test_two_levels_of_latents_are_refused(objective):
    found = terms()
    both = Terms(found.latents * 2, LOG_PX_Z, HALF, spare=SPARE)
    with pytest.raises(RecipeError, match=r"is for one level of latents, got 2"):
        objective(both)


def test_a_model_hands_over_the_noise_that_is_asked_for():
    world = Linear.random(2, 5)
    model, x = world.model(), world.sample(8)
    for name in DISTANCES:
        objective = Matching(distance=name)
        value = objective(model.terms(x, model.noise(1, 8, seed=0, spare=objective.spare)))
        assert value.shape == (8,)
