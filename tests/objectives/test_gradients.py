"""Gradient estimators: each one's value is its bound, its mean the exact gradient, by sums over every outcome.

World: z is one of three classes with q = softmax(a), and log p(x, z) any three numbers. K draws have 3^K outcomes, each
an example of one batch; weighed by their probability, an estimator's gradients add up to its expectation exactly.
"""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from vael import ELBO, IWAE, RecipeError, Terms
from vael.distributions import DiagonalGaussian, OneHot, StandardGaussian, find_kl
from vael.models import Latent
from vael.objectives import STL, VIMCO, Beta, DReG, Score

F64 = torch.float64
ROUNDING = {"atol": 1e-9, "rtol": 1e-9}
LOGITS = torch.tensor([0.4, -0.3, 1.1], dtype=F64)
PRIOR = torch.tensor([0.2, 0.9, -0.5], dtype=F64)
LOG_PX_Z = torch.tensor([-2.0, -0.7, -4.5], dtype=F64)


class Outcomes:
    """Terms of every outcome of K draws side by side, `(K, 3^K)`, and how likely each is; leaves to differentiate."""

    def __init__(self, draws: int, shift: float = 0.0) -> None:
        chosen = torch.tensor(list(itertools.product(range(3), repeat=draws))).T  # (K, 3^K)
        z = torch.nn.functional.one_hot(chosen, 3).to(F64)
        self.logits = LOGITS.expand(chosen.shape[1], 1, 3).clone().requires_grad_()
        self.prior = PRIOR.clone().reshape(1, 3).requires_grad_()
        self.log_px_z = (LOG_PX_Z + shift).requires_grad_()
        log_measure = torch.tensor(-math.log(draws), dtype=F64)
        kl = find_kl(OneHot, OneHot)
        latent = Latent(OneHot(self.logits), OneHot(self.prior), z, log_measure, kl)
        self.terms = Terms((latent,), (z * self.log_px_z).sum(-1), log_measure)
        self.chance = LOGITS.log_softmax(0)[chosen].sum(0).exp()

    def gradient(self, objective: object) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The expected value, and the expected gradients by q's logits, the prior's and log p(x|z)."""
        value = objective(self.terms)
        weighed = (self.chance * value).sum()
        by_q, by_p, by_x = torch.autograd.grad(weighed, (self.logits, self.prior, self.log_px_z))
        return weighed.detach(), by_q.sum((0, 1)), by_p[0], by_x


def exact(draws: int, *, weighted: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same of E[log mean w] or of E[log w], by autodiff of the sum over outcomes, none of it from the library."""
    logits, prior, log_px_z = (value.clone().requires_grad_() for value in (LOGITS, PRIOR, LOG_PX_Z))
    log_q = logits.log_softmax(0)
    log_w = log_px_z + prior.log_softmax(0) - log_q
    total = torch.zeros((), dtype=F64)
    for outcome in itertools.product(range(3), repeat=draws):
        some = log_w[list(outcome)]
        value = some.exp().mean().log() if weighted else some.mean()
        total = total + log_q[list(outcome)].sum().exp() * value
    return total.detach(), *torch.autograd.grad(total, (logits, prior, log_px_z))


def close(found: tuple[Tensor, ...], truth: tuple[Tensor, ...]) -> None:
    for one, other in zip(found, truth, strict=True):
        assert_close(one, other, **ROUNDING)


# ── discrete draws ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("objective", "draws"),
    [
        (Score(draws=1, baseline="none"), 1),
        (Score(draws=1, baseline=-2.5), 1),
        (Score(draws=3, baseline="none"), 3),
        (Score(draws=2), 2),
        (Score(draws=4), 4),
    ],
    ids=str,
)
def test_the_score_function_with_any_baseline_has_the_exact_gradient_of_the_elbo_as_its_mean(objective, draws):
    close(Outcomes(draws).gradient(objective), exact(draws, weighted=False))


@pytest.mark.parametrize("draws", [2, 3, 5])
def test_vimco_has_the_exact_gradient_of_the_importance_weighted_bound_as_its_mean(draws):
    close(Outcomes(draws).gradient(VIMCO(draws)), exact(draws, weighted=True))


