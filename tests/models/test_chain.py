"""Chains of laws: hierarchies, and a class that comes first and may be known.

Truth is enumeration and quadrature written out with scipy and numpy; tolerances are rounding but where said.
"""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm
from torch import Tensor
from torch.testing import assert_close
from worlds import assert_recorded, split_of

import vael
from vael import ELBO, IWAE, VAE, Batch, RecipeError
from vael.likelihoods import Gaussian
from vael.networks import MLP
from vael.objectives import STL, WakeWake
from vael.posteriors import BernoulliPosterior, CategoricalPosterior, ChainPosterior, GaussianPosterior
from vael.priors import (
    BernoulliPrior,
    CategoricalPrior,
    ChainPrior,
    ConditionalPrior,
    GaussianPrior,
    MovedPrior,
    VampPrior,
)
from vael.runs.fit import planned
from vael.runs.recipe import build_model, describe_model

F64 = torch.float64
ROUNDING = {"atol": 1e-9, "rtol": 0}


def seeded(make, seed: int = 0) -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().double()


def hierarchy() -> VAE:
    """Three levels of 2, 2 and 1 numbers, the lower ones told those above."""

    def make() -> VAE:
        prior = ChainPrior([
            GaussianPrior(2),
            ConditionalPrior(MLP(2, [5], 4, activation="tanh")),
            ConditionalPrior(MLP(4, [5], 2, activation="tanh")),
        ])  # fmt: skip
        posterior = ChainPosterior([
            GaussianPosterior(MLP(3, [6], 4, activation="tanh")),
            GaussianPosterior(MLP(3, [6], 4, activation="tanh", given=2)),
            GaussianPosterior(MLP(3, [6], 2, activation="tanh", given=4)),
        ])  # fmt: skip
        return VAE(prior, Gaussian(MLP(5, [6], 3), scale=0.5), posterior)

    return seeded(make)


@pytest.mark.parametrize(("classes", "groups"), [(2, 1), (4, 1), (3, 2)])
def test_a_label_of_other_classes_than_the_first_level_is_refused_before_training(classes, groups, tmp_path):
    def built() -> VAE:
        width = classes * groups
        guess = CategoricalPosterior(MLP(1, [], width), classes=classes, groups=groups, enumerates=True)
        code = GaussianPosterior(MLP(1, [], 2, given=width))
        prior = ChainPrior([CategoricalPrior(classes, groups=groups), GaussianPrior(1)])
        return VAE(prior, Gaussian(MLP(width + 1, [], 1)), ChainPosterior([guess, code]))

    table = {"a": np.linspace(0.0, 1.0, 60), "kind": np.array(["r", "g", "b"] * 20)}
    with pytest.raises(RecipeError, match="examples tell it the label 'kind' of 3"):
        vael.fit(table, model=built(), label=["kind"], steps=1, output=tmp_path / "told")
    assert vael.fit(table, model=built(), ignore=["kind"], steps=1, output=tmp_path / "alone").model.latent > 2


def test_that_the_class_at_the_top_is_the_label_is_said():
    a = np.linspace(0.0, 1.0, 60)
    table = {"a": a, "b": a**2, "kind": np.array(["r", "g", "b"] * 20)}

    def built() -> VAE:
        guess = CategoricalPosterior(MLP(2, [], 3), classes=3, enumerates=True)
        levels = [guess, GaussianPosterior(MLP(2, [], 2, given=3))]
        return VAE(ChainPrior([CategoricalPrior(3), GaussianPrior(1)]), Gaussian(MLP(4, [], 2)), ChainPosterior(levels))

    told = "the class at the top of z is the label 'kind'"
    assert any(told in note for note in planned(table, model=built(), label=["kind"], steps=1).notes)
    assert not any(told in note for note in planned(table, model=built(), ignore=["kind"], steps=1).notes)


