"""A collapsed model made in three ways gets the right cause each time; a healthy one gets a clean bill."""

import dataclasses
import shlex

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn
from torch.distributions import Bernoulli as BernoulliLaw

import vael
from vael import VAE, RecipeError
from vael.cli.app import app
from vael.diagnostics import Case, Symptoms, diagnose
from vael.likelihoods import Likelihood
from vael.networks import MLP
from vael.numbers import Number
from vael.posteriors import GaussianPosterior
from vael.priors import GaussianPrior
from vael.runs.doctor import fit_command

STEPS = {"steps": 500, "learning_rate": 3e-3, "evaluate_every": 50}


def names(found):
    return [finding.name for finding in found.findings]


def table(examples: int = 3000, latent: int = 3, observed: int = 8, seed: int = 0):
    """Rows of a linear-Gaussian world whose features all have a variance of 3 and a noise of 0.4 in it."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(latent, observed))
    weight *= np.sqrt((3 - 0.16) / np.square(weight).sum(0))
    return rng.normal(size=(examples, latent)) @ weight + 0.4 * rng.normal(size=(examples, observed))


class Chain(Likelihood):
    """Zeros and ones of which each sees those before it: log-odds_f = network(z)_f + Σ_{g<f} A_fg (2 x_g − 1).

    As decoders of text and PixelCNNs do, it conditions a feature on x itself.
    """

    view = "binary"

    def __init__(self, network: nn.Module, event_shape: int) -> None:
        super().__init__(network, event_shape)
        self.ahead = nn.Parameter(torch.diag(torch.full((event_shape - 1,), 2.0), -1))  # it can do without z

    def log_prob_parts(
        self, x: Tensor, z: Tensor, given: Tensor | None = None, observed: Tensor | None = None
    ) -> Tensor:
        self.check(x)
        logits = self.parameters_of(z).squeeze(-2) + (2 * x - 1) @ self.ahead.tril(-1).T
        return BernoulliLaw(logits=logits, validate_args=False).log_prob(x)

    def distribution(self, parameters: Tensor) -> BernoulliLaw:
        return BernoulliLaw(logits=parameters.squeeze(-2), validate_args=False)

    def draw(self, law: BernoulliLaw, generator: Generator | None) -> Tensor:
        x = torch.zeros_like(law.logits)
        for f in range(x.shape[-1]):
            pushed = law.logits[..., f] + (2 * x[..., :f] - 1) @ self.ahead[f, :f]
            x[..., f] = torch.bernoulli(torch.sigmoid(pushed), generator=generator)
        return x


def bits(examples: int = 3000, features: int = 12, seed: int = 0):
    """A Markov chain: each bit is that before it, but for one in ten."""
    rng = np.random.default_rng(seed)
    flips = rng.random((examples, features)) < 0.1
    flips[:, 0] = rng.random(examples) < 0.5
    return (flips.cumsum(1) % 2).astype(np.float32)


@pytest.fixture
def fit(tmp_path):
    made = iter(range(100))
    return lambda data, **options: vael.fit(data, output=tmp_path / str(next(made)), **{**STEPS, **options})


# ── the three causes, and none ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    # A learned σ² lies among the noise's own eigenvalues, some of which exceed it by chance; this one is a third wider.
    settings = {"likelihood.scale": 0.31}
    return vael.fit(table(), output=tmp_path_factory.mktemp("healthy") / "run", latent=4, settings=settings, **STEPS)


def test_a_healthy_model_gets_a_clean_bill_and_the_number_of_units_that_the_theory_says(healthy):
    found = healthy.doctor()
    assert names(found) == []
    assert found.healthy
    assert found.numbers["active_units"] == found.numbers["predicted_active_units"] == 3
    assert found.numbers["use_of_z"]["value"] > 5
    assert any("1 of 4 latents are inactive: they were not needed" in note for note in found.notes)


def test_noise_that_is_too_wide_is_named_as_the_cause(fit):
    run = fit(table(), latent=4, settings={"likelihood.scale": 5.0})
    found = run.doctor()
    assert run.evaluate(draws=1, max_examples=1).active_units == 0
    assert names(found) == ["noise_too_wide"]
    assert found.numbers["predicted_active_units"] == 0
    assert "likelihood.scale=shared" in found.findings[0].remedy[0]
    assert "posterior collapse" in found.findings[0].what


def test_beta_is_named_as_the_cause(fit):
    run = fit(table(), latent=4, objective="beta", settings={"objective.beta": 8.0, "likelihood.scale": "shared"})
    found = run.doctor()
    assert run.evaluate(draws=1, max_examples=1).active_units == 0
    assert names(found) == ["beta_too_high"]
    assert found.numbers["predicted_active_units"] == 0
    assert "0 of 4 active units at β 8" in found.findings[0].evidence[0]
    assert "--objective elbo" in found.findings[0].remedy[0]


def test_a_decoder_that_needs_no_z_is_named_as_the_cause(fit):
    likelihood = Chain(MLP(2, [16], 12), 12)
    model = VAE(GaussianPrior(2), likelihood, GaussianPosterior(MLP(12, [32], 4)))
    run = fit(bits(), model=model)
    found = run.doctor()
    assert found.numbers["use_of_z"]["value"] < 0.05
    assert found.numbers["use_of_x"]["value"] > 3  # eleven links, each worth log 2 − H(0.1) = 0.37 nats and more broken
    assert names(found) == ["decoder_needs_no_z"]
    assert "free_bits" in found.findings[0].remedy[0]


def test_the_same_data_under_independent_features_use_z(fit):
    run = fit(bits(), latent=4, likelihood="bernoulli")
    found = run.doctor()
    assert "decoder_needs_no_z" not in names(found)
    assert found.numbers["use_of_z"]["value"] > 1
    assert abs(found.numbers["use_of_x"]["value"]) < 4 * found.numbers["use_of_x"]["standard_error"]


def test_features_that_have_nothing_in_common_leave_the_cause_open(fit):
    noise = np.random.default_rng(0).normal(size=(2000, 5))
    # Begun at their linear model they would keep what correlations 1400 rows have by chance.
    by_hand = {"likelihood.network.skip": False, "posterior.network.skip": False}
    found = fit(noise, latent=2, settings={"likelihood.scale": "shared", **by_hand}).doctor()
    assert names(found) == ["z_not_found"]


def test_sixty_rows_learned_by_heart_are_told_from_rows_not_seen(fit):
    """No validation rows, so that nothing stops training before it has learned the noise."""
    split = {"validation": 0.0, "test": 0.5}
    found = fit(table(120), latent=8, settings={"likelihood.scale": "shared"}, split=split).doctor()
    assert "overfitting" in names(found)
    assert found.numbers["held_out"]["model"]["value"] > 5


# ── rules on literal symptoms ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def well(healthy) -> tuple[Symptoms, Case]:
    """The symptoms of a healthy model, one of which each test below spoils."""
    from vael.diagnostics import examine
    from vael.runs.doctor import case_of, scoring

    split, training = healthy.split_of(None), healthy.data.split("train")
    case = case_of(healthy.recipe, healthy.history)
    return examine(healthy.model, split, training, case, score=scoring(healthy.model, 200, 0), draws=200), case


def spoiled(well, **changes):
    s, case = well
    return names(diagnose(dataclasses.replace(s, **changes), case))


def test_unspoiled_symptoms_are_no_illness(well):
    assert spoiled(well) == []


def test_each_complaint_is_told_by_its_own_symptom(well):
    s, _ = well
    course, fit = s.course, s.fit
    changed = {
        "warm_up_unfinished": {"course": dataclasses.replace(course, warm_up=course.step + 1)},
        "still_improving": {"course": dataclasses.replace(course, best_last=True, late_gain=2.0, whole_gain=20.0)},
        "rewound": {"course": dataclasses.replace(course, rewinds=2, slowdown=0.25, broken="rate[0]")},
        "overfitting": {"fit": dataclasses.replace(fit, model=Number(9.0, 0.5))},
        "encoder_overfitting": {"fit": dataclasses.replace(fit, encoder=Number(9.0, 0.5))},
        "loose_evidence": {"effective": (3.0, 200)},
        "far_from_prior": {"marginal": 20.0},
        "overconfident_encoder": {"calibration": dataclasses.replace(s.calibration, most=s.calibration.most * 0.6)},
    }
    for name, change in changed.items():
        assert spoiled(well, **change) == [name]


def test_a_difference_within_its_error_is_no_illness(well):
    s, _ = well
    assert spoiled(well, fit=dataclasses.replace(s.fit, model=Number(9.0, 5.0))) == []


def test_a_wrong_z_that_costs_a_few_examples_very_much_is_no_collapse(well):
    s, _ = well
    assert spoiled(well, use=dataclasses.replace(s.use, of_z=Number(176.0, 74.0))) == []
    assert spoiled(well, use=dataclasses.replace(s.use, of_z=Number(0.01, 0.1))) == ["z_not_found"]
    assert spoiled(well, active=0) == ["z_not_found"]


def test_a_decoder_that_hardly_uses_z_beside_what_it_knows_is_told(well):
    s, _ = well
    assert spoiled(well, use=dataclasses.replace(s.use, of_z=Number(1.0, 0.1), of_x=Number(90.0, 1.0))) == [
        "decoder_needs_no_z"
    ]
    assert spoiled(well, use=dataclasses.replace(s.use, of_z=Number(9.0, 0.1), of_x=Number(90.0, 1.0))) == []


def test_partly_switched_off_units_are_laid_at_the_door_of_beta(well):
    s, case = well
    beta = dataclasses.replace(case, objective={"kind": "beta", "beta": 4.0})
    full, left = s.noise.predicted(), s.noise.predicted(1e9)
    assert (full, left) == (3, 0)
    heavy = dataclasses.replace(beta, objective={"kind": "beta", "beta": float(s.noise.eigenvalues[1]) * 1.01})
    assert names(diagnose(dataclasses.replace(s, active=1), heavy)) == ["beta_too_high"]
    assert names(diagnose(s, dataclasses.replace(case, objective={"kind": "beta", "beta": 1.01}))) == []


def test_every_command_that_is_recommended_is_one(well):
    """All rules at once; what stands after the first word of each remedy goes through the command line's own parser."""
    s, case = well
    sick = dataclasses.replace(
        s,
        active=0,
        use=dataclasses.replace(s.use, of_x=Number(5.0, 0.1)),
        fit=dataclasses.replace(s.fit, model=Number(9.0, 0.5), encoder=Number(9.0, 0.5)),
        effective=(1.5, 200),
        marginal=20.0,
        noise=dataclasses.replace(s.noise, errors=0.01),
        course=dataclasses.replace(
            s.course, warm_up=9000, rewinds=1, slowdown=0.5, best_last=True, late_gain=5.0, whole_gain=9.0
        ),
    )
    beta = dataclasses.replace(case, objective={"kind": "beta", "beta": 1e6}, again="vael fit 'my data.csv' --latent 3")
    held = dataclasses.replace(case, objective={"kind": "capacity", "capacity": 0.0})
    narrow = dataclasses.replace(s, calibration=dataclasses.replace(s.calibration, most=0.1 * s.calibration.most))
    lost = dataclasses.replace(s, active=0)
    diagnoses = [diagnose(sick, beta), diagnose(sick, held), diagnose(narrow, case), diagnose(lost, case)]
    told = {finding.name: finding.remedy[0] for found in diagnoses for finding in found.findings}
    assert len(told) == 13  # every rule of the doctor
    for command in told.values():
        verb, *words = shlex.split(command)[1:]
        app.parse_args([verb, *words], exit_on_error=False, print_error=False)


