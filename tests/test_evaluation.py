"""What evaluate reports: errors that are the spread of repetitions, a subset carried to the whole, honest nulls."""

import json
import math

import pytest
import torch
from torch.testing import assert_close
from worlds import Linear, split_of

from vael import VAE, RecipeError, evaluate
from vael.evaluation import bounds, fixed_noise
from vael.files import dump_json
from vael.likelihoods import Bernoulli, GreyBernoulli
from vael.networks import MLP
from vael.posteriors import GaussianPosterior
from vael.priors import GaussianPrior

WORLD = Linear.random(latent=2, observed=5, seed=3)
WIDE = WORLD.model(torch.zeros(2).double(), torch.ones(2).double())


def grey() -> VAE:
    return VAE(GaussianPrior(2), GreyBernoulli(MLP(2, [4], 5)), GaussianPosterior(MLP(5, [4], 4)))


def test_the_exact_evidence_is_used_where_it_exists_and_says_so():
    x = WORLD.sample(300)
    found = evaluate(WIDE, split_of(x)).evidence
    assert (found.method, found.bound, found.examples) == ("exact", "exact", 300)
    assert found.value == pytest.approx(float(WORLD.log_px(x).mean()), abs=1e-9)
    assert found.standard_error == pytest.approx(float(WORLD.log_px(x).std()) / math.sqrt(300), rel=1e-6)


def test_importance_sampling_lands_within_its_errors_of_the_truth():
    x = WORLD.sample(400)
    found = evaluate(WIDE, split_of(x), method="importance", draws=2000).evidence
    assert abs(found.value - float(WORLD.log_px(x).mean())) < 4 * found.monte_carlo_error
    assert found.monte_carlo_error < 0.05


def test_a_subset_is_carried_to_the_whole_by_the_bound():
    """Forty features vary far more than one draw of two latents, so the bound explains most of log p(x)'s spread."""
    weight = torch.eye(40, 2).double() * torch.tensor([2.0, 1.0])
    world = Linear(weight, torch.zeros(40).double(), 0.3)
    x = world.sample(500)
    whole = evaluate(world.model(), split_of(x), method="importance", draws=50).evidence
    part = evaluate(world.model(), split_of(x), method="importance", draws=50, max_examples=100).evidence
    assert part.examples == 100
    assert abs(part.value - whole.value) < 4 * part.standard_error
    plain = float(world.log_px(x).std()) / 10
    assert part.standard_error < 0.75 * plain


def test_the_standard_error_of_a_subset_is_the_spread_over_repetitions():
    values, errors = [], []
    for seed in range(200):
        x = WORLD.sample(200, seed=1000 + seed)
        found = evaluate(WIDE, split_of(x), method="importance", draws=20, max_examples=40, seed=seed).evidence
        values.append(found.value)
        errors.append(found.standard_error)
    spread = float(torch.tensor(values).std())
    assert spread == pytest.approx(sum(errors) / len(errors), rel=0.2)  # 5 % of the ratio is chance


def test_rate_and_distortion_add_up_to_minus_the_elbo():
    found = evaluate(WIDE, split_of(WORLD.sample(50)))
    assert found.rate.value + found.distortion.value == pytest.approx(-found.elbo.value, abs=1e-9)
    assert sum(found.rate_per_unit) == pytest.approx(found.rate.value, abs=1e-5)


def test_what_is_printed_has_the_sign_that_its_name_says():
    found = evaluate(WIDE, split_of(WORLD.sample(50)))
    printed = {name.strip(): text.split(" ")[0].replace("−", "-") for name, text in found.rows()}
    assert float(printed["−ELBO"]) == pytest.approx(-found.elbo.value, abs=5e-3)
    assert float(printed["rate"]) == pytest.approx(found.rate.value, abs=5e-3)
    assert float(printed["distortion"]) == pytest.approx(found.distortion.value, abs=5e-3)
    assert float(printed["log p(x)"]) == pytest.approx(found.evidence.value, abs=5e-3)


def test_the_log_jacobian_moves_bound_and_evidence_alike():
    import dataclasses

    x = WORLD.sample(50)
    plain = split_of(x)
    scaled = dataclasses.replace(plain, log_jacobian=torch.full((50,), 1.5, dtype=torch.float64))
    for method, draws in (("exact", None), ("importance", 50)):
        a, b = (evaluate(WIDE, split, method=method, draws=draws) for split in (plain, scaled))
        assert b.elbo.value - a.elbo.value == pytest.approx(1.5, abs=1e-9)
        assert b.evidence.value - a.evidence.value == pytest.approx(1.5, abs=1e-9)
        assert b.rate.value == pytest.approx(a.rate.value, abs=1e-12)


def test_bits_per_dim_exist_only_for_discrete_data():
    split = split_of(WORLD.sample(20))
    assert evaluate(WIDE, split).bits_per_dim is None
    found = evaluate(WIDE, split, discrete=True)
    assert found.bits_per_dim == pytest.approx(-found.evidence.value / (5 * math.log(2)))


def test_a_grey_score_has_no_evidence_and_says_why():
    found = evaluate(grey(), split_of(torch.rand(12, 5)), discrete=True)
    assert found.evidence is None
    assert found.bits_per_dim is None
    assert "no density" in found.reasons["evidence"]
    assert "no density" in str(found)


def test_every_number_of_the_json_is_finite_or_null():
    found = evaluate(WIDE, split_of(WORLD.sample(1)), method="importance", draws=3)
    parsed = json.loads(dump_json(found.to_json()))
    assert parsed["elbo"]["standard_error"] is None  # one example has no spread
    assert parsed["evidence"]["draws"] == 3
    assert "NaN" not in dump_json(found.to_json())


