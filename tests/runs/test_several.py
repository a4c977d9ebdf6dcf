"""Several fits of one recipe, side by side."""

import copy
import json

import numpy as np
import pytest
import torch

import vael
from vael.cli.app import run as command
from vael.errors import RecipeError, TrainingError
from vael.likelihoods import Gaussian
from vael.networks import MLP
from vael.posteriors import GaussianPosterior
from vael.priors import GaussianPrior
from vael.runs import several
from vael.runs.several import fit_seeds, spread

QUICK = {"steps": 30, "latent": 2, "evaluate_every": 10, "settings": {"likelihood.scale": "per_feature"}}


def rows(count: int = 120) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 3)).cumsum(1)


def test_each_seed_is_the_fit_of_that_seed(tmp_path):
    """Side by side sums are taken in another order: within 1e-4 of the run alone, in float32 over 30 steps."""
    together = fit_seeds(rows(), seeds=3, seed=4, output=tmp_path / "all", **QUICK)
    assert [run.recipe["seed"] for run in together] == [4, 5, 6]
    for run in together:
        alone = vael.fit(rows(), seed=run.recipe["seed"], output=tmp_path / f"alone-{run.recipe['seed']}", **QUICK)
        assert alone.recipe == run.recipe
        for name, value in alone.model.state_dict().items():
            np.testing.assert_allclose(run.model.state_dict()[name], value, atol=1e-4)
        lines = [[line["validation"]["elbo"] for line in one.history] for one in (alone, run)]
        np.testing.assert_allclose(*lines, atol=1e-3)
    found = spread(together)
    best = [max(line["validation"]["elbo"] for line in run.history) for run in together]
    assert found.elbos == best
    assert found.elbo.value == pytest.approx(np.mean(best))
    assert found.standard_deviation == pytest.approx(np.std(best, ddof=1))


def test_their_weights_are_their_own_afterwards(tmp_path):
    for run in fit_seeds(rows(), seeds=2, output=tmp_path / "all", **QUICK):
        for parameter in run.model.parameters():
            assert parameter.untyped_storage().nbytes() == parameter.numel() * 4


def test_seeds_that_stand_there_are_taken_up(tmp_path):
    finished = []

    def watch(event):
        if event["event"] == "finished":
            finished.append(event["run"])

    first = fit_seeds(rows(), seeds=2, output=tmp_path / "all", **QUICK)
    again = fit_seeds(rows(), seeds=3, output=tmp_path / "all", watch=watch, **QUICK)
    assert finished == ["seed-2"]
    assert [run.history for run in again[:2]] == [run.history for run in first]


def test_one_that_breaks_leaves_the_others_whole(tmp_path, monkeypatch):
    plain = several.member_of

    def breaking(plan, folder, watch, **options):
        member = plain(plan, folder, watch, **options)
        if plan.recipe["seed"] == 1:
            member.engine.model.likelihood.network.head.bias.data[0] = np.nan
        return member

    monkeypatch.setattr(several, "member_of", breaking)
    with pytest.raises(TrainingError, match="not finite"):
        fit_seeds(rows(), seeds=3, output=tmp_path / "all", on_nan="stop", **QUICK)
    assert [vael.runs.RunFolder(tmp_path / "all" / f"seed-{seed}").state for seed in range(3)] == [
        "finished", "failed", "finished"
    ]  # fmt: skip


def test_a_single_seed_is_refused_in_words(tmp_path):
    with pytest.raises(RecipeError, match="seeds must be a whole number of at least 2, got 1"):
        fit_seeds(rows(), seeds=1, output=tmp_path / "all", **QUICK)


def test_the_command_tells_the_spread(tmp_path, capsys):
    np.save(tmp_path / "rows.npy", rows())
    asked = ["fit", str(tmp_path / "rows.npy"), "--seeds", "2", "--steps", "20", "-o", str(tmp_path / "all")]
    assert command([*asked, "--quiet", "--json"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("−ELBO ")
    assert "mean of 2 seeds; standard deviation of one" in lines[-1]
    found = json.loads(last)
    assert found["runs"] == [str(tmp_path / "all" / f"seed-{seed}") for seed in range(2)]
    assert found["elbo"]["value"] == pytest.approx(np.mean(found["elbos"]))


def test_a_model_by_hand_is_copied_for_each(tmp_path):
    model = vael.VAE(GaussianPrior(2), Gaussian(MLP(2, [8], 3), scale=0.5), GaussianPosterior(MLP(3, [8], 4)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    quick = {"steps": 20, "evaluate_every": 10}
    for run in fit_seeds(rows(), seeds=2, output=tmp_path / "all", model=model, **quick):
        seed = run.recipe["seed"]
        copied = copy.deepcopy(model)
        alone = vael.fit(rows(), seed=seed, output=tmp_path / f"alone-{seed}", model=copied, **quick)
        for name, value in run.folder.weights().items():
            assert torch.equal(run.model.state_dict()[name], value)
            np.testing.assert_allclose(alone.model.state_dict()[name], value, atol=1e-4)  # float32, other sums
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_command_does_not_resume_one_run_in_place_of_several(tmp_path, capsys):
    assert command(["fit", "--resume", "--seeds", "2", "-o", str(tmp_path / "all")]) == 1
    assert "leave out --seeds" in capsys.readouterr().err