def test_no_form_of_posterior_is_recommended_that_the_model_has(well):
    s, case = well
    loose = dataclasses.replace(s, effective=(3.0, 200))
    assert "--posterior full_gaussian" in diagnose(loose, case).findings[0].remedy[0]
    for kind in ("full_gaussian", "bernoulli", "categorical", "truncated"):
        full = dataclasses.replace(case, posterior={"kind": kind})
        assert "full_gaussian" not in diagnose(loose, full).findings[0].remedy[0]
        assert diagnose(loose, full).findings[0].remedy[0].endswith("--steps 1500")
    again = f"{case.again} --posterior low_rank_gaussian"
    low = dataclasses.replace(case, posterior={"kind": "low_rank_gaussian"}, again=again)
    assert diagnose(loose, low).findings[0].remedy[0] == f"{case.again} --posterior full_gaussian"


def test_bits_that_a_decoder_does_not_need_are_not_met_with_an_objective_that_refuses_them(well):
    s, case = well
    needless = dataclasses.replace(s, use=dataclasses.replace(s.use, of_z=Number(1.0, 0.1), of_x=Number(90.0, 1.0)))
    assert "free_bits" in str(diagnose(needless, case).findings[0])
    bits = dataclasses.replace(case, objective={"kind": "vimco", "draws": 10})
    found = diagnose(needless, bits).findings[0]
    assert found.name == "decoder_needs_no_z"
    assert "free_bits" not in str(found)
    assert "Free bits" not in found.cost