@pytest.mark.parametrize("drawn", ["relaxed", "exact"])
def test_beside_labels_a_row_without_one_teaches_the_class_as_it_does_alone(drawn):
    """The same gradient of q(y|x) whether nothing is known of labels or they are there and this row lacks one."""
    guess = CategoricalPosterior(MLP(3, [4], 3), classes=3, temperature=0.5 if drawn == "relaxed" else None)
    levels = [guess, GaussianPosterior(MLP(3, [], 2, given=3))]
    model = VAE(ChainPrior([CategoricalPrior(3), GaussianPrior(1)]), Gaussian(MLP(4, [4], 3)), ChainPosterior(levels))
    model = model.double().train()
    x = torch.randn(6, 3, dtype=F64, generator=torch.Generator().manual_seed(0))
    noise, objective = model.noise(5, 6, seed=0), ELBO() if drawn == "relaxed" else WakeWake(draws=5)
    slopes = []
    for label in (None, torch.full((6,), -1)):
        terms = model.terms(Batch(x, label=label), noise, reparameterised=drawn == "relaxed")
        slopes.append(torch.autograd.grad(objective(terms).sum(), list(guess.parameters())))
    for alone, beside in zip(*slopes, strict=True):
        assert alone.abs().max() > 1e-6
        assert_close(beside, alone, **ROUNDING)


def test_its_levels_and_a_moved_prior_are_shown_the_examples_that_they_begin_at():
    prior = ChainPrior([VampPrior(2, 3), ConditionalPrior(MLP(2, [], 2))])
    levels = [GaussianPosterior(MLP(3, [], 4)), GaussianPosterior(MLP(3, [], 2, given=2))]
    VAE(prior, Gaussian(MLP(3, [], 3)), ChainPosterior(levels))
    x = torch.arange(12.0).reshape(4, 3)
    prior.begin(x)
    assert torch.equal(prior.levels[0].pseudo, x[:3])
    inside = MovedPrior(VampPrior(2, 3, event_shape=3))
    inside.begin(x)
    assert torch.equal(inside.prior.pseudo, x[:3])


def labelled(classes: int = 3, latent: int = 1, classifier: float = 0.0, *, own: bool = False) -> VAE:
    """M2 over three numbers; own: each class has its own prior of z."""

    def make() -> VAE:
        below = ConditionalPrior(MLP(classes, [], 2 * latent)) if own else GaussianPrior(latent)
        prior = ChainPrior([CategoricalPrior(classes, learned=True), below])
        guess = CategoricalPosterior(MLP(3, [5], classes, activation="tanh"), classes=classes, enumerates=True)
        code = GaussianPosterior(MLP(3, [6], 2 * latent, activation="tanh", given=classes))
        decoder = MLP(classes + latent, [6], 3, activation="tanh")
        model = VAE(prior, Gaussian(decoder, scale=0.8), ChainPosterior([guess, code], classifier=classifier))
        torch.nn.init.normal_(prior.levels[0].logits)
        return model

    return seeded(make)


def rows(count: int = 4) -> Tensor:
    return torch.randn(count, 3, dtype=F64, generator=torch.Generator().manual_seed(5))


# ── hierarchies ──────────────────────────────────────────────────────────────────────────────────────────────


def normal(network: MLP, x: Tensor, given: Tensor | None = None) -> tuple[np.ndarray, np.ndarray]:
    loc, log_scale = (network(x) if given is None else network(x, given)).detach().chunk(2, -1)
    return loc.numpy(), log_scale.exp().numpy()


def test_every_level_is_scored_below_the_draws_above_it():
    model, x = hierarchy(), rows()
    terms = model.terms(x, model.noise(2, 4, seed=0))
    z = terms.latents[0].z.detach()
    one, two, three = z.split([2, 2, 1], -1)
    q, p = model.posterior.levels, model.prior.levels
    log_q = log_p = 0.0
    for piece, law in (
        (one, normal(q[0].network, x)),
        (two, normal(q[1].network, x, one)),
        (three, normal(q[2].network, x, torch.cat([one, two], -1))),
    ):
        log_q = log_q + norm(*law).logpdf(piece.numpy()).sum(-1)
    for piece, law in (
        (one, (0.0, 1.0)),
        (two, normal(p[1].network, one)),
        (three, normal(p[2].network, torch.cat([one, two], -1))),
    ):
        log_p = log_p + norm(*law).logpdf(piece.numpy()).sum(-1)
    assert_close(terms.latents[0].log_q.detach(), torch.from_numpy(log_q), **ROUNDING)
    assert_close(terms.latents[0].log_p.detach(), torch.from_numpy(log_p), **ROUNDING)
    again = model.posterior(x)
    assert_close(again.log_prob(z).detach(), torch.from_numpy(log_q), **ROUNDING)  # draws that it has not made


