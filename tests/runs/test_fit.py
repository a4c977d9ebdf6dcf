"""vael.fit: one seed, one model; the test split unseen; every setting with an effect."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch import nn

import vael
from vael import likelihoods
from vael.errors import DataError, RecipeError, ShapeError
from vael.likelihoods import Gaussian
from vael.networks import MLP
from vael.posteriors import GaussianPosterior
from vael.priors import GaussianPrior

RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(80, 4)) @ RNG.normal(size=(4, 4))
QUICK = {"steps": 12, "latent": 2}


@pytest.fixture
def fit(tmp_path):
    """Fit into a fresh folder."""
    made = iter(range(100))
    return lambda data, **options: vael.fit(data, output=tmp_path / str(next(made)), **{**QUICK, **options})


def same(one, two):
    states = [run.model.state_dict() for run in (one, two)]
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )


# ── the seed ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_p24_the_same_seed_gives_the_same_weights_and_another_seed_others(fit):
    assert same(fit(TABLE), fit(TABLE))
    assert not same(fit(TABLE), fit(TABLE, seed=1))


def test_the_global_generators_are_neither_read_nor_moved(fit):
    torch.manual_seed(1)
    first, state = fit(TABLE), torch.get_rng_state()
    torch.manual_seed(2)
    np.random.seed(3)
    assert same(first, fit(TABLE))
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())


# ── the test split ───────────────────────────────────────────────────────────────────────────────────────────


def test_fit_never_sees_the_test_rows_of_a_table(fit):
    columns = {f"c{i}": TABLE[:, i] for i in range(4)}
    split = np.where(np.arange(80) < 60, "train", "test")
    shuffled = {name: np.concatenate([column[:60], RNG.permutation(column[60:])]) for name, column in columns.items()}
    one, two = fit({**columns, "split": split.tolist()}), fit({**shuffled, "split": split.tolist()})
    assert one.recipe["data"]["fingerprint"] != two.recipe["data"]["fingerprint"]
    assert one.schema == two.schema
    assert same(one, two)


def test_fit_never_sees_the_test_pictures(fit, tmp_path):
    train = RNG.integers(0, 256, (40, 4, 4)).astype(np.uint8)
    train[0, 0] = [0, 255, 1, 2]
    runs = []
    for number in range(2):
        test = RNG.integers(0, 256, (20, 4, 4)).astype(np.uint8)
        np.savez(tmp_path / f"{number}.npz", x_train=train, x_test=test)
        runs.append(fit(tmp_path / f"{number}.npz"))
    assert same(*runs)
    assert runs[0].evaluate(draws=2).elbo != runs[1].evaluate(draws=2).elbo


def test_the_views_are_fitted_on_the_training_rows_alone(fit):
    run = fit(TABLE)
    rows = run.data.split("train").index.numpy()
    for column, field in enumerate(run.schema.modelled):
        assert (field.loc, field.scale) == pytest.approx((TABLE[rows, column].mean(), TABLE[rows, column].std()))


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "change",
    [
        {"latent": 3},
        {"batch": 20},
        {"learning_rate": 0.01},
        {"schedule": "constant"},
        {"weight_decay": 0.5},
        {"clip": 0.001},
        {"warm_up": 10},
        {"steps": 11},
        {"objective": vael.Beta(4.0)},
        {"objective": vael.Beta(4.0), "warm_up": 5},
        {"objective": vael.ELBO(draws=2)},
        {"objective": vael.IWAE(draws=2)},
        {"objective": "free_bits", "settings": {"objective.bits": 9.0}},  # a table begins with more than the default
        {"objective": "free-bits", "settings": {"objective.bits": 7.0}},
        {"objective": vael.Capacity(capacity=3.0, weight=2.0)},
        {"objective": "capacity", "warm_up": 5},
        {"warm_up": 4, "cycles": 2},
        {"posterior": "full_gaussian"},
        {"posterior": "low-rank-gaussian"},
        {"posterior": "low_rank_gaussian", "settings": {"posterior.rank": 1}},
        {"settings": {"likelihood.network.hidden": [16]}},
        {"settings": {"posterior.network.activation": "tanh"}},
        {"settings": {"training.batch": 16}},
        {"split": {"test": 0.5}},
    ],
    ids=str,
)
def test_every_knob_has_an_effect_and_stands_in_the_recipe(fit, change):
    plain, changed = fit(TABLE), fit(TABLE, **change)
    assert changed.recipe != plain.recipe
    assert not same(plain, changed)


def test_every_scale_of_a_gaussian_is_another_model(fit):
    scales = ["shared", "per_feature", "per_example", "optimal", 0.5]
    runs = [fit(TABLE, settings={"likelihood.scale": scale}) for scale in scales]
    assert [run.model.likelihood.scale for run in runs] == scales
    assert len({run.evaluate(draws=2).elbo.value for run in runs}) == len(scales)


def test_a_warm_up_under_beta_is_no_other_beta(fit):
    runs = [fit(TABLE, objective=vael.Beta(4.0), warm_up=warm_up) for warm_up in (0, 8)]
    assert not same(*runs)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"objective": vael.FreeBits(bits=0.1)}, {"objective": vael.FreeBits(bits=9.0)}),
        ({"objective": vael.Capacity(1.0)}, {"objective": vael.Capacity(9.0)}),
        ({"objective": vael.Capacity(9.0, weight=1.0)}, {"objective": vael.Capacity(9.0, weight=2.0)}),
        ({"objective": vael.FreeBits(bits=0.01)}, {"objective": vael.FreeBits(bits=0.01), "warm_up": 5}),
        ({"warm_up": 4}, {"warm_up": 4, "cycles": 2}),
    ],
)
def test_every_argument_of_an_objective_has_an_effect(fit, one, two):
    assert not same(fit(TABLE, **one), fit(TABLE, **two))


def test_a_floor_of_nothing_trains_as_the_elbo_does(fit):
    assert same(fit(TABLE), fit(TABLE, objective=vael.FreeBits(bits=0.0)))


@pytest.mark.parametrize("objective", [vael.FreeBits(bits=3.0), vael.Capacity(capacity=9.0, weight=5.0)])
def test_whatever_is_maximised_weights_are_chosen_and_reported_at_beta_one(fit, objective):
    run = fit(TABLE, objective=objective, evaluate_every=3)
    for line in run.history:
        found = line["validation"]
        assert found["elbo"] == pytest.approx(-found["rate"] - found["distortion"])
        assert line["train"]["objective"] != pytest.approx(line["train"]["elbo"])
    best = max(line["validation"]["elbo"] for line in run.history)
    assert [line["validation"]["elbo"] for line in run.history if line.get("best")][-1] == best


@pytest.mark.parametrize(("kind", "outputs"), [("gaussian", 6), ("full_gaussian", 9), ("low_rank_gaussian", 12)])
@pytest.mark.parametrize("data", ["table", "pictures"])
def test_a_posterior_asked_for_by_name_gets_the_outputs_it_needs(fit, kind, outputs, data):
    source = TABLE if data == "table" else RNG.integers(0, 9, (60, 4, 4)).astype(np.uint8)
    run = fit(source, posterior=kind, latent=3)
    table = run.recipe["posterior"]
    while "network" in table:
        table = table["network"]
    assert (run.recipe["posterior"]["kind"], table["outputs"]) == (kind, outputs)
    again = vael.load(run.folder.path)
    assert again.evaluate(source, draws=20).evidence == run.evaluate(source, draws=20).evidence
    assert again.encode(source).shape == (len(source), 3)


def test_outputs_that_were_asked_for_are_left_alone_and_refused_where_they_do_not_fit(fit):
    with pytest.raises(ShapeError, match="got a network with 8 outputs for 2 latents, which take 5"):
        fit(TABLE, posterior="full_gaussian", settings={"posterior.network.outputs": 8})


def test_a_setting_outranks_the_argument_it_changes(fit):
    run = fit(TABLE, objective=vael.Beta(2.0), settings={"objective.beta": 4.0})
    assert run.recipe["objective"] == {"kind": "beta", "beta": 4.0}
    assert same(run, fit(TABLE, objective=vael.Beta(4.0)))


def test_a_scale_predicted_from_z_gets_the_outputs_it_needs(fit):
    run = fit(TABLE, settings={"likelihood.scale": "per_example"})
    assert run.recipe["likelihood"]["network"]["outputs"] == 8
    assert run.model.likelihood.event_shape == (4,)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"latent": 0}, "latent must be a whole number of at least 1, got 0"),
        ({"latent": 2.5}, "latent must be a whole number of at least 1, got 2.5"),
        ({"device": "quantum"}, "device 'quantum': cannot be used here"),
        ({"objective": vael.IWAE(5), "warm_up": 4}, "IWAE: has no rate to warm up"),
        ({"settings": {"objective.bta": 1}}, "unknown key 'bta'"),
        ({"objective": "fre_bits"}, r"\[objective\]: unknown kind 'fre_bits'. There are: .*Did you mean 'free_bits'"),
        ({"objective": 3}, "must be a kind or an object such as vael.IWAE\\(draws=50\\), got 3"),
        ({"posterior": "full"}, r"\[posterior\]: unknown kind 'full'. There are: .*gaussian"),
        ({"prior": "gausian"}, r"\[prior\]: unknown kind 'gausian'.*Did you mean 'gaussian'"),
        ({"cycles": 3}, "3 cycles of 12 steps are 4 steps long, and each needs a warm_up"),
        ({"objective": "free_bits", "settings": {"objective.bits": -1}}, "bits must be at least 0 nats, got -1"),
        ({"settings": {"training.btch": 1}}, "unknown key 'btch'.*Did you mean 'batch'"),
        ({"settings": {"data.split": {}}}, "described by --split"),
        ({"split": {"test": 1.0}}, "leave rows to train on"),
        ({"kinds": {"x9": "real"}}, "no column 'x9'"),
        ({"kinds": {"x0": "rael"}}, "no kind 'rael'.*Did you mean 'real'"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_before_a_folder_is_made(options, complaint, tmp_path):
    with pytest.raises(RecipeError, match=complaint):
        vael.fit(TABLE, output=tmp_path / "run", **{**QUICK, **options})
    assert not (tmp_path / "run").exists()


# ── models built by hand ─────────────────────────────────────────────────────────────────────────────────────


def by_hand(encoder=None, inputs=4):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return vael.VAE(
            prior=GaussianPrior(2),
            likelihood=Gaussian(MLP(2, [8], inputs)),
            posterior=GaussianPosterior(encoder or MLP(inputs, [8], 4), latent=2),
        )


def test_a_model_built_by_hand_is_trained_from_the_weights_it_has(fit):
    by_settings = fit(TABLE, model=by_hand(), settings={"training.batch": 20})
    by_argument = fit(TABLE, model=by_hand(), batch=20)
    torch.manual_seed(8)
    other = by_hand()
    other.load_state_dict({name: value + 0.1 for name, value in other.state_dict().items()})
    assert same(by_settings, by_argument)
    assert not same(by_settings, fit(TABLE, model=other, batch=20))


def test_a_model_of_another_shape_is_refused_before_training(tmp_path):
    with pytest.raises(ShapeError, match=r"x has shape \(1, 4\), expected \(batch, 5\)"):
        vael.fit(TABLE, model=by_hand(inputs=5), output=tmp_path / "run", **QUICK)
    assert not (tmp_path / "run").exists()


FOREIGN = """
    from torch import nn

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return self.layer(x).sinh()
"""


def test_p33_a_foreign_module_reloads_in_a_fresh_process_only_when_handed_over(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(textwrap.dedent(FOREIGN))
    monkeypatch.syspath_prepend(tmp_path)
    np.save(tmp_path / "table.npy", TABLE)
    from mine import Encoder  # type: ignore[import-not-found]

    run = vael.fit(tmp_path / "table.npy", model=by_hand(Encoder()), output=tmp_path / "run", **QUICK)
    program = """
        import sys, vael
        assert "mine" not in sys.modules
        try:
            vael.load("run")
        except vael.RecipeError as error:
            print(error)
        assert "mine" not in sys.modules  # nothing was imported on the folder's word
        from mine import Encoder
        print(repr(vael.load("run", modules={"posterior.network": Encoder()}).evaluate(draws=4).elbo.value))
    """
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert "was fitted with a module of its own, mine.Encoder; a run folder holds no code." in found[0]
    assert "modules={'posterior.network': module}" in found[1]
    assert float(found[2]) == run.evaluate(draws=4).elbo.value


def test_a_run_with_a_foreign_module_resumes_only_with_it(tmp_path, monkeypatch):
    np.save(tmp_path / "table.npy", TABLE)

    class Stop(BaseException): ...

    def advance(engine):
        if engine.step == 6:
            raise Stop
        plain(engine)

    plain = vael.training.Engine.advance
    monkeypatch.setattr(vael.training.Engine, "advance", advance)
    with pytest.raises(Stop):
        vael.fit(
            tmp_path / "table.npy", model=by_hand(nn.Linear(4, 4)), output=tmp_path / "run", evaluate_every=4, **QUICK
        )
    monkeypatch.undo()
    with pytest.raises(RecipeError, match="a run folder holds no code"):
        vael.resume(tmp_path / "run")
    assert vael.resume(tmp_path / "run", modules={"posterior.network": nn.Linear(4, 4)}).history[-1]["step"] == 12


def convolutions(last):
    """A model of foreign convolutions; `last`: with weights in the channels-last order."""
    torch.manual_seed(0)
    order = torch.channels_last if last else torch.contiguous_format
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 4 * 5, 4))
    decoder = nn.Sequential(
        nn.Linear(2, 4 * 4 * 5), nn.Unflatten(1, (4, 4, 5)), nn.Tanh(), nn.ConvTranspose2d(4, 6, 4, 2, 1)
    )  # fmt: skip
    modules = {"posterior.network": encoder.to(memory_format=order), "likelihood.network": Drawn(decoder)}
    modules["likelihood.network"].to(memory_format=order)
    return modules


class Drawn(nn.Module):
    """A decoder that knows no axis of draws, given one."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, z):
        return self.network(z.flatten(0, -2)).unflatten(0, z.shape[:-1])


