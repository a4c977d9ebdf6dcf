"""Ready recipes: read, refused in words, run again beside what is expected of them."""

import json
import os
from pathlib import Path

import pytest

from vael.cli.app import run as command
from vael.errors import RecipeError
from vael.runs import ready
from vael.runs.reproduce import reproduce

SMALL = """
[about]
title = "Irises, quickly"
minutes = 0.1

[fit]
data = "iris"
latent = 2
steps = 40

[evaluate]
draws = 20
"""
ARMS = """
[arms.wide.settings]
"training.learning_rate" = 0.003

[arms.still]
objective = "beta"

[arms.still.settings]
"objective.beta" = 1000.0

[[expected]]
figure = "evidence"
highest = "wide"
among = ["still"]
source = "a model that learns nothing is worse"
"""


def written(tmp_path, text: str):
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ready.names())
def test_every_recipe_that_comes_with_vael_is_whole(name):
    recipe = ready.read(name)
    assert recipe.about.title
    assert recipe.about.paper
    assert recipe.expected
    assert all(expected.source for expected in recipe.expected)
    for arm in recipe.arms or [None]:
        assert set(recipe.arguments(arm)) <= set(ready.fit_keys())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[fit]\nlatent = 2", r"needs a table \[fit\] that says at least data = NAME"),
        ("[fit]\ndata = 'iris'\nlatnet = 2", r"\[fit\]: unknown key 'latnet'.* Did you mean 'latent'"),
        ("[fit]\ndata = 'iris'\nwatch = 2", r"\[fit\]: unknown key 'watch'"),
        ("[fit]\ndata = 'iris'\n[evaluate]\ndraw = 2", r"\[evaluate\]: unknown key 'draw'.* Did you mean 'draws'"),
        ("[fit]\ndata = 'iris'\n[abuot]\n", r"unknown key 'abuot'.* Did you mean 'about'"),
        (
            "[fit]\ndata = 'iris'\n[[expected]]\nfigure = 'elbo'",
            "needs a value and its tolerance, or highest or lowest and among",
        ),
        (
            "[fit]\ndata = 'iris'\n[[expected]]\nfigure = 'elob'\nvalue = 1.0\ntolerance = 1.0",
            r"figure must be one of elbo, .*, got 'elob'\. Did you mean 'elbo'",
        ),
        ("[fit]\ndata = 'iris'\n[[expected]]\nvalue = 1.0\ntolerance = 1.0", "figure must be one of .*, got None"),
        (SMALL + ARMS.replace("evidence", "active_units"), "figure must be one of .*distortion, got 'active_units'"),
        (SMALL + ARMS.replace('["still"]', '["stil"]'), "no arm 'stil'. Did you mean 'still'"),
        ("fit = [", "is not valid TOML"),
    ],
)
def test_what_is_no_recipe_is_refused_with_the_place(tmp_path, text, complaint):
    with pytest.raises(RecipeError, match=complaint):
        ready.read(written(tmp_path, text))


def test_an_unknown_name_is_answered_with_the_names_there_are():
    with pytest.raises(RecipeError, match=r"is not one of .*bbans-mnist.* Did you mean 'bbans-mnist'"):
        ready.read("bbans-mnits")
    assert ready.read("bbans_mnist").name == "bbans-mnist"


def test_an_arm_takes_the_place_of_what_fit_says_and_settings_are_merged():
    recipe = ready.parse(
        SMALL + '[fit.settings]\n"training.clip" = 5\n[arms.a]\nlatent = 3\n[arms.a.settings]\n"training.batch" = 8\n',
        "own", "own.toml",
    )  # fmt: skip
    assert recipe.arguments("a")["latent"] == 3
    assert recipe.arguments("a")["settings"] == {"training.clip": 5, "training.batch": 8}
    assert recipe.arguments()["settings"] == {"training.clip": 5}
    with pytest.raises(RecipeError, match=r"no arm 'b'\. There are: a"):
        recipe.arguments("b")


OPTIONS = """
[options.pace]
default = "slow"
slow = { settings = { "training.learning_rate" = 1e-9 } }
fast = { arms = ["wide"], steps = 60, settings = { "training.batch" = 8 } }

[[expected]]
figure = "elbo"
arm = "wide"
value = 0.0
tolerance = 1e9
when = { pace = "fast" }
"""


def test_an_option_changes_what_is_fitted_which_arms_run_and_what_is_expected():
    recipe = ready.parse(SMALL + ARMS + OPTIONS, "own", "own.toml")
    slow, fast = recipe.chosen({}), recipe.chosen({"pace": "fast"})
    assert slow.arguments()["settings"] == {"training.learning_rate": 1e-9}
    assert slow.arguments("wide")["settings"] == {"training.learning_rate": 0.003}
    assert [list(one.arms) for one in (slow, fast)] == [["wide", "still"], ["wide"]]
    assert (slow.fit["steps"], fast.fit["steps"]) == (40, 60)
    assert [[one.figure for one in chosen.expected] for chosen in (slow, fast)] == [["evidence"], ["elbo"]]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"pace": "fst"}, "recipe own: --pace must be one of slow, fast, got fst"),
        ({"paces": "fast"}, "recipe own: no option --paces. There are: pace. Did you mean 'pace'?"),
    ],
)
def test_an_option_that_does_not_exist_is_answered_with_those_that_do(options, complaint):
    with pytest.raises(RecipeError, match=complaint.replace("?", r"\?")):
        ready.parse(SMALL + ARMS + OPTIONS, "own", "own.toml").chosen(options)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('default = "slow"', 'default = "medium"', "default must be one of slow, fast"),
        ('arms = ["wide"]', 'arms = ["wise"]', "unknown key 'wise'.*Did you mean 'wide'"),
        ("steps = 60", "stops = 60", "unknown key 'stops'.*Did you mean 'steps'"),
    ],
)
def test_an_option_that_cannot_be_is_refused_when_the_recipe_is_read(old, new, complaint):
    with pytest.raises(RecipeError, match=complaint):
        ready.parse(SMALL + ARMS + OPTIONS.replace(old, new), "own", "own.toml")