def test_every_draw_can_be_scored_under_every_examples_posterior():
    """As the aggregated posterior asks: z `(M, 1, D)` against B examples is `(M, B)`, entry by entry."""
    model, x = hierarchy(), rows()
    z = torch.randn(6, 1, 5, dtype=F64, generator=torch.Generator().manual_seed(2))
    table = model.posterior(x).log_prob(z)
    assert table.shape == (6, 4)
    for b in range(4):
        assert_close(table[:, b : b + 1], model.posterior(x[b : b + 1]).log_prob(z), **ROUNDING)


def test_the_rate_in_closed_form_has_the_mean_of_the_drawn_one():
    """Four standard errors of 20,000 draws; the closed forms below the draws vary far less."""
    model, x = hierarchy(), rows()
    terms = model.terms(x, model.noise(20_000, 4, seed=1))
    ratio = (terms.latents[0].log_q - terms.latents[0].log_p).detach()
    error = 4 * ratio.std(0) / math.sqrt(20_000)
    assert ((terms.rate.detach() - ratio.mean(0)).abs() < error).all()
    assert error.max() < 0.2
    assert_close(terms.unit_rate.sum(-1), terms.rate)
    assert terms.unit_rate.shape == (4, 5)


def test_the_evidence_of_a_linear_hierarchy_is_the_gaussians():
    """z₁ ~ N(0, 1), z₂|z₁ ~ N(a z₁, s²), x|z ~ N(W z, σ² I): log p(x) by scipy, importance sampling to 4 errors."""

    def make() -> VAE:
        prior = ChainPrior([GaussianPrior(1), ConditionalPrior(MLP(1, [], 2))])
        posterior = ChainPosterior([GaussianPosterior(MLP(3, [], 2)), GaussianPosterior(MLP(3, [], 2, given=1))])
        return VAE(prior, Gaussian(MLP(2, [], 3), scale=0.7), posterior)

    model = seeded(make)
    prior, posterior = model.prior, model.posterior
    weight = torch.tensor([[1.0, 0.5], [-0.3, 1.2], [0.4, 0.4]], dtype=F64)
    with torch.no_grad():
        prior.levels[1].network.head.weight.copy_(torch.tensor([[0.8], [0.0]], dtype=F64))
        prior.levels[1].network.head.bias.copy_(torch.tensor([0.0, math.log(0.6)], dtype=F64))
        model.likelihood.network.head.weight.copy_(weight), model.likelihood.network.head.bias.zero_()
        for level in posterior.levels:
            level.network.head.weight.mul_(0.2), level.network.head.bias.zero_()
    joint = np.array([[1.0, 0.8], [0.8, 0.64 + 0.36]])
    covariance = weight.numpy() @ joint @ weight.numpy().T + 0.49 * np.eye(3)
    x = rows()
    truth = torch.from_numpy(multivariate_normal(np.zeros(3), covariance).logpdf(x.numpy()))
    log_w = model.terms(x, model.noise(50_000, 4, seed=0)).log_w.detach()
    ratio = (log_w - truth).exp()  # unbiased for 1
    error = 4 * ratio.std(0) / math.sqrt(50_000)
    assert error.max() < 0.1
    assert ((ratio.mean(0) - 1).abs() < error).all()