def test_the_command_to_fit_again_reads_the_same_data(tmp_path):
    about = {"source": "a b.csv", "kinds": {"age": "real"}, "ignore": ["id"], "split": {"test": 0.3, "column": "part"}}
    assert fit_command({"data": about, "prior": {"kind": "gaussian", "latent": 5}}) == (
        "vael fit 'a b.csv' --column age=real --ignore id --split test=0.3 --split part --latent 5"
    )
    assert fit_command({"data": {}, "prior": {"kind": "foreign"}}) == "vael fit DATA"


def test_under_a_conditional_prior_gaps_are_found_and_the_doctor_says_why_it_cannot_look(tmp_path):
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 200)
    table = {"a": 3.0 * kind + rng.normal(size=200), "kind": np.array(["no", "yes"])[kind]}
    run = vael.fit(table, given=["kind"], prior="conditional", latent=1, steps=50, output=tmp_path / "run")
    gaps = run.evaluate(gaps=True, draws=500, max_examples=20).gaps
    parts = gaps["approximation"].value + gaps["amortisation"].value
    assert gaps["inference"].value == pytest.approx(parts, abs=1e-5)
    with pytest.raises(RecipeError, match=r"its prior is p\(z\|given\)"):
        run.doctor()


def test_the_command_says_what_is_given_and_that_a_label_is_learned():
    about = {"source": "t.csv", "given": ["sex"], "part": ["0:2,:"], "label": ["kind"], "labels": 9}
    prior = {"kind": "chain", "levels": [{"kind": "categorical", "classes": 3}, {"kind": "gaussian", "latent": 4}]}
    assert fit_command({"data": about, "prior": prior, "posterior": {"kind": "chain"}}) == (
        "vael fit t.csv --label kind --given sex --given-part 0:2,: --labels 9 --learn-label --latent 4"
    )


