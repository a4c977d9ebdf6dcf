"""Posteriors that say codes, and the prior over them: against enumeration, hand-computed means and autodiff."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from worlds import assert_recorded, split_of

import vael
from vael import ELBO, IWAE, VAE, RecipeError
from vael.cli.app import run as command
from vael.diagnostics import code_perplexity, perplexity
from vael.evaluation import evaluate
from vael.evidence import Exact, Importance
from vael.files import load_tensors, save_tensors
from vael.likelihoods import Bernoulli
from vael.networks import MLP
from vael.objectives import STL, Score
from vael.posteriors import FiniteScalarPosterior, GaussianPosterior, QuantizedPosterior
from vael.posteriors.coded import CodedPosterior
from vael.priors import CodesPrior, GaussianPrior
from vael.runs.fit import planned
from vael.runs.recipe import build_model, describe_model
from vael.training import Engine, Ranks, Training, check_dealt

FEATURES = 5
ROUNDING = {"atol": 1e-9, "rtol": 1e-9}

# name: (class, its arguments, codes, numbers of a code, stages)
MEMBERS = {
    "quantized": (QuantizedPosterior, {"positions": 3, "codes": 4, "size": 2}, 4, 2, 1),
    "residual": (QuantizedPosterior, {"positions": 2, "codes": 3, "size": 2, "stages": 2}, 3, 2, 2),
    "finite_scalar": (FiniteScalarPosterior, {"positions": 2, "levels": [3, 2]}, 6, 2, 1),
}
every = pytest.mark.parametrize("name", MEMBERS)
learned = pytest.mark.parametrize("name", ["quantized", "residual"])


def made(name: str, hidden: tuple[int, ...] = (6,), **more: object) -> VAE:
    member, arguments, codes, size, stages = MEMBERS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        width = arguments["positions"] * size
        posterior = member(MLP(FEATURES, [7], width, activation="tanh"), **{**arguments, **more})
        posterior.network.head.weight.data.mul_(3.0)
        prior = CodesPrior(arguments["positions"], codes, size, stages=stages, hidden=list(hidden))
        model = VAE(prior, Bernoulli(MLP(prior.latent, [6], FEATURES)), posterior)
        for parameter in prior.parameters():
            nn.init.normal_(parameter)
        return model.double()


def rows(count: int = 6) -> Tensor:
    return (torch.randn(count, FEATURES, generator=torch.Generator().manual_seed(3)) > 0).double()


# ── the law ──────────────────────────────────────────────────────────────────────────────────────────────────


@every
@pytest.mark.parametrize("hidden", [(), (6,)])
def test_probabilities_of_all_codes_sum_to_one(name, hidden):
    p = made(name, hidden).prior()
    states = p.every()
    assert len({tuple(row) for row in states[:, 0].tolist()}) == p.states == p.codes**p.places
    share = p.log_prob(states).exp().detach()
    assert float(share.sum()) == pytest.approx(1, abs=1e-9)
    assert share.max() > 2 * share.mean()  # a law well away from equal chances


@every
@pytest.mark.parametrize("hidden", [(), (6,)])
def test_draws_come_as_often_as_their_probability_says(name, hidden):
    """Four standard errors of a share, of 20,000 draws."""
    p = made(name, hidden).prior()
    eps = torch.randn(20_000, p.event_shape[0], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        z, states = p.from_noise(eps), p.every()[:, 0]
        share = p.log_prob(states).exp()
    found = torch.stack([(z == state).all(-1).double().mean() for state in states])
    assert float(found.sum()) == pytest.approx(1, abs=1e-9)  # every draw is a state
    assert ((found - share).abs() <= 4 * (share * (1 - share) / 20_000).sqrt() + 1e-4).all()


def test_a_code_depends_on_those_before_it_alone():
    p = made("quantized").prior()
    ones = torch.eye(4, dtype=torch.float64)
    logits = torch.stack([p.conditionals(ones[list(codes)]) for codes in product(range(4), repeat=3)])
    by = logits.unflatten(0, (4, 4, 4))
    assert_close(by[:, :, :, 0], by[:1, :1, :1, 0].expand(4, 4, 4, -1), **ROUNDING)
    assert_close(by[:, :, :, 1], by[:, :1, :1, 1].expand(-1, 4, 4, -1), **ROUNDING)
    assert_close(by[:, :, :, 2], by[:, :, :1, 2].expand(-1, -1, 4, -1), **ROUNDING)
    assert (by[0, 0, 0, 1] - by[1, 0, 0, 1]).abs().max() > 0.1
    assert (by[0, 0, 0, 2] - by[0, 1, 0, 2]).abs().max() > 0.1


@every
def test_codes_are_recovered_from_their_vectors(name):
    for model in (made(name), made(name).float()):
        q = model.eval().posterior(rows().to(next(model.parameters()).dtype))
        assert torch.equal(model.prior().numbers_of(q.mean), q.numbers)
        assert torch.equal(q.vectors_of(q.numbers), q.mean.detach())


def test_the_moments_of_independent_codes_are_sums_over_all_of_them():
    p = made("quantized", ()).prior()
    states = p.every()[:, 0]
    share = p.log_prob(states).exp()
    assert_close(p.mean, share @ states, **ROUNDING)
    assert_close(p.variance, share @ (states - p.mean).square(), **ROUNDING)


# ── the bound ────────────────────────────────────────────────────────────────────────────────────────────────


@every
def test_the_bound_is_that_of_one_state_and_lies_below_the_sum_over_all(name):
    """−rate is log p of the code, written out from the network's logits; log p(x) by enumeration."""
    model, x = made(name).eval(), rows()
    terms = model.terms(x, model.noise(1, len(x), seed=0))
    q, p = model.posterior(x), model.prior()
    ones = torch.eye(p.codes, dtype=torch.float64)[q.numbers]
    log_p = (p.conditionals(ones).log_softmax(-1) * ones).sum((-2, -1))
    assert_close(terms.rate, -log_p, **ROUNDING)
    assert_close(terms.unit_rate.sum(-1), terms.rate, **ROUNDING)
    assert terms.unit_rate.shape == (len(x), p.places)
    log_px = model.log_joint(vael.Batch(x), p.every().expand(-1, len(x), -1)).logsumexp(0)
    assert (terms.elbo < log_px - 1e-3).all()
    assert_close(ELBO()(terms), terms.elbo, **ROUNDING)
    assert_close(IWAE(5)(model.terms(x, model.noise(5, len(x), seed=0))), terms.elbo, **ROUNDING)