def test_a_chain_of_one_is_its_level():
    def of(prior, posterior) -> VAE:
        return seeded(lambda: VAE(prior(), Gaussian(MLP(2, [4], 3), scale=1.0), posterior()))

    plain = of(lambda: GaussianPrior(2), lambda: GaussianPosterior(MLP(3, [4], 4)))
    chained = of(lambda: ChainPrior([GaussianPrior(2)]), lambda: ChainPosterior([GaussianPosterior(MLP(3, [4], 4))]))
    chained.likelihood.load_state_dict(plain.likelihood.state_dict())
    chained.posterior.levels[0].load_state_dict(plain.posterior.state_dict())
    x = rows()
    one, other = (model.terms(x, model.noise(3, 4, seed=0)) for model in (plain, chained))
    assert_close(other.log_w, one.log_w, **ROUNDING)
    assert_close(other.rate, one.rate, **ROUNDING)
    assert_close(other.unit_rate, one.unit_rate, **ROUNDING)


def test_held_still_a_chain_passes_gradients_through_its_draws_alone():
    """STL's gradient by q: log q's own parameters are out of it, and its mean is the ELBO's; here against autodiff."""
    model, x = hierarchy(), rows()
    terms = model.terms(x, model.noise(2, 4, seed=0))
    fixed, moving = terms.latents[0].log_q_fixed, terms.latents[0].log_q
    assert_close(fixed.detach(), moving.detach(), **ROUNDING)
    z, parameters = terms.latents[0].z, list(model.posterior.parameters())
    still = model.posterior(x).still()
    (by_z,) = torch.autograd.grad(still.log_prob(z).sum(), z, retain_graph=True)
    through = torch.autograd.grad(z, parameters, grad_outputs=by_z, retain_graph=True)
    found = torch.autograd.grad(fixed.sum(), parameters, retain_graph=True)
    for one, other in zip(found, through, strict=True):
        assert_close(one, other, **ROUNDING)
    assert torch.isfinite(STL()(terms)).all()


# ── a class that comes first ─────────────────────────────────────────────────────────────────────────────────


def by_hand(model: VAE, x: Tensor, nodes: int = 80) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log p(y), log q(y|x) `(B, C)`, and L(x, y) − log p(y) `(B, C)` by Gauss–Hermite quadrature over z."""
    at, weight = np.polynomial.hermite_e.hermegauss(nodes)
    weight = weight / weight.sum()
    classes = model.prior.sizes[0]
    log_prior = model.prior.levels[0].logits.detach().log_softmax(-1)[0].numpy()
    log_q = model.posterior.levels[0](x).logits.detach().log_softmax(-1)[:, 0].numpy()
    bound = np.zeros((len(x), classes))
    for y in range(classes):
        one = torch.eye(classes, dtype=F64)[y].expand(len(x), -1)
        loc, scale = normal(model.posterior.levels[1].network, x, one)
        for place, share in zip(at, weight, strict=True):
            z = loc + scale * place
            mean = model.likelihood.network(torch.cat([one, torch.from_numpy(z)], -1)).detach().numpy()
            log_px = norm(mean, 0.8).logpdf(x.numpy()).sum(-1)
            ratio = norm(0, 1).logpdf(z).sum(-1) - norm(loc, scale).logpdf(z).sum(-1)
            bound[:, y] += share * (log_px + ratio)
    return log_prior, log_q, bound


def test_without_a_label_the_bound_is_the_sum_over_classes():
    """U(x) = Σ_y q(y|x) [L(x, y) − log q(y|x)] with z at quadrature's nodes; log p(z) − log q(z) in closed form."""
    model, x = labelled(), rows()
    log_prior, log_q, bound = by_hand(model, x)
    truth = (np.exp(log_q) * (bound + log_prior - log_q)).sum(1)
    at, weight = np.polynomial.hermite_e.hermegauss(80)
    many = torch.from_numpy(np.random.default_rng(0).choice(at, size=(60_000, 4, 1), p=weight / weight.sum()))
    eps = torch.cat([torch.zeros(60_000, 4, 3, dtype=F64), many], -1)
    terms = model.terms(x, type(model.noise(1, 1, seed=0))((eps,)))
    assert terms.log_w.shape == (180_000, 4)
    assert_close(terms.log_measure.exp().sum(0), torch.ones(4, dtype=F64), **ROUNDING)
    found = ELBO()(terms).detach()
    spread = terms.log_px_z.detach().std(0) * 4 / math.sqrt(60_000)
    assert ((found - torch.from_numpy(truth)).abs() < spread).all()
    assert spread.max() < 0.05