def test_the_exact_gradient_of_the_elbo_is_the_centred_weight_times_q():
    """∂L/∂a_j = q_j (f_j − Σ q f), f = log p(x, z) − log q."""
    q = LOGITS.softmax(0)
    f = LOG_PX_Z + PRIOR.log_softmax(0) - q.log()
    assert_close(Outcomes(2).gradient(Score(draws=2))[1], q * (f - (q * f).sum()), **ROUNDING)


def spread(objective: object, draws: int) -> Tensor:
    """The exact variance of an estimator's gradient by the logits, summed over them; log p(x) is near −20 nats."""
    outcomes = Outcomes(draws, shift=-18.0)
    slopes = torch.autograd.grad(objective(outcomes.terms).sum(), outcomes.logits)[0].squeeze(1)
    mean = (outcomes.chance[:, None] * slopes).sum(0)
    return (outcomes.chance[:, None] * (slopes - mean).square()).sum()


def test_a_baseline_lowers_the_variance_and_vimcos_own_is_below_that_of_the_bare_score():
    bare, others = spread(Score(draws=4, baseline="none"), 4), spread(Score(draws=4), 4)
    assert others < 0.05 * bare

    def without_baseline(terms: Terms) -> Tensor:
        bound = (terms.log_w + terms.log_measure).logsumexp(0)
        way = bound.detach() * terms.latents[0].log_q.sum(0)
        return bound + way - way.detach()

    close(Outcomes(4).gradient(without_baseline), exact(4, weighted=True))
    assert spread(VIMCO(4), 4) < 0.05 * spread(without_baseline, 4)


def test_a_warmed_score_weighs_the_rate_by_its_share_as_it_stands_at_the_call():
    """∂/∂a Σ q (log p(x|z) − s log q/p) by autodiff of the sum; the share is filled after the objective is made."""
    share = torch.tensor(0.0, dtype=F64)
    warmed = Score(draws=3).warmed(torch.tensor(1.0, dtype=F64)).warmed(share)
    share.fill_(0.3)
    logits = LOGITS.clone().requires_grad_()
    log_q = logits.log_softmax(0)
    value = (log_q.exp() * (LOG_PX_Z - 0.3 * (log_q - PRIOR.log_softmax(0)))).sum()
    found = Outcomes(3).gradient(warmed)
    assert_close(found[0], value.detach(), **ROUNDING)
    assert_close(found[1], torch.autograd.grad(value, logits)[0], **ROUNDING)
    assert warmed.draws == 3
    assert warmed.reparameterised is False


# ── all states ───────────────────────────────────────────────────────────────────────────────────────────────


def enumerated() -> tuple[Terms, Tensor, Tensor]:
    """Terms of all three states weighed by q, the logits and the prior's logits."""
    logits, prior = LOGITS.clone().reshape(1, 1, 3).requires_grad_(), PRIOR.clone().reshape(1, 3).requires_grad_()
    q = OneHot(logits)
    z = q.every()
    latent = Latent(q, OneHot(prior), z, q.log_prob(z), find_kl(OneHot, OneHot))
    return Terms((latent,), (z * LOG_PX_Z).sum(-1), q.log_prob(z)), logits, prior


@pytest.mark.parametrize(
    "objective", [ELBO(), Beta(beta=1.0), STL(), STL().warmed(1.0)], ids=lambda o: type(o).__name__
)
def test_over_all_states_the_gradient_of_the_elbo_is_exact(objective):
    terms, logits, prior = enumerated()
    truth, value = exact(1, weighted=False), objective(terms)
    assert_close(value.detach()[0], truth[0], **ROUNDING)
    by_q, by_p = torch.autograd.grad(value.sum(), (logits, prior))
    assert_close(by_q.flatten(), truth[1], **ROUNDING)
    assert_close(by_p[0], truth[2], **ROUNDING)


@pytest.mark.parametrize("objective", [IWAE(), DReG()])
def test_over_all_states_the_weighted_bound_is_the_evidence_and_does_not_move_q(objective):
    terms, logits, prior = enumerated()
    value = objective(terms)
    evidence = (LOG_PX_Z + prior.log_softmax(-1)).logsumexp(-1)
    assert_close(value, evidence, **ROUNDING)
    by_q, by_p = torch.autograd.grad(value.sum(), (logits, prior), allow_unused=True, materialize_grads=True)
    assert_close(by_q, torch.zeros_like(by_q), **ROUNDING)
    assert_close(by_p, torch.autograd.grad(evidence.sum(), prior)[0], **ROUNDING)


