"""Finished pictures of recipes: each is drawn, and shows what it says, from small runs on digits."""

import io

import numpy as np
import pytest
from PIL import Image

import vael
from vael import RecipeError
from vael.report import DEMONSTRATIONS, demonstration
from vael.runs import ready
from vael.runs.reproduce import reproduce

STEPS = 30


def fitted(folder, **options):
    return vael.fit("digits", output=folder, steps=STEPS, **options).subject()


@pytest.fixture(scope="module")
def subjects(tmp_path_factory):
    """The arms that each demonstration is drawn from."""
    home = tmp_path_factory.mktemp("runs")
    plain = {"plain": fitted(home / "plain", latent=3)}
    auto = {"posterior": "deterministic", "objective": "reconstruction", "likelihood": "gaussian"}
    part = {"part": ["3:5,:"], "latent": 3}
    completing = {
        "cvae": fitted(home / "cvae", **part),
        "regressor": fitted(home / "regressor", objective="beta", settings={"objective.beta": 1000.0}, **part),
    }
    codes = {str(size): fitted(home / f"codes-{size}", latent=size, **auto) for size in (2, 4)}
    ring = {"ring": vael.fit("ring", output=home / "ring", steps=STEPS, latent=2).subject()}
    of = dict.fromkeys(("losses", "graph", "decoder_only"), plain)
    of |= dict.fromkeys(("reconstructions", "strangers", "random_codes", "nearest"), codes)
    return {**of, "completions": completing, "ring": ring}


@pytest.mark.parametrize("name", DEMONSTRATIONS)
def test_it_gives_pictures_that_open(name, subjects):
    files = demonstration(name, subjects[name])
    assert files
    for file, content in files.items():
        if file.endswith(".png"):
            pixels = np.asarray(Image.open(io.BytesIO(content)))
            assert pixels.std() > 5, file  # neither blank nor one colour
        else:
            text = content.decode()
            assert text.lstrip().startswith("<?xml")
            assert "</svg>" in text


def test_the_loss_terms_carry_the_models_own_numbers(subjects):
    subject = subjects["losses"]["plain"]
    (content,) = demonstration("losses", subjects["losses"]).values()
    assert f"{subject.numbers['rate']['value']:.2f} nats".encode() in content or b"<path" in content
    assert subject.numbers["rate"]["value"] > 0


def test_completions_show_what_is_given_answers_and_the_truth(subjects):
    """Ten lines of one given picture, one guess, six answers and the truth: ten columns of nine tiles."""
    (content,) = demonstration("completions", subjects["completions"]).values()
    assert Image.open(io.BytesIO(content)).size[0] > 9 * 8


def test_an_unknown_demonstration_is_refused(subjects):
    with pytest.raises(RecipeError, match=r"no demonstration 'rings'. There are: ring, losses"):
        demonstration("rings", subjects["ring"])


def test_every_recipe_names_demonstrations_that_exist():
    named = {name for recipe in ready.names() for name in ready.read(recipe).pictures}
    assert named == set(DEMONSTRATIONS)


def test_a_recipe_writes_its_pictures_and_judges_the_lowest_arm(tmp_path):
    (tmp_path / "small.toml").write_text(
        """
        pictures = ["reconstructions"]
        [fit]
        data = "digits"
        likelihood = "gaussian"
        posterior = "deterministic"
        objective = "reconstruction"
        steps = 150
        [arms.1]
        latent = 1
        [arms.12]
        latent = 12
        [[expected]]
        figure = "distortion"
        lowest = "12"
        among = ["1"]
        source = "more codes hold more"
        """
    )
    found = reproduce(tmp_path / "small.toml", output=tmp_path / "runs")
    (verdict,) = found.verdicts
    assert verdict.met
    assert verdict.arm == "1 − 12"
    assert verdict.got > 0
    assert verdict.error > 0
    assert sorted(path.split("/")[-1] for path in found.pictures) == ["error.svg", "reconstructions.png"]
    assert all((tmp_path / "runs" / "figures" / name).is_file() for name in ("error.svg", "reconstructions.png"))
