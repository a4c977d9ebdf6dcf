"""The page: whole, self-contained, escaped, repeatable, and true to the run's numbers."""

import dataclasses
import io
import json
import re
import shlex
import shutil
from importlib.resources import files

import matplotlib
import numpy as np
import pandas as pd
import pytest
from page_reader import Page
from PIL import Image
from scipy.stats import ks_2samp

import vael
from vael import DataError
from vael.cli.app import run as command
from vael.data import originals
from vael.report.blocks import Quantity
from vael.report.latents import units
from vael.report.numbers import sharpened

TABLE = ["fitted", "numbers", "learning", "columns", "pairs", "latents", "units", "next"]
PICTURES = ["fitted", "numbers", "learning", "reconstructions", "samples", "ways", "latents", "units", "next"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("reported")


@pytest.fixture(scope="module")
def fit(home):
    """A short run in a folder of that name."""

    def make(name, data, **options):
        return vael.fit(data, output=home / name, **{"latent": 2, "steps": 20, **options})

    return make


def read(run, **options) -> Page:
    return Page(run.report(**options).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def runs(people_run, digits_run, home):
    """A run of either sort in a folder that no other test writes to."""
    found = {"table": people_run, "pictures": digits_run}
    return {name: vael.load(shutil.copytree(run.folder.path, home / name)) for name, run in found.items()}


@pytest.fixture(scope="module")
def written(runs):
    return {name: run.report().read_bytes() for name, run in runs.items()}


@pytest.fixture(scope="module")
def pages(written):
    return {name: Page(content.decode()) for name, content in written.items()}


# ── whole and by itself ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["table", "pictures"])
def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(pages, written, name):
    page, text = pages[name], written[name].decode()
    assert len(page.images) >= 5
    names = {tag for tag, _ in page.tags}
    assert names.isdisjoint({"script", "link", "iframe", "object", "embed", "base", "form", "audio", "video", "source"})
    for _, attributes in page.tags:
        assert not [key for key in attributes if key.startswith("on")]
        for key in ("src", "href", "srcset", "action", "poster"):
            assert attributes.get(key, "data:").startswith(("data:image/", "data:", "#"))
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text
    anchors = set(page.sections)
    assert {link["href"].removeprefix("#") for link in page.of("a")} == anchors


@pytest.mark.parametrize("name", ["table", "pictures"])
def test_every_figure_is_whole_and_holds_no_address_but_those_that_name_its_format(pages, name):
    for kind, content in pages[name].images:
        if kind == "png":
            assert Image.open(io.BytesIO(content)).verify() is None
            continue
        svg = content.decode()
        assert svg.rstrip().endswith("</svg>")
        assert "<script" not in svg
        addresses = set(re.findall(r"https?://[^\s\"'<>]+", svg))
        assert all(address.startswith(("http://www.w3.org/", "http://purl.org/", "http://creativecommons.org/",
                                       "https://matplotlib.org/")) for address in addresses)  # fmt: skip
        references = re.findall(r"xlink:href=\"([^\"]+)\"", svg)
        assert all(reference.startswith(("#", "data:image/png;base64,")) for reference in references)


@pytest.mark.parametrize("name", ["table", "pictures"])
def test_every_picture_is_told_in_words_too(pages, name):
    page = pages[name]
    assert all(image["alt"] for image in page.of("img"))
    captions = [tag for tag, _ in page.tags].count("figcaption")
    galleries = sum("gallery" in attributes.get("class", "") for attributes in page.of("div"))
    assert captions == galleries > 0
    for anchor in set(page.sections) - {"fitted", "numbers", "next", "units"}:
        assert "Look for" in page.texts[anchor] or "should look alike" in page.texts[anchor]


def test_the_sections_come_in_their_order(pages):
    assert pages["table"].sections == TABLE
    assert pages["pictures"].sections == PICTURES


def test_the_template_is_a_file_of_the_package():
    assert files("vael.report").joinpath("page.html").is_file()


# ── repeatable ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["table", "pictures"])
def test_the_same_run_and_seed_give_the_same_bytes(name, written, runs, tmp_path):
    assert runs[name].report(tmp_path / "again.html").read_bytes() == written[name]


def test_another_seed_gives_other_samples(runs, written, tmp_path):
    assert runs["pictures"].report(tmp_path / "other.html", seed=1).read_bytes() != written["pictures"]


def test_the_readers_own_settings_of_matplotlib_change_nothing_and_are_left_as_they_were(runs, written, tmp_path):
    mine = {"axes.facecolor": "black", "font.size": 23.0, "axes.grid": True, "svg.fonttype": "none"}
    with matplotlib.rc_context(mine):
        assert runs["pictures"].report(tmp_path / "mine.html").read_bytes() == written["pictures"]
        assert {key: matplotlib.rcParams[key] for key in mine} == mine


def test_pyplot_is_never_needed(runs, tmp_path):
    import subprocess
    import sys

    code = (
        "import sys, vael; before = {m for m in sys.modules if m.startswith(('matplotlib', 'jinja2'))};"
        f"vael.load({str(runs['pictures'].folder)!r}).report({str(tmp_path / 'x.html')!r});"
        "assert not before, before; assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# ── true ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_numbers_are_those_of_the_kept_evaluation(runs, tmp_path):
    run = vael.load(shutil.copytree(runs["pictures"].folder.path, tmp_path / "copy"))
    run.evaluate(draws=30, max_examples=50)
    kept = json.loads(run.folder.evaluation.read_text())
    page = read(run)
    for key, sign in (("elbo", -1), ("rate", 1), ("distortion", 1), ("evidence", 1)):
        assert page.data[key] == sign * kept[key]["value"]
        assert page.data[f"{key}-error"] == kept[key]["standard_error"]
        shown = [f"{sign * kept[key]['value']:,.{n}f} ± {kept[key]['standard_error']:.{n}f}" for n in (2, 3, 4)]
        assert any(text.replace("-", "−") in page.texts["numbers"] for text in shown)
    assert page.data["bits_per_dim"] == kept["bits_per_dim"]
    seen = -kept["evidence"]["value"] / kept["bits_per_dim"] / np.log(2)
    assert page.data["bits_per_dim-error"] == pytest.approx(kept["evidence"]["standard_error"] / seen / np.log(2))
    assert page.data["active_units"] == kept["active_units"]
    text = page.texts["numbers"]
    for words in ("test split, 359 examples", "30 draws", "50 of them", "lower bound",
                  f"{kept['evidence']['monte_carlo_error']:.3f} nats",
                  f"{kept['evidence']['effective_sample_size']['median']:.0f} equal ones"):  # fmt: skip
        assert words in text
    assert "a small one" not in text
    assert f"{kept['active_units']} of 4 latents are active" in page.texts["units"]


@pytest.mark.parametrize(("error", "shown"), [(0.74, 2), (0.005, 2), (0.0043, 3), (0.0009, 4), (0.0, 2), (None, 2)])
def test_the_smallest_error_is_never_shown_as_nothing(error, shown):
    rows = [Quantity("rate", "rate", 1.25, error, "nats", ""), Quantity("bits/dim", "b", 1.0, 1e-5, "bits", "")]
    assert [row.digits for row in sharpened(rows)] == [shown, 2]


def test_an_evaluation_of_other_weights_is_not_shown(runs, tmp_path):
    folder = shutil.copytree(runs["table"].folder.path, tmp_path / "copy")
    run = vael.load(folder)
    run.evaluate(draws=3, max_examples=3)
    kept = run.folder.evaluation
    changed = vael.files.load_json(kept)
    vael.files.save_json(
        kept, {**changed, "weights": "0" * 64, "elbo": {"value": 1e6, "standard_error": 1, "draws": 1}}
    )
    page = read(run)
    assert page.data["elbo"] == pytest.approx(-changed["elbo"]["value"])
    assert "a small one, made for the page" in page.texts["numbers"]


def test_an_evaluation_made_for_the_page_is_not_kept_in_place_of_a_thorough_one(fit):
    run = fit("unevaluated", "iris")
    page = read(run)
    assert not run.folder.evaluation.exists()
    again = run.evaluate(draws=500)
    assert page.data["elbo"] == pytest.approx(-again.elbo.value)
    assert page.data["evidence"] == pytest.approx(again.evidence.value)


def test_the_distance_of_a_column_is_scipys_on_the_same_rows_and_samples(runs, pages):
    people_run = runs["table"]
    data = originals(people_run.data.split("test"), people_run.schema)
    samples = people_run.sample(2000, seed=0)
    table = re.findall(r"(age|income|height|visits) \w+ \S+ \S+ \S+ \S+ \S+ \S+ [\d.]+ % ([\d.]+)",
                       pages["table"].texts["columns"])  # fmt: skip
    assert {name for name, _ in table} == {"age", "income", "height", "visits"}
    for name, shown in table:
        own = data[name][~np.isnan(data[name].astype(float))]
        wanted = ks_2samp(own, samples[name], method="asymp").statistic
        assert float(shown) == pytest.approx(wanted, abs=6e-4)  # three digits are shown


def test_missing_values_are_counted_for_each_column(runs, pages):
    people_run = runs["table"]
    data = originals(people_run.data.split("test"), people_run.schema)
    share = 100 * np.isnan(data["height"]).mean()
    assert re.search(rf"height real .*? {share:.1f} % ", pages["table"].texts["columns"])
    assert "constant" not in pages["table"].texts["columns"]


def test_reconstructions_stand_beside_the_originals_of_the_test_split(runs, pages):
    digits_run = runs["pictures"]
    images = [content for kind, content in pages["pictures"].images if kind == "png"]
    sheet = np.asarray(Image.open(io.BytesIO(images[0])))  # grey and alpha
    test = digits_run.data.split("test")
    made = digits_run.reconstruct(test)["x"]
    own = originals(test, digits_run.schema)["x"]
    for place in (0, 1, 9):
        row, column = divmod(place, 8)
        for side, pictures in enumerate((own, made)):
            left = 2 + (2 * column + side) * 50 + 6 * column
            tile = sheet[2 + 50 * row : 50 + 50 * row, left : left + 48, 0][::6, ::6]
            np.testing.assert_allclose(tile, pictures[place, 0].astype(float) * 255 / 16, atol=0.51)  # bytes


def test_the_kept_step_and_the_length_of_training_are_told(runs, pages):
    digits_run = runs["pictures"]
    best = max(line["step"] for line in digits_run.history if line.get("best"))
    assert f"the weights of step {best:,} were kept" in pages["pictures"].texts["learning"]
    assert f"{digits_run.history[-1]['step']:,} steps" in pages["pictures"].texts["learning"]


def test_a_posterior_without_rates_of_single_latents_shows_how_far_each_moves(runs):
    subject = runs["pictures"].subject()
    reasons = {**subject.numbers["reasons"], "rate_per_unit": "no closed form <here>"}
    (found,) = units(dataclasses.replace(subject, kept={**subject.numbers, "rate_per_unit": None, "reasons": reasons}))
    gallery, text = found.blocks
    assert [picture.title for picture in gallery.pictures] == ["variance of its posterior mean"]
    assert text.text == "No rates of single latents: no closed form <here>."


# ── whatever the data are ────────────────────────────────────────────────────────────────────────────────────


def test_names_and_values_are_shown_as_they_are_and_never_become_markup(fit):
    rng = np.random.default_rng(0)
    words = ["<script>alert(1)</script>", "a & b", "東京"]
    odd = {
        '<b>&"': rng.normal(size=80),
        "cost_$_per_$": rng.normal(size=80),
        "{{ 1 + 1 }}": rng.choice(words, 80, p=[0.6, 0.2, 0.2]),
    }
    run = fit("odd", pd.DataFrame(odd))
    text = run.report().read_text(encoding="utf-8")
    page = Page(text)
    assert "b" not in {tag for tag, _ in page.tags}
    assert "script" not in {tag for tag, _ in page.tags}
    for name in odd:
        assert name in page.texts["columns"]
    assert "&lt;b&gt;&amp;&#34;" in text
    assert "<script>alert(1)</script> " in page.texts["columns"]  # the most frequent level
    assert "level 3 is 東京" in page.texts["columns"]  # the figures' font has no such letters


def table(columns: int, rows: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 3)) @ rng.normal(size=(3, columns)) + 0.3 * rng.normal(size=(rows, columns))
    return pd.DataFrame(x, columns=[f"c{i}" for i in range(columns)])


def test_of_many_columns_those_that_fit_worst_are_shown_and_it_is_said(fit):
    page = read(fit("wide", table(70)))
    assert "The 12 columns of 70 that fit worst, worst first" in page.texts["columns"]
    assert "The 60 worst of 70 columns" in page.texts["columns"]
    assert "The 18 columns of 70 whose associations differ most" in page.texts["pairs"]
    shown = re.findall(r"distance ([\d.]+), by chance", page.texts["columns"])
    assert len(shown) == 12
    assert [float(each) for each in shown] == sorted(map(float, shown), reverse=True)


def test_one_column_has_no_pairs(fit):
    page = read(fit("single", table(1), latent=1))
    assert page.sections == [name for name in TABLE if name != "pairs"]
    assert "single latent" in page.texts["latents"]


def test_categories_alone_make_a_page(fit):
    rng = np.random.default_rng(0)
    cats = pd.DataFrame({f"k{n}": rng.choice(list("abcdefghijklmnopqrst")[:n], 150) for n in (2, 5, 20)})
    page = read(fit("categories", cats))
    assert page.sections == TABLE
    assert "No two columns of numbers" in page.texts["pairs"]


def test_a_column_that_is_mostly_missing_makes_a_page(fit):
    holes = table(3)
    holes.loc[4:, "c1"] = np.nan
    assert read(fit("holes", holes)).sections == TABLE


@pytest.mark.parametrize(
    ("rows", "split", "told"),
    [(8, {}, "about the train split"), (60, {"test": 0.0}, "about the validation split"), (12, {"test": 0.1}, None)],
)
def test_without_a_test_split_the_page_says_what_it_is_about(fit, rows, split, told):
    page = read(fit(f"rows{rows}", table(2, rows), split=split))
    if told:
        assert told in page.texts["fitted"]
        assert "too good to be expected of new data" in page.texts["fitted"]
    else:
        assert "One example" in page.texts["latents"]  # a test split of one row


def test_a_grey_score_has_no_evidence_and_the_page_says_why(fit):
    page = read(fit("grey", "digits", likelihood="grey_bernoulli"))
    assert page.texts["numbers"].count("none: grey values under Bernoulli have no density") == 2
    assert "evidence" not in page.data
    assert page.data["elbo"] == pytest.approx(page.data["rate"] + page.data["distortion"])


def test_two_latents_of_pictures_have_a_map_of_what_they_decode_to(fit):
    run = fit("plane", "digits", likelihood="bernoulli")
    page = read(run)
    sheets = [np.asarray(Image.open(io.BytesIO(content))) for kind, content in page.images if kind == "png"]
    assert (2 + 15 * 50, 2 + 15 * 50) in [sheet.shape[:2] for sheet in sheets]
    assert "quantiles 3.3 % to 96.7 % of the prior, z1 (−1.83 to 1.83)" in page.texts["latents"]
    assert "cut at one half" in page.texts["reconstructions"]


def test_a_label_colours_the_latents_by_class_or_by_quantity(fit, tmp_path):
    assert "coloured by species" in read(fit("classes", "iris")).texts["latents"]
    labelled = table(3)
    labelled.to_csv(tmp_path / "t.csv", index=False)
    on_disk = fit("quantity", tmp_path / "t.csv", label=["c2"])
    assert "coloured by c2" in read(on_disk).texts["latents"]
    in_memory = fit("quantity in memory", labelled, label=["c2"])
    assert "its label c2 is a quantity and not kept" in read(in_memory).texts["latents"]
    assert "coloured by c2" in read(in_memory, data=labelled).texts["latents"]


def test_arrays_that_are_no_pictures_are_shown_as_their_numbers(fit):
    flat = np.random.default_rng(0).integers(0, 256, (60, 30)).astype(np.uint8)
    page = read(fit("flat", flat))
    assert "an array of 30 numbers" in page.texts["samples"]
    assert "reconstructions" not in page.sections


def test_data_in_memory_are_missed_in_words_and_welcome_again(fit):
    data = table(2)
    run = vael.load(str(fit("memory", data).folder))
    page = read(run)
    assert "vael report" in page.texts["fitted"]
    assert ".report(data=…)" in page.texts["fitted"]
    assert "Hand the data over" in page.texts["fitted"]
    best = [line for line in run.history if line.get("best")][-1]["validation"]
    assert page.data["elbo"] == pytest.approx(-best["elbo"])
    whole = read(run, data=data)
    assert whole.sections == TABLE
    assert "The data are not" not in whole.texts["fitted"]
    other = read(run, data=data.head(30))
    assert "not those the run was fitted on" in other.texts["fitted"]
    assert "the given data, 30 examples" in other.texts["numbers"]
    with pytest.raises(DataError, match="no column 'c0'"):
        run.report(data=pd.DataFrame({"other": [1.0, 2.0]}))


def test_data_that_changed_since_are_missed_in_words(fit, tmp_path):
    path = tmp_path / "t.csv"
    table(3).to_csv(path, index=False)
    run = fit("changed", path)
    table(3, 121).to_csv(path, index=False)
    assert "the data are not those the run was fitted on" in read(vael.load(run.folder.path)).texts["fitted"]


def test_an_interrupted_run_has_a_page_that_says_how_to_go_on(home, monkeypatch):
    steps = vael.training.Engine.advance

    def stop(engine):
        if engine.step == 150:
            raise KeyboardInterrupt
        steps(engine)

    monkeypatch.setattr(vael.training.Engine, "advance", stop)
    with pytest.raises(vael.Interrupted):
        vael.fit("iris", latent=2, steps=300, output=home / "interrupted")
    page = read(vael.load(home / "interrupted"))
    assert "not finished (interrupted)" in page.texts["fitted"]
    assert f"vael fit --resume -o {home / 'interrupted'}" in page.texts["next"]


def test_a_model_of_foreign_modules_is_pointed_to_python(home):
    from torch import nn

    from vael.likelihoods import DiscretizedLogistic
    from vael.networks import MLP
    from vael.posteriors import GaussianPosterior
    from vael.priors import GaussianPrior

    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    model = vael.VAE(
        GaussianPrior(2), DiscretizedLogistic(MLP(2, [], (2, 8, 8)), levels=17), GaussianPosterior(encoder, latent=2)
    )
    page = read(vael.fit("digits", model=model, steps=5, output=home / "foreign"))
    assert "vael.load(" in page.texts["next"]
    assert "vael evaluate" not in page.texts["next"]


# ── as a command ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_command_writes_the_page_and_says_where(runs, written, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert command(["report", str(runs["pictures"].folder), "-o", str(out), "--json"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"wrote       {out} (")
    assert json.loads(said[-1]) == {
        "run": str(runs["pictures"].folder), "file": str(out), "bytes": out.stat().st_size, "seed": 0
    }  # fmt: skip
    assert out.read_bytes() == written["pictures"]


@pytest.mark.parametrize("name", ["table", "pictures"])
def test_every_command_on_the_page_works_as_it_stands(name, runs, written, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shown = re.findall(r"<td><code>(vael [^<]+)</code>", written[name].decode())
    assert len(shown) == 6
    folder = shutil.copytree(runs[name].folder.path, tmp_path / "copy")
    for line in shown:
        words = shlex.split(line)[1:]
        words += {"evaluate": ["--max-examples", "3"], "compare": ["--max-examples", "3"]}.get(words[0], [])
        words = [str(folder) if word in (str(runs[name].folder), "OTHER-RUN") else word for word in words]
        assert command(words) == 0, capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_told(runs, capsys):
    assert command(["report", str(runs["pictures"].folder), "-o", "/proc/there/is/no/way"]) == 1
    assert "could not be written" in capsys.readouterr().err


def test_the_way_to_log_p_is_told_by_its_name(fit, tmp_path):
    run = fit("by chains", np.random.default_rng(0).normal(size=(60, 3)))
    run.evaluate(method="annealed", settings={"temperatures": 3, "chains": 2, "leapfrog": 2}, max_examples=4)
    text = re.sub(r"\s+", " ", run.report(tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "annealed importance sampling with 2 chains on 4 of them" in text
    assert "is a lower bound in expectation" in text
