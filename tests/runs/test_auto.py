"""`--likelihood auto`: the law that made the data wins, and what is compared is comparable."""

import numpy as np
import pytest
import torch

import vael
from vael import defaults
from vael.data.infer import infer
from vael.data.sources import read
from vael.errors import RecipeError
from vael.names import kind_of
from vael.runs import auto


@pytest.fixture
def quick(monkeypatch):
    """Trials of a couple of hundred steps: the laws below differ by far more than these leave open."""
    monkeypatch.setattr(auto, "STEPS", 200)


def tried(table) -> tuple[dict[str, str], dict[str, float]]:
    """The law chosen for each column, and how many of its standard errors each other law gained."""
    frame = read(table)
    events: list[dict] = []
    chosen = auto.choose(
        auto.Trials(frame, infer(frame), latent=2, fractions={"validation": 0.4}, seed=0), events.append
    )
    gains = {event["law"]: event["gain"] / event["error"] for event in events}
    return {name: kind_of(law) for name, law in chosen.items()}, gains


def test_heavy_tails_are_found(quick):
    """Against the default: tails of exponent 3.1 cost a Gaussian far more than a Laplace or Student-t law."""
    rng = np.random.default_rng(0)
    laws, gains = tried({"a": rng.standard_t(2.1, 3000), "b": rng.standard_t(2.1, 3000)})
    assert set(laws.values()) <= {"student_t", "laplace"}
    assert gains["laplace"] > 2


def test_a_fit_keeps_what_auto_chose_and_says_what_it_compared(quick, tmp_path):
    rng = np.random.default_rng(1)
    events: list[dict[str, object]] = []
    table = {"a": rng.standard_t(2.1, 600), "k": rng.choice(["x", "y", "z"], 600)}
    run = vael.fit(table, likelihood="auto", steps=20, output=tmp_path / "run", watch=events.append)
    trials = [event for event in events if event["event"] == "trial"]
    assert {trial["law"] for trial in trials} == {"student_t", "laplace"}  # names have one law, and no trial
    kinds = {part["kind"] for part in run.recipe["likelihood"]["parts"]}
    better = [trial["law"] for trial in trials if trial["gain"] > 0]  # each is tried against the best before it
    assert kinds == {"categorical", better[-1] if better else "gaussian"}


def test_every_candidate_scores_a_column_by_the_same_measure():
    rng = np.random.default_rng(2)
    frame = read(
        {
            "cents": np.round(np.exp(rng.normal(2, 1, 300)), 2),
            "share": np.round(rng.random(300), 2),
            "real": rng.normal(size=300),
            "spiked": np.where(rng.random(300) < 0.4, 0.0, rng.normal(size=300)),
            "count": rng.negative_binomial(1, 0.05, 300),
        }
    )
    for field in infer(frame).modelled:
        measures = set()
        for law in defaults.candidates(field):
            schema = defaults.with_views(infer(frame), {**defaults.choose(infer(frame)), field.name: law}, None)
            own = [schema[field.name]]
            (scored,) = law(None, event_shape=1, **law.arguments(own)).scored(own)
            measures.add((scored.discrete, scored.spike if not scored.discrete else None))
        assert len(measures) == 1, field.name


def test_without_validation_rows_there_is_nothing_to_choose_by():
    frame = read({"a": np.random.default_rng(3).normal(size=9)})
    trials = auto.Trials(frame, infer(frame), latent=2, fractions={}, seed=0)
    with pytest.raises(RecipeError, match="no validation rows to compare laws on, of 9"):
        auto.choose(trials, lambda event: None)


def test_every_law_that_fits_a_whole_kind_is_tried_where_its_fields_differ_in_their_defaults(monkeypatch):
    rng = np.random.default_rng(4)
    touches, inside = rng.random(300), 0.01 + 0.98 * rng.random(300)
    touches[:2] = 0.0, 1.0  # off a grid, so that beta is no law of it and a Gaussian its default
    monkeypatch.setattr(auto.Trials, "bound", lambda self, chosen: torch.zeros(30))
    for table in ({"a": touches, "b": inside}, {"a": inside, "b": touches}):
        events: list[dict] = []
        frame = read(table)
        auto.choose(auto.Trials(frame, infer(frame), latent=2, fractions={}, seed=0), events.append)
        assert {event["law"] for event in events} == {"gaussian", "continuous_bernoulli"}
        assert {event["against"] for event in events} <= {"gaussian and beta", "beta and gaussian"}


def test_a_trial_that_diverges_loses_to_any_that_does_not(monkeypatch):
    """The default's bound is not finite: the first law with a finite one is taken, and never given up for another."""
    bounds = {"gaussian": float("nan"), "student_t": -3.0, "laplace": float("nan")}
    monkeypatch.setattr(
        auto.Trials, "bound", lambda self, chosen: torch.full((5,), bounds[kind_of(chosen["a"])], dtype=torch.float64)
    )
    frame = read({"a": np.random.default_rng(0).normal(size=50)})
    chosen = auto.choose(auto.Trials(frame, infer(frame), latent=1, fractions={}, seed=0), lambda event: None)
    assert kind_of(chosen["a"]) == "student_t"
