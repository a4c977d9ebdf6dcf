"""A run with another prior: a run like any other, that says where it came from."""

import json
import shutil

import numpy as np
import pytest
import torch

import vael
from vael.cli.app import run as command
from vael.distributions.distances import energy
from vael.errors import RecipeError, WriteError
from vael.evaluation import bounds
from vael.priors import MixturePrior
from vael.runs import refit

SMALL = {"likelihood.network.hidden": [16], "posterior.network.hidden": [16]}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refit") / "run"
    return vael.fit("iris", output=folder, latent=2, steps=300, settings=SMALL)


def test_a_refitted_run_is_opened_evaluated_and_drawn_from_like_any_other(fitted, tmp_path):
    made = refit(fitted, "mixture", settings={"components": 3}, steps=100, output=tmp_path / "new")
    again = vael.load(tmp_path / "new")
    assert again.recipe["prior"] == {"kind": "mixture", "latent": 2, "components": 3}
    assert again.recipe["refit"]["run"] == str(fitted.folder)
    assert again.folder.state == "finished"
    for name in ("likelihood", "posterior", "data", "objective", "training"):
        assert again.recipe[name] == fitted.recipe[name]
    train = fitted.data.split("train")
    before, after = (float(bounds(one.model, train, draws=50).elbo.mean()) for one in (fitted, again))
    assert after > before
    found = again.evaluate(draws=200)
    assert found.elbo.value <= found.evidence.value + 4 * found.evidence.standard_error
    one, other = made.sample(5), again.sample(5)
    assert all(np.array_equal(one[name], other[name]) for name in one)
    again.report()
    again.doctor()
    (line,) = again.history
    assert line["log_pz_after"] > line["log_pz_before"]
    with pytest.raises(RecipeError, match="is finished; there is nothing to resume"):
        vael.resume(tmp_path / "new")
    assert vael.compare(fitted, again)


@pytest.mark.parametrize("kind", ["gaussian", "flow", "autoregressive", "exemplar"])
def test_every_kind_is_kept_and_read_back(kind, fitted, tmp_path):
    made = refit(fitted, kind, steps=3, output=tmp_path / "new", settings={"hidden": [4]} if kind[0] in "fa" else {})
    state = vael.load(tmp_path / "new").model.prior.state_dict()
    assert state.keys() == made.model.prior.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in made.model.prior.state_dict().items())


def test_a_prior_made_by_hand_is_taken_as_it_is(fitted, tmp_path):
    torch.manual_seed(0)
    made = refit(fitted, MixturePrior(2, 4), steps=0, output=tmp_path / "new")
    assert made.recipe["prior"]["components"] == 4


def test_an_autoencoder_draws_rows_like_its_data_only_after_a_refit(tmp_path):
    """By the energy distance of drawn centres to those of the data's own codes."""
    auto = vael.fit(
        "iris", latent=2, posterior="deterministic", objective="reconstruction", steps=400, settings=SMALL,
        output=tmp_path / "auto",
    )  # fmt: skip
    new = refit(auto, "mixture", settings={"components": 4}, steps=0, output=tmp_path / "new")
    own = auto.reconstruct("iris")
    names = [name for name in own if np.issubdtype(own[name].dtype, np.floating)]

    def cloud(columns: dict[str, np.ndarray]) -> torch.Tensor:
        return torch.tensor(np.stack([columns[name] / own[name].std() for name in names], 1))

    old, fresh = (float(energy(cloud(one.sample(400, mean=True)), cloud(own))) for one in (auto, new))
    assert fresh < 0.3 * old


def test_the_command_writes_a_run_and_says_what_was_gained(fitted, tmp_path, capsys):
    arguments = ["refit", str(fitted.folder), "--prior", "mixture", "--set", "components=3", "--steps", "20"]
    assert command([*arguments, "-o", str(tmp_path / "new"), "--json"]) == 0
    out = capsys.readouterr().out.splitlines()
    told = json.loads(out[-1])
    assert told["run"] == str(tmp_path / "new")
    assert out[0].startswith(f"log p(z)    {told['log_pz_before']:.3f} before, {told['log_pz_after']:.3f} after")
    assert vael.load(tmp_path / "new").recipe["refit"]["steps"] == 20


def test_what_cannot_be_is_refused_and_nothing_is_overwritten(fitted, tmp_path):
    with pytest.raises(RecipeError, match=r"prior must be one of gaussian.*got 'flows'.*flow"):
        refit(fitted, "flows")
    with pytest.raises(RecipeError, match="unknown key 'component'"):
        refit(fitted, "mixture", settings={"component": 3})
    shutil.copytree(fitted.folder.path, tmp_path / "run")
    with pytest.raises(WriteError, match="holds a run already"):
        refit(fitted, "gaussian", steps=0, output=tmp_path / "run")
