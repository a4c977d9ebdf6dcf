"""Which class an example is of: against Bayes' rule by quadrature, and through fit."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm
from torch.testing import assert_close
from worlds import split_of

import vael
from vael import VAE, DataError, RecipeError
from vael.applications import classify
from vael.data import Schema
from vael.likelihoods import Gaussian
from vael.networks import MLP
from vael.posteriors import CategoricalPosterior, ChainPosterior, GaussianPosterior
from vael.priors import CategoricalPrior, ChainPrior, GaussianPrior

F64 = torch.float64


def m2() -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        guess = CategoricalPosterior(MLP(2, [4], 3, activation="tanh"), classes=3, enumerates=True)
        code = GaussianPosterior(MLP(2, [4], 2, activation="tanh", given=3))
        prior = ChainPrior([CategoricalPrior(3, learned=True), GaussianPrior(1)])
        torch.nn.init.normal_(prior.levels[0].logits)
        model = VAE(prior, Gaussian(MLP(4, [5], 2, activation="tanh"), scale=0.6), ChainPosterior([guess, code]))
        return model.double()


def rows() -> torch.Tensor:
    return torch.randn(5, 2, dtype=F64, generator=torch.Generator().manual_seed(1))


def log_joint(model: VAE, x: torch.Tensor) -> np.ndarray:
    """log p(x, y) `(B, C)` by Gauss–Hermite quadrature over z."""
    at, weight = np.polynomial.hermite_e.hermegauss(100)
    log_weight, found = np.log(weight / weight.sum()), []
    log_prior = model.prior.levels[0].logits.detach().log_softmax(-1)[0].numpy()
    for y in range(3):
        z = torch.cat([torch.eye(3, dtype=F64)[y].expand(100, -1), torch.from_numpy(at)[:, None]], -1)
        mean = model.likelihood.network(z).detach().numpy()
        log_px = norm(mean[:, None], 0.6).logpdf(x.numpy()).sum(-1)
        found.append(np.logaddexp.reduce(log_px + log_weight[:, None], 0) + log_prior[y])
    return np.stack(found, 1)


def test_with_draws_the_chances_are_those_of_bayes_rule():
    """20,000 draws of each class: weights of a spread about 1 leave an error below 0.01, four times over."""
    model, x = m2(), rows()
    joint = log_joint(model, x)
    truth = torch.from_numpy(np.exp(joint - np.logaddexp.reduce(joint, 1)[:, None]))
    found = classify(model, Schema(()), split_of(x), draws=20_000)
    assert_close(found, truth, atol=0.04, rtol=0)
    assert (truth.max(1).values < 0.999).any()
    loose = classify(model, Schema(()), split_of(x), draws=0)
    assert (loose - truth).abs().max() > 0.1  # which the classifier of this untrained model does not know


def test_without_draws_they_are_what_the_classifier_says():
    model, x = m2(), rows()
    truth = model.posterior.levels[0].network(x).softmax(-1).detach()
    assert_close(classify(model, Schema(()), split_of(x)), truth)


def test_a_model_of_no_class_is_refused():
    model = VAE(GaussianPrior(1), Gaussian(MLP(1, [], 2)), GaussianPosterior(MLP(2, [], 2)))
    with pytest.raises(RecipeError, match="needs a model of classes; this one is conditioned on nothing"):
        classify(model, Schema(()), split_of(rows()), draws=5)
    with pytest.raises(RecipeError, match="draws must be at least 1, got 0"):
        classify(model, Schema(()), split_of(rows()))


# ── through fit ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 900)
    centre = np.array([[-4.0, 0.0], [0.0, 4.0], [4.0, 0.0]])[kind]
    x = centre + rng.normal(size=(900, 2))
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "kind": np.array(["red", "green", "blue"])[kind]})


def test_a_few_labels_and_many_rows_make_a_classifier(table, tmp_path):
    run = vael.fit(
        table, label=["kind"], learn_label=True, labels=12, latent=2, steps=400, output=tmp_path / "run", seed=1
    )
    known = run.data.split("train").label
    assert [int((known == code).sum()) for code in range(3)] == [4, 4, 4]
    assert int((known < 0).sum()) == len(known) - 12
    assert (run.data.split("test").label >= 0).all()
    for draws in (0, 200):
        columns, accuracy = run.classify(draws=draws)
        assert set(columns) == {"kind", "p_red", "p_green", "p_blue"}
        assert accuracy.value > 0.93  # the three clouds overlap by 0.5 %
        chances = np.stack([columns[f"p_{name}"] for name in ("red", "green", "blue")], 1)
        assert np.allclose(chances.sum(1), 1)
    made = run.sample(500, given={"kind": "green"}, seed=2)
    assert abs(made["b"].mean() - 4) < 0.5
    assert abs(made["a"].mean()) < 0.5
    with pytest.raises(DataError, match="'mauve' is not one of its 3 values"):
        run.sample(1, given={"kind": "mauve"})
    again = vael.load(str(run.folder))
    assert np.array_equal(again.classify(table)[0]["p_red"], run.classify(table)[0]["p_red"])
    assert again.evaluate(table, draws=20).evidence is not None
    run.report()
    run.doctor(draws=20, examples=40)


def test_a_model_of_x_given_the_class_classifies_by_bayes_rule(table, tmp_path):
    run = vael.fit(table, given=["kind"], latent=2, steps=400, output=tmp_path / "run", seed=1)
    columns, accuracy = run.classify(draws=50)
    assert accuracy.value > 0.93
    assert set(columns) == {"kind", "p_red", "p_green", "p_blue"}


def test_a_class_that_is_missing_is_judged_neither_right_nor_wrong(table, tmp_path):
    holes = table["kind"].astype(object)
    holes[::3] = None
    run = vael.fit(table.assign(kind=holes), given=["kind"], latent=2, steps=400, output=tmp_path / "run", seed=1)
    _, accuracy = run.classify(draws=20)
    known = run.data.split("test").told()[:, :3].sum(-1) > 0
    assert 0.5 < known.double().mean() < 0.8
    rate = accuracy.value
    assert rate > 0.93  # a third of the rows counted as blue would leave 0.75
    assert accuracy.standard_error == pytest.approx((rate * (1 - rate) / (known.sum() - 1)) ** 0.5)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"learn_label": True}, RecipeError, "needs a label with classes; there is no label"),
        ({"label": ["a"], "learn_label": True, "kinds": {"a": "real"}}, RecipeError, "the label 'a' is real"),
        ({"label": ["kind"], "labels": 100_000}, DataError, "asks for .* rows of each class"),
        ({"label": ["kind"], "labels": 2}, DataError, "labels=2 leaves a class of 3 without a row"),
        ({"labels": 3}, DataError, "there is no column of classes"),
        ({"labels": 0, "label": ["kind"]}, RecipeError, "labels 0: expected how many"),
        (
            {"label": ["kind"], "learn_label": True, "prior": "gaussian"},
            RecipeError,
            "learn_label has a prior and a posterior of its own",
        ),
    ],
)
def test_what_cannot_be_learned_is_refused_before_training(table, tmp_path, options, error, told):
    with pytest.raises(error, match=told):
        vael.fit(table, output=tmp_path / "run", steps=2, **options)
    assert not (tmp_path / "run").exists()