@every
def test_evidence_is_exact_where_states_are_few_and_else_said_to_be_one_draws_bound(name, monkeypatch):
    model, split = made(name).eval(), split_of(rows())
    found = evaluate(model, split)
    assert (found.evidence.method, found.evidence.bound) == ("exact", "exact")
    one = Importance(500)(model, split)
    assert (one.draws, one.bound, one.effective_sample_size.tolist()) == (1, "lower", [1.0] * 6)
    assert one.monte_carlo_error.isnan().all()
    bound = model.terms(rows(), model.noise(1, 6, seed=0)).elbo
    assert_close(one.value, bound.detach(), **ROUNDING)
    assert (Exact()(model, split).value > one.value).all()
    monkeypatch.setattr("vael.evidence.exact.MOST_SUMMED", 1)
    found = evaluate(model, split)
    assert (found.evidence.method, found.evidence.draws, found.evidence.monte_carlo_error) == ("importance", 1, None)
    assert "a lower bound" in str(found)


# ── gradients and the codebook ───────────────────────────────────────────────────────────────────────────────


def by_outputs(model: VAE) -> Tensor:
    """∂z/∂e `(D, P · W)` of one example, by autodiff."""
    posterior = model.posterior.eval()
    outputs = torch.linspace(-0.9, 0.8, posterior.network.outputs, dtype=torch.float64)[None]
    return torch.autograd.functional.jacobian(lambda e: posterior.law(e).mean[0], outputs)[:, 0]