def test_a_budget_limits_the_examples_and_the_draws_stay_as_asked():
    x = WORLD.sample(3000)
    found = evaluate(WIDE, split_of(x), method="importance", draws=300, budget=0.02).evidence
    assert found.examples < 3000
    assert found.draws == 300


def test_the_bound_is_measured_with_the_same_noise_for_every_model_and_batch():
    split = split_of(WORLD.sample(30))
    whole = bounds(WIDE, split)
    part = bounds(WIDE, split.rows(torch.tensor([7, 3])))
    assert_close(part.elbo, whole.elbo[[7, 3]], atol=1e-12, rtol=0)
    assert torch.equal(fixed_noise(WIDE, split).latents[0], fixed_noise(WORLD.model(), split).latents[0])


def test_collapse_is_warned_of_and_a_live_unit_is_not():
    dead = evaluate(WIDE, split_of(WORLD.sample(100)))  # q is the prior for every x
    assert dead.active_units == 0
    assert any("posterior collapse" in text for text in dead.warnings)
    alive = evaluate(WORLD.model(), split_of(WORLD.sample(100)))
    assert alive.active_units == 2
    assert alive.warnings == []


def test_unknown_methods_and_no_examples_are_refused():
    split = split_of(WORLD.sample(5))
    with pytest.raises(RecipeError, match=r"unknown method 'anealed'.*Did you mean 'annealed'"):
        evaluate(WIDE, split, method="anealed")
    with pytest.raises(RecipeError, match=r"method annealed: unknown setting 'temps'. It takes: temperatures, chains"):
        evaluate(WIDE, split, method="annealed", settings={"temps": 5})
    with pytest.raises(RecipeError, match="max_examples must be at least 1, got 0"):
        evaluate(WIDE, split, max_examples=0)
    with pytest.raises(RecipeError, match="exact: log p\\(x\\) has a closed form for a linear decoder"):
        evaluate(grey_density(), split_of((torch.rand(4, 5) > 0.5).float()), method="exact")


def grey_density() -> VAE:
    from vael.likelihoods import Bernoulli

    return VAE(GaussianPrior(2), Bernoulli(MLP(2, [4], 5)), GaussianPosterior(MLP(5, [4], 4)))


# ── binarisation and errors ──────────────────────────────────────────────────────────────────────────────────


def grey_split(levels: int = 256, rows: int = 12):
    import dataclasses

    grey = torch.randint(0, levels, (rows, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return dataclasses.replace(split_of(grey), divisor=float(levels - 1), dynamic=True)


def test_evaluation_pixels_are_the_same_for_every_model_seed_and_place():
    """Drawn by row alone: neither the evaluation's seed nor a row's place among others moves a pixel."""
    split, order = grey_split(), torch.tensor([7, 2, 11])
    assert torch.equal(split.settled().x, split.settled().x)
    assert torch.equal(split.rows(order).settled().x, split.settled().x[order])
    model = grey_density()
    with torch.no_grad():
        for parameter in model.posterior.parameters():
            parameter.zero_()  # q is the prior, so −distortion depends on the seed through z only
        model.likelihood.network.head.weight.zero_()  # and now not at all
    first, second = (evaluate(model, split, draws=2, seed=seed) for seed in (0, 1))
    assert first.distortion.value == pytest.approx(second.distortion.value, abs=1e-6)
    assert first.evidence.value == pytest.approx(-first.distortion.value, abs=1e-5)  # the same pixels in both


@pytest.mark.parametrize("levels", [17, 256])
def test_a_threshold_cuts_at_one_half(levels):
    split = grey_split(levels)
    assert torch.equal(split.thresholded().x, (split.x.double() / (levels - 1) > 0.5).to(torch.uint8))
    assert 0 < float(split.thresholded().x.double().mean()) < 1


def test_settled_pixels_have_the_grey_values_as_probabilities():
    import dataclasses

    grey = torch.full((4000, 3), 64, dtype=torch.uint8)
    split = dataclasses.replace(split_of(grey), divisor=255.0, dynamic=True)
    mean = float(split.settled().x.double().mean())
    assert abs(mean - 64 / 255) < 4 * math.sqrt(0.25 * 0.75 / 12_000)


def test_standard_errors_are_the_spread_over_the_root_of_the_examples():
    from vael.numbers import Number

    values = torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64)
    found = Number.of(values)
    assert found.value == 3.0
    assert found.standard_error == pytest.approx(math.sqrt(14 / 3) / 2)


def test_what_cannot_be_had_beside_log_p_costs_its_own_line_alone():
    from vael.posteriors import BernoulliPosterior
    from vael.priors import BernoulliPrior

    model = VAE(BernoulliPrior(3), Bernoulli(MLP(3, [], 5)), BernoulliPosterior(MLP(5, [], 3)))
    found = evaluate(model, split_of((torch.rand(6, 5) > 0.5).float()), gaps=True, sandwiched=2)
    assert found.evidence.method == "exact"
    assert found.gaps is None
    assert found.sandwich is None
    assert "carry no gradient" in found.reasons["gaps"]
    assert "need a density over lengths" in found.reasons["sandwich"]
    assert "gaps" in str(found)


def test_an_error_of_a_grid_is_shown_and_called_by_its_name():
    from vael.evidence import Quadrature

    coarse = evaluate(WIDE, split_of(WORLD.sample(5)), method=Quadrature(nodes=4))
    assert coarse.evidence.bound == "estimate"
    assert "numerical error" in str(coarse)
    assert "; an estimate)" in str(coarse)
    with pytest.raises(RecipeError, match="Quadrature is an estimator with its own arguments; leave out draws"):
        evaluate(WIDE, split_of(WORLD.sample(5)), method=Quadrature(nodes=4), draws=7)
