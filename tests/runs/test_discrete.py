"""Runs with latents of zeros and ones: fitted, kept, loaded, measured, drawn from; refused where they cannot learn."""

import math

import pytest
import torch

import vael
from vael import evaluation
from vael.cli.app import run as command
from vael.data.dataset import Split
from vael.errors import RecipeError
from vael.objectives import STL, VIMCO, DReG, Score
from vael.training import Engine, Training, check_gradient

BERNOULLI = {"prior": "bernoulli", "posterior": "bernoulli"}
CATEGORICAL = {"prior": "categorical", "posterior": "categorical"}

# name: (arguments of vael.fit, numbers in z)
WAYS = {
    "score": ({**BERNOULLI, "objective": "score", "latent": 6}, 6),
    "vimco": ({**BERNOULLI, "objective": "vimco", "latent": 6}, 6),
    "relaxed": ({**BERNOULLI, "latent": 6, "settings": {"posterior.temperature": 0.5}}, 6),
    "straight through": (
        {**BERNOULLI, "latent": 6, "settings": {"posterior.temperature": 0.5, "posterior.straight_through": True}}, 6,
    ),
    "choices": ({**CATEGORICAL, "objective": "vimco", "latent": 9, "settings": {"prior.groups": 3}}, 9),
    "relaxed choices": (
        {**CATEGORICAL, "settings": {"posterior.classes": 4, "prior.groups": 2, "posterior.temperature": 0.5}}, 8,
    ),
}  # fmt: skip
STEPS = 200


@pytest.fixture(scope="module", params=WAYS)
def fitted(request, tmp_path_factory):
    arguments, latent = WAYS[request.param]
    folder = tmp_path_factory.mktemp("runs") / "run"
    return vael.fit("digits", output=folder, steps=STEPS, batch=64, learning_rate=3e-3, **arguments), latent


def by_all_states(run: vael.Run, split: Split) -> torch.Tensor:
    """log p(x) of every row, summed over every state of z with the prior and the decoder alone."""
    model, batch = run.model.eval(), split.batch(torch.arange(len(split)))
    with torch.inference_mode():
        states = model.prior().every().expand(-1, len(split), -1)
        return model.log_joint(batch, states).double().logsumexp(0) + split.log_jacobian


def test_sizes_of_every_network_follow_from_prior_and_posterior(fitted):
    run, latent = fitted
    tables = run.recipe
    assert run.model.latent == latent
    assert tables["likelihood"]["network"]["inputs"] == latent
    network = tables["posterior"]["network"]
    assert network.get("network", network)["outputs"] == latent


def test_what_is_loaded_measures_the_same_and_log_p_agrees_with_the_sum_over_states(fitted):
    run, _ = fitted
    again = vael.load(run.folder.path)
    split = run.data.split("test")
    found, other = (one.evaluate(draws=300, method="importance") for one in (run, again))
    assert other.elbo == found.elbo
    assert other.evidence == found.evidence
    exact = by_all_states(run, split)
    truth = float(exact.mean())
    # A lower bound in expectation; rows of which q misses a state pull the mean down more than the error tells.
    assert -0.3 < found.evidence.value - truth < 4 * found.evidence.monte_carlo_error
    assert found.evidence.monte_carlo_error < 0.1
    assert (evaluation.bounds(run.model, split).elbo.mean() - exact.mean()) < 0


def test_it_has_learned_something_that_z_carries(fitted):
    """Against a model whose z says nothing, which the first validation line is near to, by paired rows."""
    run, _ = fitted
    split = run.data.split("test")
    plain = vael.load(run.folder.path)
    with torch.no_grad():  # the same decoder under draws of the prior: what is left when the encoder is deaf
        for parameter in plain.model.posterior.parameters():
            parameter.zero_()
    gain = evaluation.bounds(run.model, split, draws=8).elbo - evaluation.bounds(plain.model, split, draws=8).elbo
    assert gain.mean() > 4 * gain.std() / math.sqrt(len(gain))
    assert gain.mean() > 1


def test_it_can_be_drawn_from_encoded_and_reported(fitted, tmp_path):
    run, latent = fitted
    (pictures,) = run.sample(5, seed=1).values()
    assert pictures.shape == (5, 1, 8, 8)
    means = run.encode(split="test")
    assert means.shape == (len(run.data.split("test")), latent)
    assert (means >= 0).all()
    assert (means <= 1).all()
    path = run.report(tmp_path / "page.html")
    assert "active" in path.read_text(encoding="utf-8")