def test_the_gradient_goes_straight_through_the_choice_and_that_of_stages_through_their_sum():
    jacobian = by_outputs(made("quantized"))
    assert_close(jacobian, torch.eye(6, dtype=torch.float64), **ROUNDING)
    jacobian = by_outputs(made("residual")).unflatten(0, (2, 2, 2)).sum(1).flatten(0, 1)
    assert_close(jacobian, torch.eye(4, dtype=torch.float64), **ROUNDING)


def test_finite_scalars_are_the_nearest_levels_and_their_gradient_is_the_bounded_outputs():
    posterior = FiniteScalarPosterior(None, positions=1, levels=[4, 3])
    outputs = torch.stack(torch.meshgrid(*[torch.linspace(-4, 4, 4001).double()] * 2, indexing="ij"), -1)[::40, ::40]
    z = posterior.double().law(outputs.flatten(0, 1).requires_grad_()).mean
    levels = [np.linspace(-1, 1, 4), np.linspace(-1, 1, 3)]
    for column, (level, size) in enumerate(zip(levels, (4, 3), strict=True)):
        y = np.tanh(outputs[..., column].flatten().numpy()) * size / (size - 1)
        wanted = level[np.abs(y[:, None] - level).argmin(1)]
        off_edges = np.sort(np.abs(y[:, None] - level), 1)
        clear = off_edges[:, 1] - off_edges[:, 0] > 1e-9  # between two levels either is the nearest
        np.testing.assert_allclose(z[clear, column].detach().numpy(), wanted[clear], atol=1e-12)
    shares = torch.histc(torch.tanh(torch.linspace(-4, 4, 4001)), 4, -1, 1)
    assert shares.min() > 0
    assert_close(by_outputs(made("finite_scalar")).diagonal(), _slopes(), **ROUNDING)


def _slopes() -> Tensor:
    e = torch.linspace(-0.9, 0.8, 4, dtype=torch.float64)
    return torch.cosh(e).pow(-2) * torch.tensor([3 / 2, 2 / 1, 3 / 2, 2 / 1], dtype=torch.float64)


def test_extreme_outputs_are_the_outer_levels_with_finite_gradients():
    posterior = FiniteScalarPosterior(None, positions=1, levels=[5, 2])
    outputs = torch.tensor([[-1e4, 1e4], [60.0, -60.0]], requires_grad=True)
    z = posterior.law(outputs).mean
    assert z.tolist() == [[-1, 1], [1, -1]]
    assert torch.isfinite(torch.autograd.grad(z.sum(), outputs)[0]).all()


def test_codes_follow_the_means_computed_by_hand():
    """Two codes at 0 and 10, four positions; n = γ n + (1 − γ) C/M N, m alike, c = m / n a step later."""
    posterior = QuantizedPosterior(None, positions=2, codes=2, size=1, decay=0.9, revival=0.0).double()
    book = torch.tensor([[[0.0], [10.0]]], dtype=torch.float64)
    posterior.codebook.copy_(book), posterior.sums.copy_(book)
    first = posterior.law(torch.tensor([[1.0, 2.0], [3.0, 8.0]], dtype=torch.float64))
    assert first.mean.tolist() == [[0, 0], [0, 10]]  # of the codes as they were
    assert first.numbers.tolist() == [[0, 0], [0, 1]]
    uses = [0.9 + 0.1 * 2 / 4 * 3, 0.9 + 0.1 * 2 / 4 * 1]
    sums = [0.1 * 2 / 4 * 6.0, 9.0 + 0.1 * 2 / 4 * 8.0]
    assert_close(posterior.uses[0], torch.tensor(uses).double(), atol=1e-7, rtol=0)
    assert_close(posterior.sums[0, :, 0], torch.tensor(sums).double(), atol=1e-6, rtol=0)
    second = posterior.law(torch.tensor([[1.0, 9.0]], dtype=torch.float64))
    codes = [sums[0] / uses[0], sums[1] / uses[1]]
    assert_close(second.mean[0], torch.tensor(codes).double(), atol=1e-6, rtol=0)
    posterior.eval()
    before = posterior.uses.clone()
    posterior.law(torch.tensor([[1.0, 9.0]], dtype=torch.float64))
    assert torch.equal(posterior.uses, before)