@pytest.mark.parametrize("objective", [Score(), VIMCO()])
def test_estimators_for_draws_refuse_all_states(objective):
    with pytest.raises(RecipeError, match=r"is for draws, got all states of z weighed by q\. Use ELBO"):
        objective(enumerated()[0])


# ── continuous draws ─────────────────────────────────────────────────────────────────────────────────────────


class Normals:
    """Terms of K draws of each of B examples under N(m, s²) and q = N(μ, τ²), with θ that shifts log p(x|z)."""

    def __init__(self, draws: int, examples: int = 5, *, exact: bool = False, through: bool = True) -> None:
        generator = torch.Generator().manual_seed(draws)
        eps = torch.randn(draws, examples, 2, dtype=F64, generator=generator)
        at = (0.3, math.log(0.8)) if exact else (0.0, 0.1)
        self.loc = torch.full((examples, 2), at[0], dtype=F64, requires_grad=True)
        self.log_scale = torch.full((examples, 2), at[1], dtype=F64, requires_grad=True)
        self.theta = torch.zeros(2, dtype=F64, requires_grad=True)
        q, p = DiagonalGaussian(self.loc, self.log_scale), StandardGaussian(2)
        z = q.from_noise(eps) if through else q.from_noise(eps).detach()
        target = DiagonalGaussian(0.3 + self.theta, torch.full((2,), math.log(0.8), dtype=F64))
        log_measure = torch.tensor(-math.log(draws), dtype=F64)
        log_px_z = target.log_prob(z) - p.log_prob(z) - 2.0
        kl = find_kl(DiagonalGaussian, StandardGaussian)
        self.terms = Terms((Latent(q, p, z, log_measure, kl),), log_px_z, log_measure)
        self.z, self.target = z.detach(), target

    def by(self, value: Tensor) -> list[Tensor]:
        """Gradients by μ, log τ and θ."""
        return list(torch.autograd.grad(value.sum(), (self.loc, self.log_scale, self.theta), retain_graph=True))


def slopes(world: Normals) -> tuple[Tensor, Tensor]:
    """w̃ `(K, B)` and ∂_z log w `(K, B, D)`, written out."""
    log_w = world.terms.log_w.detach()
    share = log_w.softmax(0)
    tau = world.log_scale.detach().exp()
    return share, -(world.z - 0.3) / 0.64 + (world.z - world.loc.detach()) / tau**2


def test_the_values_are_the_bounds_of_their_siblings():
    world, still = Normals(4), Normals(4, through=False)
    assert_close(STL(4)(world.terms), world.terms.log_w.mean(0), **ROUNDING)
    assert_close(DReG(4)(world.terms), IWAE(4)(world.terms), **ROUNDING)
    assert_close(VIMCO(4)(still.terms), IWAE(4)(world.terms), **ROUNDING)
    for baseline in ("none", "mean", -2.0):
        assert_close(Score(4, baseline)(still.terms), world.terms.log_w.mean(0), **ROUNDING)
    assert_close(STL(4)(world.terms), -world.terms.distortion - STL(4).cost(world.terms), **ROUNDING)


def test_dreg_weighs_the_way_to_the_encoder_by_squares_and_that_to_the_decoder_by_shares():
    world = Normals(4)
    share, slope = slopes(world)
    by_loc, by_log_scale, by_theta = world.by(DReG(4)(world.terms))
    squared = share.square().unsqueeze(-1) * slope
    assert_close(by_loc, squared.sum(0), **ROUNDING)
    eps_tau = world.z - world.loc.detach()
    assert_close(by_log_scale, (squared * eps_tau).sum(0), **ROUNDING)
    assert_close(by_theta, (share.unsqueeze(-1) * (world.z - 0.3) / 0.64).sum((0, 1)), **ROUNDING)
    assert_close(by_theta, world.by(IWAE(4)(world.terms))[2], **ROUNDING)  # the standard one, draw by draw


def test_dreg_with_one_draw_is_sticking_the_landing():
    world = Normals(1)
    for one, other in zip(world.by(DReG(1)(world.terms)), world.by(STL(1)(world.terms)), strict=True):
        assert_close(one, other, **ROUNDING)