@pytest.mark.parametrize("own", [False, True])
def test_the_rate_of_a_summed_class_is_the_mean_log_ratio_weighed_by_it(own):
    """In closed form below each class, against log q − log p of 20,000 draws of every class; four standard errors."""
    model, x = labelled(latent=2, own=own), rows()
    label = torch.tensor([-1, 1, -1, 2])
    terms = model.terms(Batch(x, label=label), model.noise(20_000, 4, seed=2))
    ratio = (terms.latents[0].log_q - terms.latents[0].log_p).detach().unflatten(0, (20_000, 3))
    share = terms.log_measure.detach().exp().unflatten(0, (20_000, 3)) * 20_000
    each = (share * ratio).sum(1)  # (K, B)
    error = 4 * each.std(0) / math.sqrt(20_000)
    assert ((terms.rate.detach() - each.mean(0)).abs() < error).all()
    assert error.max() < 0.1
    assert terms.unit_rate.shape == (4, 3)


def test_with_a_label_the_bound_is_that_class_and_log_p_of_it():
    model, x = labelled(), rows()
    label = torch.tensor([2, 0, -1, 1])
    log_prior, log_q, bound = by_hand(model, x)
    noise = model.noise(60_000, 4, seed=3)
    terms = model.terms(Batch(x, label=label), noise)
    truth = np.array([bound[0, 2] + log_prior[2], bound[1, 0] + log_prior[0], 0.0, bound[3, 1] + log_prior[1]])
    truth[2] = (np.exp(log_q[2]) * (bound[2] + log_prior - log_q[2])).sum()
    found, error = ELBO()(terms).detach(), 4 * terms.log_px_z.detach().std(0) / math.sqrt(60_000)
    assert ((found - torch.from_numpy(truth)).abs() < error).all()
    assert error.max() < 0.05
    assert torch.isfinite(terms.log_w).all()


def test_the_bound_is_tight_where_both_posteriors_are_exact():
    """One class's decoder ignores z and q(z|x, y) is the prior: then q(y|x) by Bayes makes U(x) log p(x)."""
    model, x = labelled(), rows()
    with torch.no_grad():
        model.likelihood.network.layers[0].weight[:, 3:] = 0  # x does not depend on z
        for parameter in model.posterior.levels[1].parameters():
            parameter.zero_()
    means = model.likelihood.network(torch.cat([torch.eye(3), torch.zeros(3, 1)], -1).double()).detach().numpy()
    log_prior = model.prior.levels[0].logits.detach().log_softmax(-1)[0].numpy()
    joint = np.stack(
        [norm(mean, 0.8).logpdf(x.numpy()).sum(-1) + one for mean, one in zip(means, log_prior, strict=True)], 1
    )
    truth = np.logaddexp.reduce(joint, 1)

    class Bayes(torch.nn.Module):
        outputs = 3

        def forward(self, x: Tensor) -> Tensor:
            return torch.from_numpy(joint)

    model.posterior.levels[0].network = Bayes()
    terms = model.terms(x, model.noise(2, 4, seed=0))
    assert_close(ELBO(draws=2)(terms).detach(), torch.from_numpy(truth), **ROUNDING)
    assert_close(IWAE(draws=2)(terms).detach(), torch.from_numpy(truth), **ROUNDING)
    assert_close(terms.log_w_of(2).detach(), torch.from_numpy(truth).expand(2, 4), **ROUNDING)