def test_options_are_words_of_the_command_line(tmp_path, capsys):
    own = written(tmp_path, SMALL + ARMS + OPTIONS)
    code = command(["reproduce", str(own), "--pace", "fast", "-o", str(tmp_path / "runs"), "--quiet"])
    assert code == 0
    assert "elbo wide" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["wide"]


def expecting(value: float, tolerance: float) -> str:
    return SMALL + f'[[expected]]\nfigure = "elbo"\nvalue = {value}\ntolerance = {tolerance}\nsource = "by hand"\n'


def test_a_figure_is_met_within_its_tolerance_and_missed_beyond_it(tmp_path, capsys):
    found = reproduce(written(tmp_path, expecting(0.0, 1e6)), output=tmp_path / "runs")
    (verdict,) = found.verdicts
    assert found.met
    assert verdict.got == pytest.approx(
        json.loads((tmp_path / "runs" / "evaluation.json").read_text())["elbo"]["value"]
    )
    narrow = written(tmp_path, expecting(verdict.got + 1.0, 0.9))
    assert command(["reproduce", str(narrow), "-o", str(tmp_path / "runs"), "--quiet", "--json"]) == 1
    printed = capsys.readouterr()
    assert "MISSED" in printed.out
    assert "1 of 1 expected figures are missed" in printed.err
    assert json.loads(printed.out.splitlines()[-1])["met"] is False


def test_arms_are_compared_example_by_example_and_finished_runs_are_not_fitted_again(tmp_path):
    events: list[dict] = []
    path = written(tmp_path, SMALL + ARMS)
    found = reproduce(path, output=tmp_path / "runs", watch=events.append)
    (verdict,) = found.verdicts
    assert verdict.met
    assert verdict.got > 3 * verdict.error > 0
    assert {event["event"] for event in events} >= {"plan", "finished"}
    events.clear()
    assert reproduce(path, output=tmp_path / "runs", watch=events.append) == found
    assert not events


def test_the_recipes_are_listed_with_their_source(capsys):
    assert command(["recipes", "--json"]) == 0
    printed = capsys.readouterr().out
    for name in ready.names():
        assert name in printed
    assert {one["name"] for one in json.loads(printed.splitlines()[-1])["recipes"]} == set(ready.names())


def test_a_fit_starts_from_a_recipe_and_options_replace_its_own(tmp_path):
    import vael

    path = written(tmp_path, SMALL + '[fit.settings]\n"training.clip" = 5\n[arms.wide]\nlatent = 4\n')
    plain = ["fit", "--recipe", str(path), "-o", str(tmp_path / "plain"), "--quiet"]
    assert command(plain) == 0
    recipe = vael.load(tmp_path / "plain").recipe
    assert (recipe["prior"]["latent"], recipe["training"]["steps"], recipe["training"]["clip"]) == (2, 40, 5)
    arm = ["fit", "wine", "--recipe", f"{path}:wide", "--epochs", "2", "-o", str(tmp_path / "arm"), "--quiet"]
    assert command(arm) == 0
    recipe = vael.load(tmp_path / "arm").recipe
    assert (recipe["data"]["name"], recipe["prior"]["latent"]) == ("wine", 4)
    assert recipe["training"]["steps"] == 2  # 125 rows in batches of 125: epochs stand for the recipe's steps
    assert command(["fit", "--resume", "--recipe", str(path), "-o", str(tmp_path / "plain")]) == 1


@pytest.mark.parametrize("name", ready.names())
def test_every_recipe_that_comes_with_vael_can_be_fitted(name, tmp_path):
    """Each arm for two steps, on the data it names: a default that changes must not leave a recipe behind."""
    import vael

    recipe = ready.read(name)
    at_hand = Path(os.environ.get("VAEL_DATA", "")) / f"{recipe.fit['data']}.npz"
    if recipe.fit["data"] != "digits" and not at_hand.is_file():
        pytest.skip(f"{at_hand.name} is not at hand; VAEL_DATA names the folder that has it")
    for place, arm in enumerate(recipe.arms or [None]):
        arguments = {key: value for key, value in recipe.arguments(arm).items() if key != "epochs"}
        vael.fit(**{**arguments, "steps": 2}, output=tmp_path / str(place))


def test_a_run_that_the_recipe_did_not_make_is_not_judged_by_it(tmp_path, digits_run):
    with pytest.raises(
        RecipeError, match=r"holds a run with prior.latent 4, recipe linear-vae-digits makes one with 8"
    ):
        reproduce("linear-vae-digits", output=digits_run.folder.path)