def test_the_penalty_is_the_squared_distance_of_what_each_stage_leaves():
    model = made("residual").eval()
    law = model.posterior(rows())
    e = model.posterior.network(rows()).unflatten(-1, (2, 2))
    codes = law.mean.unflatten(-1, (2, 2, 2))
    one, two = e - codes[:, :, 0], e - codes[:, :, 0] - codes[:, :, 1]
    assert_close(law.penalties["commitment"], 0.25 * (one.square() + two.square()).sum((-2, -1)), **ROUNDING)


@learned
@pytest.mark.parametrize("batch", [1, 8, 64])
def test_the_cost_of_an_example_does_not_depend_on_how_many_stand_beside_it(name, batch):
    """Also in training, where a batch moves the codes of the next step alone."""
    model = made(name).train()
    model.posterior.move()
    alone = made(name).eval()
    alone.posterior.load_state_dict(model.posterior.state_dict())
    wanted = alone.posterior(rows(1)).penalties["commitment"]
    found = model.posterior(rows(1).expand(batch, -1)).penalties["commitment"]
    assert_close(found, wanted.expand(batch), **ROUNDING)
    assert wanted > 0.01


def test_a_code_that_nothing_chooses_is_moved_to_what_is_quantised_worst():
    posterior = QuantizedPosterior(None, positions=1, codes=3, size=1, decay=0.5, revival=0.6).double()
    book = torch.tensor([[[0.0], [50.0], [90.0]]], dtype=torch.float64)
    posterior.codebook.copy_(book), posterior.sums.copy_(book)
    seen = torch.tensor([[0.1], [-3.0], [0.2], [7.0]], dtype=torch.float64)
    posterior.law(seen)
    posterior.move()
    assert posterior.codebook[0, 1:, 0].tolist() == [7.0, -3.0]
    assert posterior.uses[0, 1:].tolist() == [1, 1]


def test_without_revival_a_code_never_chosen_stays_and_stays_finite():
    posterior = QuantizedPosterior(None, positions=1, codes=2, size=1, decay=0.1, revival=0.0)
    posterior.codebook.copy_(torch.tensor([[[0.0], [50.0]]])), posterior.sums.copy_(posterior.codebook)
    for _ in range(100):
        posterior.law(torch.tensor([[0.5], [-0.5]]))
    assert posterior.codebook[0, 1].item() == pytest.approx(50, rel=1e-4)
    assert torch.isfinite(posterior.codebook).all()


@learned
def test_codes_begin_where_there_is_something_to_quantise(name):
    model = made(name)
    x = torch.randn(200, FEATURES, generator=torch.Generator().manual_seed(0)).double()
    model.prior.begin(x)
    with torch.no_grad():
        encoded = model.posterior.network(x).unflatten(-1, (-1, 2)).flatten(0, 1)
    assert (torch.cdist(model.posterior.codebook[0], encoded).amin(-1) < 1e-6).all()  # a product of other sums
    assert torch.equal(model.posterior.sums, model.posterior.codebook)


# ── steps, weights, recipes, runs ────────────────────────────────────────────────────────────────────────────


@every
@pytest.mark.parametrize("hidden", [(), (6,)])
def test_a_recorded_step_is_the_step_bit_for_bit(name, hidden):
    assert_recorded(made(name, hidden).float(), ELBO(), split_of(rows(12).float()))


@every
def test_the_gradient_reaches_encoder_decoder_and_prior(name):
    model, x = made(name).train(), rows()
    terms = model.terms(x, model.noise(1, 6, seed=0))
    (ELBO()(terms) - sum(terms.penalties.values())).sum().backward()
    for where, parameter in model.named_parameters():
        assert parameter.grad is not None, where
        assert (parameter.grad.abs() > 1e-9).any(), where