def test_the_command_to_fit_again_names_the_laws_that_are_not_the_defaults(tmp_path):
    plain = vael.fit(table(60), output=tmp_path / "plain", latent=2, steps=2)
    assert fit_command(plain.recipe, plain.schema) == "vael fit DATA --latent 2"
    other = vael.fit(
        table(60), output=tmp_path / "other", latent=2, steps=2, likelihood="student_t", posterior="full_gaussian"
    )
    assert fit_command(other.recipe, other.schema) == (
        "vael fit DATA --latent 2 --posterior full_gaussian --likelihood student_t"
    )
    bits = {"prior": {"kind": "bernoulli", "latent": 3}, "posterior": {"kind": "bernoulli", "temperature": 0.5}}
    assert fit_command({"data": {}, **bits}) == (
        "vael fit DATA --latent 3 --prior bernoulli --posterior bernoulli --set posterior.temperature=0.5"
    )


def test_every_finding_says_what_why_with_which_numbers_what_to_change_and_at_what_cost(well):
    s, case = well
    found = diagnose(dataclasses.replace(s, effective=(3.0, 200)), case)
    text = str(found)
    for head in ("verdict", "finding", "why", "evidence", "change", "cost", "rate", "use of z"):
        assert any(line.startswith(head) for line in text.splitlines()), head
    assert "effective sample size 3.0 of 200 draws" in text
    assert max(map(len, text.splitlines())) <= 112
    assert "\nKL(q̄‖p)      total" in text  # a macron takes no column
    assert found.to_json()["findings"][0]["name"] == "loose_evidence"