def test_sticking_the_landing_follows_z_alone():
    world = Normals(3)
    _, slope = slopes(world)
    by_loc, by_log_scale, _ = world.by(STL(3)(world.terms))
    assert_close(by_loc, slope.mean(0), **ROUNDING)
    assert_close(by_log_scale, (slope * (world.z - world.loc.detach())).mean(0), **ROUNDING)


@pytest.mark.parametrize("objective", [STL(3), DReG(3)])
def test_at_the_true_posterior_the_encoders_gradient_is_zero_draw_by_draw(objective):
    world = Normals(3, exact=True)
    by_loc, by_log_scale, by_theta = world.by(objective(world.terms))
    assert_close(by_loc, torch.zeros_like(by_loc), **ROUNDING)
    assert_close(by_log_scale, torch.zeros_like(by_log_scale), **ROUNDING)
    assert by_theta.norm() > 0.1  # the decoder still learns
    assert world.by(IWAE(3)(world.terms))[0].abs().min() > 1e-3  # what the standard estimator has left


def test_terms_are_left_as_they_were():
    """Other objectives of the same terms have the gradients they would have had, in any order."""
    before = [world.by(o(world.terms)) for world in [Normals(4)] for o in (ELBO(4), IWAE(4))]
    world = Normals(4)
    first = DReG(4)(world.terms)
    after = [world.by(o(world.terms)) for o in (ELBO(4), IWAE(4))]
    for one, other in zip(before, after, strict=True):
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a, b)
    for one, other in zip(world.by(first), world.by(DReG(4)(world.terms)), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("objective", [STL(3), DReG(3)])
def test_without_gradients_only_the_value_is_computed(objective):
    world = Normals(3)
    with torch.no_grad():
        assert_close(objective(world.terms), objective(Normals(3).terms).detach(), **ROUNDING)


def test_a_warmed_stl_weighs_the_rate_measured_by_draws():
    world = Normals(3)
    log_q, log_p = world.terms.latents[0].log_q, world.terms.latents[0].log_p
    value = STL(3).warmed(0.25)(world.terms)
    assert_close(value, (world.terms.log_px_z - 0.25 * (log_q - log_p)).mean(0), **ROUNDING)
    loc, scale = world.loc.detach(), world.log_scale.detach().exp()
    slope = -(world.z - 0.3) / 0.64 + 0.75 * world.z + 0.25 * (world.z - loc) / scale**2
    assert_close(world.by(value)[0], slope.mean(0), **ROUNDING)


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("make", [STL, DReG, Score])
def test_no_draws_are_refused(make):
    with pytest.raises(RecipeError, match="draws must be at least 1, got 0"):
        make(draws=0)


def test_a_baseline_from_the_other_draws_needs_others():
    with pytest.raises(RecipeError, match=r"Score: baseline 'mean'.* draws must be at least 2, got 1"):
        Score(draws=1)
    with pytest.raises(RecipeError, match=r"VIMCO: draws must be at least 2.*, got 1"):
        VIMCO(draws=1)
    with pytest.raises(RecipeError, match=r"VIMCO: draws must be at least 2.*, got 0"):
        replace(VIMCO(), draws=0)
    with pytest.raises(RecipeError, match="baseline must be none, mean or a number of nats, got 'median'"):
        Score(baseline="median")
    one = Normals(1, through=False).terms
    for objective in (VIMCO(), Score()):
        with pytest.raises(RecipeError, match="needs terms of at least 2 draws, got 1"):
            objective(one)


@pytest.mark.parametrize("objective", [Score(), VIMCO()])
def test_draws_that_carry_a_gradient_are_refused_by_the_score_function(objective):
    with pytest.raises(RecipeError, match=r"carry a gradient, which would count twice.*reparameterised=False"):
        objective(Normals(4).terms)


@pytest.mark.parametrize("objective", [DReG(), VIMCO()])
def test_bounds_without_a_rate_have_nothing_to_warm(objective):
    with pytest.raises(RecipeError, match="no rate to warm up"):
        objective.warmed(0.5)


def test_dreg_refuses_several_levels_of_latents():
    world = Normals(2)
    with pytest.raises(RecipeError, match="one level of latents, got 2"):
        DReG()(replace(world.terms, latents=world.terms.latents * 2))