@every
def test_weights_and_codes_survive_saving_and_a_recipe(name, tmp_path):
    model = made(name)
    model.train().posterior(rows())
    model.eval()
    save_tensors(tmp_path / "weights.safetensors", model.state_dict())
    again = build_model(describe_model(model)).double().eval()
    again.load_state_dict(load_tensors(tmp_path / "weights.safetensors")[0])
    noise = model.noise(1, 6, seed=0)
    assert torch.equal(again.terms(rows(), noise).elbo, model.terms(rows(), noise).elbo)
    assert again.prior.neighbours == (again.posterior,)
    assert ("posterior.codebook" in model.state_dict()) == (name != "finite_scalar")


@every
def test_models_side_by_side_move_each_their_own_codes(name):
    from vael.training.together import Together

    def engines() -> list[Engine]:
        made_ = [made(name).float().train() for _ in range(2)]
        split = split_of(rows(12).float())
        return [Engine(m, ELBO(), split, Training.of({"steps": 9, "batch": 4}), seed=s) for s, m in enumerate(made_)]

    alone, side_by_side = engines(), engines()
    together = Together(side_by_side)
    for _ in range(3):
        together.advance()
        for engine in alone:
            engine.advance()
    for one, other in zip(alone, side_by_side, strict=True):
        for name_, value in one.model.state_dict().items():
            assert_close(other.model.state_dict()[name_], value, atol=1e-5, rtol=1e-5)


def test_perplexity_is_how_many_codes_in_even_use_would_be_as_uncertain():
    assert perplexity(torch.tensor([[0, 1], [2, 3]]), 9) == pytest.approx(4)
    assert perplexity(torch.zeros(5, 3, dtype=torch.int64), 9) == pytest.approx(1)
    uneven = math.exp(-0.75 * math.log(0.75) + 0.25 * math.log(4))
    assert perplexity(torch.tensor([0, 0, 0, 1]), 2) == pytest.approx(uneven)
    model, split = made("residual").eval(), split_of(rows())
    found = code_perplexity(model, split)
    numbers = model.posterior(rows()).numbers.unflatten(-1, (2, 2))
    assert found == [pytest.approx(perplexity(numbers[..., stage], 3), abs=1e-4) for stage in (0, 1)]
    assert evaluate(model, split).code_perplexity == found
    gaussian = VAE(GaussianPrior(2), Bernoulli(MLP(2, [], 5)), GaussianPosterior(MLP(5, [], 4))).double()
    assert code_perplexity(gaussian, split) is None


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    words = ["fit", "digits", "--posterior", "quantized", "--set", "posterior.codes=16", "--steps", "150"]
    assert command([*words, "-o", str(folder), "--quiet"]) == 0
    return vael.load(folder)


def test_the_command_line_makes_all_sizes_agree_and_z_is_worth_its_bits(fitted, capsys):
    recipe = fitted.recipe
    assert recipe["prior"] == {"kind": "codes", "positions": 8, "codes": 16}
    assert recipe["posterior"]["positions"] == 8
    found = fitted.evaluate()
    assert found.evidence.bound == "lower"
    assert found.evidence.value == pytest.approx(found.elbo.value)
    assert found.code_perplexity[0] > 3
    assert command(["evaluate", str(fitted.folder.path)]) == 0
    assert "codes in use  perplexity" in capsys.readouterr().out