def test_all_states_train_a_model_whose_bound_and_evidence_need_no_draws(tmp_path):
    run = vael.fit(
        "digits", output=tmp_path / "run", latent=10, steps=150, learning_rate=3e-3,
        settings={"posterior.enumerates": True, "prior.learned": True}, **CATEGORICAL,
    )  # fmt: skip
    split = run.data.split("test")
    one, other = (evaluation.bounds(run.model, split, draws=draws, seed=draws).elbo for draws in (1, 3))
    assert torch.equal(one, other)
    assert (one < by_all_states(run, split) + 1e-4).all()
    assert run.model.prior.logits.std() > 0.01
    evidence = run.evaluate().evidence
    assert evidence.method == "exact"
    assert evidence.value == pytest.approx(
        float(by_all_states(run, split).mean()), abs=1e-4
    )  # sums in single precision


def test_the_command_line_fits_and_measures_bits(tmp_path, capsys):
    words = ["fit", "digits", "--prior", "bernoulli", "--posterior", "bernoulli", "--objective", "score"]
    code = command([*words, "--draws", "3", "--latent", "5", "--steps", "20", "-o", str(tmp_path / "run"), "--quiet"])
    assert code == 0, capsys.readouterr().err
    assert command(["evaluate", str(tmp_path / "run"), "--draws", "20"]) == 0
    said = capsys.readouterr().out
    assert "of 5" in said.split("active units")[1]
    recipe = vael.load(tmp_path / "run").recipe
    assert recipe["objective"] == {"kind": "score", "draws": 3}
    assert recipe["prior"] == {"kind": "bernoulli", "latent": 5}


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (BERNOULLI, r"ELBO: does not go with BernoulliPosterior, which draws states exactly.*\n  Use score or vimco"),
        ({**BERNOULLI, "objective": "iwae"}, "IWAE: does not go with BernoulliPosterior, which draws states exactly"),
        ({**BERNOULLI, "objective": "stl"}, "STL: does not go with BernoulliPosterior, which draws states exactly"),
        (
            {**BERNOULLI, "objective": "score", "settings": {"posterior.temperature": 1.0}},
            "Score: does not go with BernoulliPosterior, which relaxes its draws",
        ),
        (
            {**BERNOULLI, "objective": "dreg", "settings": {"posterior.temperature": 1.0}},
            "DReG: does not go with BernoulliPosterior, which relaxes its draws",
        ),
        (
            {**BERNOULLI, "objective": "iwae", "latent": 3, "settings": {"posterior.enumerates": True}},
            "IWAE: does not go with BernoulliPosterior, which takes all states",
        ),
        (
            {**BERNOULLI, "objective": "vimco", "latent": 3, "settings": {"posterior.enumerates": True}},
            "VIMCO: does not go with BernoulliPosterior, which takes all states",
        ),
        ({"prior": "bernoulli"}, "the prior is a law of Bits, the posterior one of DiagonalGaussian"),
        (
            {**CATEGORICAL, "latent": 10, "settings": {"prior.groups": 3}},
            "10 numbers cannot be shared out among 3 gr",
        ),
        ({**BERNOULLI, "objective": "vimco", "warm_up": 5}, "VIMCO: has no rate to warm up"),
    ],
    ids=str,
)
def test_what_cannot_learn_is_refused_before_training(arguments, told, tmp_path):
    with pytest.raises(RecipeError, match=told):
        vael.fit("iris", output=tmp_path / "run", steps=3, **arguments)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("objective", [STL(2), DReG(2), Score(2), VIMCO(2)])
def test_every_estimator_goes_with_smooth_draws(objective, tmp_path):
    run = vael.fit("iris", output=tmp_path / "run", objective=objective, latent=2, steps=40, evaluate_every=20)
    check_gradient(objective, run.model.posterior)
    assert all(math.isfinite(line["train"]["objective"]) for line in run.history if "train" in line)
    assert run.evaluate(draws=20).elbo.value > -20


def test_an_engine_built_by_hand_refuses_too(tmp_path):
    run = vael.fit("iris", output=tmp_path / "run", objective="score", latent=3, steps=2, **BERNOULLI)
    with pytest.raises(RecipeError, match="ELBO: does not go with BernoulliPosterior"):
        Engine(run.model, vael.ELBO(), run.data.split("train"), Training(steps=2), seed=0)