def test_the_classifiers_weight_costs_cross_entropy_and_leaves_the_bound_alone():
    plain, taught = labelled(), labelled(classifier=7.0)
    x, label = rows(), torch.tensor([2, 0, -1, 1])
    one, other = (model.terms(Batch(x, label=label), model.noise(2, 4, seed=0)) for model in (plain, taught))
    assert_close(ELBO()(one), ELBO()(other), **ROUNDING)
    assert one.penalties == {}
    log_q = taught.posterior.levels[0](x).logits.log_softmax(-1)[:, 0]
    wanted = torch.stack([-7 * log_q[0, 2], -7 * log_q[1, 0], log_q[0, 0] * 0, -7 * log_q[3, 1]])
    assert_close(other.penalties["classifier"], wanted, **ROUNDING)
    assert taught.terms(Batch(x), taught.noise(1, 4, seed=0)).penalties == {}


def test_importance_sampling_sums_over_the_classes():
    """log p(x) = log Σ_y p(y) ∫ p(z) p(x|y, z) dz by quadrature over z; four Monte Carlo errors."""
    from vael.evidence import Importance

    model, x = labelled(), rows()
    at, weight = np.polynomial.hermite_e.hermegauss(120)
    log_weight = np.log(weight / weight.sum())
    log_prior = model.prior.levels[0].logits.detach().log_softmax(-1)[0].numpy()
    found = []
    for y in range(3):
        z = torch.cat([torch.eye(3, dtype=F64)[y].expand(120, -1), torch.from_numpy(at)[:, None]], -1)
        mean = model.likelihood.network(z).detach().numpy()  # (Q, 3)
        log_px = norm(mean[:, None], 0.8).logpdf(x.numpy()).sum(-1)
        found.append(np.logaddexp.reduce(log_px + log_weight[:, None], 0) + log_prior[y])
    truth = np.logaddexp.reduce(found, 0)
    estimate = Importance(draws=4000)(model, split_of(x))
    assert (np.abs(estimate.value.numpy() - truth) < 4 * estimate.monte_carlo_error.numpy() + 1e-4).all()
    assert estimate.monte_carlo_error.max() < 0.02


@pytest.mark.parametrize("make", [hierarchy, labelled, lambda: labelled(classifier=2.0, own=True)])
def test_a_recorded_step_is_the_step_bit_for_bit(make):
    split = split_of(rows(12).float())
    split = type(split)(split.x, split.index, split.log_jacobian, label=torch.arange(12) % 4 - 1)
    assert_recorded(make().float(), ELBO(), split)


@pytest.mark.parametrize("make", [hierarchy, labelled])
def test_a_chain_is_rebuilt_from_its_recipe(make):
    model = make()
    table = describe_model(model)
    again = build_model(table).double()
    again.load_state_dict(model.state_dict())
    assert describe_model(again) == table
    x = rows()
    assert_close(again.terms(x, again.noise(2, 4, seed=0)).log_w, model.terms(x, model.noise(2, 4, seed=0)).log_w)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: ChainPrior([]), "levels must be at least one prior, got none"),
        (lambda: ChainPosterior([]), "levels must be at least one posterior, got none"),
        (
            lambda: ChainPosterior([GaussianPosterior(None, 1), BernoulliPosterior(None, enumerates=True, latent=2)]),
            "only the first level can enumerate",
        ),
        (
            lambda: ChainPosterior([GaussianPosterior(None, 1)], classifier=1.0),
            "the first level is no choice of classes",
        ),
        (
            lambda: ChainPosterior([GaussianPosterior(None, 1)], classifier=-1.0),
            "classifier must be at least 0, got -1",
        ),
        (
            lambda: VAE(
                ChainPrior([GaussianPrior(2), GaussianPrior(1)]),
                Gaussian(MLP(3, [], 3)),
                ChainPosterior([GaussianPosterior(None, 1), GaussianPosterior(None, 2)]),
            ),
            r"its levels have \[1, 2\] numbers, the prior's \[2, 1\]",
        ),
        (
            lambda: VAE(
                ChainPrior([BernoulliPrior(2), GaussianPrior(1)]),
                Gaussian(MLP(3, [], 3)),
                ChainPosterior([GaussianPosterior(None, 2), GaussianPosterior(None, 1)]),
            ),
            "needs both over the same states",
        ),
    ],
)
def test_chains_that_cannot_be_are_refused_in_words(make, told):
    with pytest.raises(RecipeError, match=told):
        make()