def test_it_can_be_drawn_from_encoded_and_reported(fitted, tmp_path):
    (pictures,) = fitted.sample(5, seed=1).values()
    assert pictures.shape == (5, 1, 8, 8)
    assert fitted.encode(split="test").shape[1] == 16
    assert fitted.report(tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("arguments", "latent", "codes"),
    [
        ({"posterior": "finite-scalar", "latent": 8}, 8, 1000),
        ({"posterior": "finite_scalar", "settings": {"posterior.levels": [4, 4], "prior.hidden": []}}, 16, 16),
        ({"posterior": "quantized", "prior": "codes", "settings": {"prior.codes": 8, "posterior.positions": 5}}, 10, 8),
        ({"posterior": "quantized", "latent": 12, "settings": {"posterior.stages": 3, "posterior.codes": 8}}, 12, 8),
    ],
    ids=str,
)
def test_sizes_follow_from_what_is_said(arguments, latent, codes):
    model = planned("digits", steps=2, **arguments).model
    assert (model.latent, model.prior.codes, model.posterior.codes) == (latent, codes, codes)


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: QuantizedPosterior(positions=0), "positions must be a whole number of at least 1, got 0"),
        (lambda: QuantizedPosterior(positions=1, codes=1), "codes must be a whole number of at least 2, got 1"),
        (lambda: QuantizedPosterior(positions=1, commitment=-1.0), "commitment must be at least 0, got -1.0"),
        (lambda: QuantizedPosterior(positions=1, decay=1.0), "decay must be at least 0 and below 1, got 1.0"),
        (lambda: QuantizedPosterior(positions=1, revival=1.0), "revival must be at least 0 and below 1, got 1.0"),
        (
            lambda: FiniteScalarPosterior(positions=1, levels=[1]),
            r"levels must be whole numbers of at least 2, got \[1",
        ),
        (lambda: CodesPrior(2, codes=1), "codes must be a whole number of at least 2, got 1"),
        (lambda: CodesPrior(2)(), "is a law of a posterior's codes, and belongs to no model yet"),
        (
            lambda: VAE(CodesPrior(1, 4, 2), Bernoulli(MLP(2, [], 5)), GaussianPosterior(MLP(5, [], 4))),
            "GaussianPosterior has none.\n  Use posterior quantized or finite_scalar",
        ),
        (
            lambda: VAE(
                CodesPrior(1, 4, 2), Bernoulli(MLP(2, [], 5)), QuantizedPosterior(positions=1, codes=5, size=2)
            ),
            r"positions, codes, size, stages are \[1, 4, 2, 1\], those of QuantizedPosterior \[1, 5, 2, 1\]",
        ),
        (
            lambda: VAE(GaussianPrior(2), Bernoulli(MLP(2, [], 5)), QuantizedPosterior(positions=1, size=2)),
            "the prior is a law of StandardGaussian, the posterior one of Codes",
        ),
    ],
)
def test_codes_that_do_not_fit_are_refused(make, told):
    with pytest.raises(RecipeError, match=told):
        make()


@pytest.mark.parametrize("objective", [STL(2), Score(2)])
def test_objectives_that_need_a_density_or_a_score_are_refused(objective):
    with pytest.raises(RecipeError, match="is certain of one code, and lets the gradient straight through"):
        Engine(made("quantized").float(), objective, split_of(rows().float()), Training(steps=2), seed=0)


def test_a_plan_moves_no_code():
    """Asking the objective about two rows, before the first step, leaves the means as they were."""
    posterior = planned("digits", posterior="quantized", steps=2).model.posterior
    assert torch.equal(posterior.uses, torch.ones_like(posterior.uses))
    assert torch.equal(posterior.sums, posterior.codebook)


def test_a_z_that_codes_do_not_divide_is_refused():
    with pytest.raises(RecipeError, match="z of 15 numbers cannot be shared out among positions of 2 numbers each"):
        planned("digits", posterior="quantized", latent=15)


def test_codes_that_a_whole_batch_moves_are_not_for_several_processes():
    with pytest.raises(RecipeError, match="QuantizedPosterior takes a mean over the batch"):
        check_dealt(ELBO(), made("quantized"), Training(steps=2, batch=4), 12, Ranks(0, 2))


def test_every_coded_posterior_is_under_these_laws():
    public = {getattr(vael.posteriors, name) for name in vael.posteriors.__all__}
    assert {m for m in public if issubclass(m, CodedPosterior)} == {member for member, *_ in MEMBERS.values()}