@pytest.mark.parametrize("last", [False, True])
def test_foreign_convolutions_fit_resume_bit_for_bit_and_reload(last, tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", RNG.integers(0, 256, (40, 8, 10, 3)).astype(np.uint8))

    def model():
        modules = convolutions(last)
        likelihood = likelihoods.DiscretizedLogistic(modules["likelihood.network"], event_shape=(3, 8, 10))
        return vael.VAE(GaussianPrior(2), likelihood, GaussianPosterior(modules["posterior.network"], latent=2))

    class Stop(BaseException): ...

    def advance(engine):
        plain(engine)
        if engine.step == 9:
            raise Stop

    plain = vael.training.Engine.advance
    whole = vael.fit(tmp_path / "x.npy", model=model(), output=tmp_path / "whole", steps=12, evaluate_every=4)
    monkeypatch.setattr(vael.training.Engine, "advance", advance)
    with pytest.raises(Stop):
        vael.fit(tmp_path / "x.npy", model=model(), output=tmp_path / "run", steps=12, evaluate_every=4)
    monkeypatch.undo()
    assert same(vael.resume(tmp_path / "run", modules=convolutions(last)), whole)
    again = vael.load(tmp_path / "run", modules=convolutions(last))
    assert again.evaluate(draws=3).evidence == whole.evaluate(draws=3).evidence


def test_resume_refuses_other_data(tmp_path, monkeypatch):
    vael.fit(TABLE, output=tmp_path / "whole", **QUICK)
    interrupt = iter([False] * 5 + [True])
    plain = vael.training.Engine.advance

    def advance(engine):
        plain(engine)
        if next(interrupt, False):
            raise KeyboardInterrupt

    monkeypatch.setattr(vael.training.Engine, "advance", advance)
    with pytest.raises(vael.Interrupted):
        vael.fit(TABLE, output=tmp_path / "run", **QUICK)
    monkeypatch.undo()
    with pytest.raises(DataError, match="in memory"):
        vael.resume(tmp_path / "run")
    with pytest.raises(DataError, match="the data are not those the run was fitted on"):
        vael.resume(tmp_path / "run", data=TABLE + 1)
    assert same(vael.resume(tmp_path / "run", data=TABLE), vael.load(tmp_path / "whole"))


# ── the schema and the likelihood agree ──────────────────────────────────────────────────────────────────────

CENTIMETRES = np.round(RNG.normal(170, 10, size=(300, 3)), 1)  # on a grid of 0.1


def test_a_density_of_a_grid_is_about_the_users_units_and_has_no_bits_per_dim(fit):
    """A step of 0 scores a density: the log-Jacobian −Σ log scale is in it, and bits/dim are not."""
    mass = fit(CENTIMETRES)
    assert mass.evaluate(draws=5).bits_per_dim is not None
    density = fit(CENTIMETRES, settings={"likelihood.step": 0})
    assert [field.resolution for field in density.schema.modelled] == [0.0, 0.0, 0.0]
    assert density.evaluate(draws=5).bits_per_dim is None
    expected = -sum(np.log(field.scale) for field in density.schema.modelled)
    assert float(density.data.split("test").log_jacobian[0]) == pytest.approx(expected)
    # A fine grid's mass is the density times the cell, in the user's own unit; the two fits differ by their noise only.
    gap = mass.evaluate(draws=200).evidence.value - density.evaluate(draws=200).evidence.value
    assert gap == pytest.approx(3 * np.log(0.1), abs=0.1)


def test_a_model_by_hand_without_a_step_scores_a_density(fit):
    model = vael.VAE(
        GaussianPrior(2), Gaussian(MLP(2, [4], 3), scale="shared"), GaussianPosterior(MLP(3, [4], 4))
    )  # fmt: skip
    run = fit(CENTIMETRES, model=model)
    assert not run.schema.discrete
    assert not vael.load(run.folder.path).schema.discrete
    assert run.evaluate(draws=5).bits_per_dim is None


def test_arguments_that_contradict_the_schema_are_refused(fit):
    with pytest.raises(RecipeError, match=r"step is 0\.5, but the grid of field 'x0' is"):
        fit(CENTIMETRES, settings={"likelihood.step": 0.5})
    with pytest.raises(RecipeError, match="levels is 5, but field 'x' takes 17 values"):
        fit("digits", settings={"likelihood.levels": 5})
    with pytest.raises(RecipeError, match="Use --likelihood KIND"):
        fit("digits", settings={"likelihood.kind": "gaussian"})
    poisson = vael.VAE(
        GaussianPrior(2), likelihoods.Poisson(MLP(2, [4], 3)), GaussianPosterior(MLP(3, [4], 4))
    )  # fmt: skip
    with pytest.raises(RecipeError, match=r"Poisson needs whole numbers from 0 up; field 'x0' is real"):
        fit(CENTIMETRES, model=poisson)


def test_bits_per_dim_count_what_is_observed(fit):
    rows = CENTIMETRES.copy()
    rows[::2, 0] = np.nan
    run = fit(rows)
    found = run.evaluate(draws=5)
    seen = float(run.data.split("test").observed.sum()) / len(run.data.split("test"))
    assert 2 < seen < 3
    assert found.bits_per_dim == pytest.approx(-found.evidence.value / (seen * np.log(2)))
    assert found.dims == 3


def test_settings_that_exclude_each_other_are_refused(fit):
    with pytest.raises(RecipeError, match="give steps or epochs, not both; got 12 and 3"):
        fit(TABLE, epochs=3)
    with pytest.raises(RecipeError, match=r"objective must be a kind or an object such as vael.IWAE"):
        fit(TABLE, objective=vael.IWAE)  # the class, not one of its objects
    for named in ({"posterior": "full_gaussian"}, {"prior": "gaussian"}, {"likelihood": "gaussian"}):
        with pytest.raises(
            RecipeError, match="a model built by hand has its own latent, likelihood, prior and posterior"
        ):
            fit(TABLE, model=by_hand(), **named)
    run = fit(TABLE)
    with pytest.raises(RecipeError, match="budget must be above 0 seconds, got -1"):
        run.evaluate(budget=-1)
    for verb in (run.evaluate, run.encode, run.reconstruct):
        with pytest.raises(RecipeError, match="other data are one split; leave out split='train'"):
            verb(TABLE, split="train")
    x = torch.zeros(5, 4)
    with pytest.raises(ShapeError, match=r"the noise has shape \(1, 3, 2\), expected \(draws, 5, 2\)"):
        run.model.terms(x, run.model.noise(1, 3, seed=0))


def test_only_the_test_split_is_kept_as_the_runs_evaluation(fit):
    run = fit(TABLE)
    run.evaluate(split="train", draws=2)
    assert not run.folder.evaluation.exists()
    run.evaluate(draws=2)
    assert run.folder.evaluation.exists()


def test_a_number_column_read_as_names_reads_so_again(fit, tmp_path):
    path = tmp_path / "codes.csv"
    path.write_text("code,size\n" + "".join(f"{100 + n},{n % 7}.5\n" for n in range(60)))
    run = fit(str(path), kinds={"code": "id"})
    assert vael.load(run.folder.path).evaluate(draws=2).examples == 12


def test_frozen_parameters_stay_frozen_when_a_run_is_resumed(fit, monkeypatch, tmp_path):
    from vael.errors import Interrupted
    from vael.training import Engine

    model = vael.VAE(
        GaussianPrior(2), Gaussian(MLP(2, [4], 4), scale="shared"), GaussianPosterior(MLP(4, [4], 4))
    )  # fmt: skip
    for parameter in model.likelihood.network.parameters():
        parameter.requires_grad_(False)
    before = model.likelihood.network.head.weight.clone()
    plain = Engine.advance

    def stopped(engine):
        plain(engine)
        if engine.step == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(Engine, "advance", stopped)
    with pytest.raises(Interrupted):
        vael.fit(TABLE, output=tmp_path / "frozen", model=model, steps=12)
    monkeypatch.setattr(Engine, "advance", plain)
    resumed = vael.resume(tmp_path / "frozen", data=TABLE)
    assert torch.equal(resumed.model.likelihood.network.head.weight, before)


def test_new_training_takes_the_evaluation_of_the_old_weights_away(fit):
    run = fit(TABLE)
    run.evaluate(draws=2)
    run.folder.keep_best(run.model.state_dict())
    assert not run.folder.evaluation.exists()


def test_other_data_off_the_grid_or_out_of_range_are_refused(fit):
    run = fit(CENTIMETRES)
    with pytest.raises(DataError, match=r"row 1: 170\.123 cannot be; expected finite numbers on the grid"):
        run.evaluate(np.full((3, 3), 170.123), draws=2)
    shares = fit(np.round(RNG.random(size=(60, 2)), 3))
    with pytest.raises(DataError, match=r"7 cannot be; expected numbers from 0 to 1"):
        shares.encode(np.full((3, 2), 7.0))


def test_the_split_belongs_to_the_datas_fingerprint():
    from vael.data import Frame, fingerprint

    columns = {"x0": np.arange(6.0)}
    one, two = (Frame("t", columns, split=np.array(["train"] * n + ["test"] * (6 - n))) for n in (4, 5))
    assert fingerprint(one) != fingerprint(two)


def test_a_share_that_was_asked_for_is_taken_and_only_a_default_is_capped():
    from vael.data.splits import LARGEST_VALIDATION, split_rows

    asked = split_rows(40_000, given=None, fractions={"validation": 0.3}, seed=0)
    assert len(asked["validation"]) == 12_000
    default = split_rows(80_000, given=None, fractions={}, seed=0)
    assert len(default["validation"]) == LARGEST_VALIDATION
    given = np.array(["train"] * 90 + ["validation"] * 10)
    assert len(split_rows(100, given=given, fractions={"test": 0.3}, seed=0)["test"]) == 27
    few = np.array(["train"] * 9 + ["test"] * 91)
    assert len(split_rows(100, given=few, fractions={}, seed=0)["train"]) == 8


def test_means_of_binarised_pictures_are_probabilities(fit):
    run = fit("digits", likelihood="bernoulli")
    means, draws = run.sample(5, mean=True)["x"], run.sample(5)["x"]
    assert 0 < means.min() < means.max() < 1
    assert set(np.unique(draws)) <= {0, 1}
    assert len(np.unique(run.encode(), axis=0)) > 300  # each picture its own latent


def test_a_law_inside_a_likelihood_is_not_changed_by_set(tmp_path):
    values = np.where(np.random.default_rng(0).random(100) < 0.4, 0.0, np.random.default_rng(1).normal(size=100))
    with pytest.raises(RecipeError, match="a law decides how the data are seen"):
        vael.fit({"a": values}, settings={"likelihood.slab.kind": "laplace"}, steps=1, output=tmp_path / "run")


def test_a_device_without_double_precision_is_refused_in_words(monkeypatch, digits_run):
    def refuse(*shape, **options):
        if options.get("dtype") == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as it has none.")
        return torch.zeros(*shape)

    monkeypatch.setattr("vael.runs.run.torch.empty", refuse)
    with pytest.raises(RecipeError, match=r"device 'mps': cannot be used here \(Cannot convert a MPS Tensor"):
        vael.load(digits_run.folder.path, device="mps")
