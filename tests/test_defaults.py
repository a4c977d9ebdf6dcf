"""What a person gets who says nothing: networks by the size of the pictures, and where they start."""

import numpy as np
import pytest
import torch

import vael
from vael import defaults
from vael.data import Field, Schema, prepare
from vael.data.infer import infer
from vael.data.sources import read
from vael.evaluation import bounds
from vael.networks import MLP, ConvDecoder, ConvEncoder, Rescaled, RowFeatures
from vael.posteriors import GaussianPosterior
from vael.runs.fit import planned as fully_planned

RNG = np.random.default_rng(0)


def pictures(*shape):
    """Blurred noise around one picture, 0 … 255, `(N, *shape)` bytes."""
    base = RNG.integers(40, 216, shape[1:])
    return np.clip(base + RNG.normal(0, 12, shape), 0, 255).astype(np.uint8)


def planned(source, asked=None):
    """The model a person gets for `source`, and the data."""
    frame = read(source)
    schema = infer(frame, kinds={}, ignore=[], label=[])
    chosen = defaults.choose(schema, asked)
    data = prepare(frame, defaults.with_views(schema, chosen, None), fractions={}, seed=0)
    return defaults.model(data.schema, chosen, latent=3), data


@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        ((1, 8, 8), []),
        ((1, 15, 40), []),
        ((1, 16, 16), [32, 64]),
        ((1, 28, 20), [32, 64, 128]),
        ((3, 8, 8), [32]),
        ((3, 7, 9), []),
        ((3, 32, 32), [32, 64, 128]),
        ((3, 33, 47), [32, 64, 128, 256]),
        ((1, 64, 64), [32, 64, 128, 256]),
        ((3, 256, 256), [16, 32, 64, 128, 256, 256]),
        ((1, 256, 16), [16, 32, 64, 128]),  # the shorter side can be halved four times
        ((64,), []),
    ],
)
def test_pictures_get_convolutions_by_their_size(shape, channels):
    schema = Schema((Field("x", "image", shape=shape, levels=256),))
    assert defaults.channels_of(schema) == channels


@pytest.mark.parametrize(
    ("source", "inner"), [(pictures(30, 9, 11, 3), (3, 9, 11)), (pictures(30, 17, 18), (1, 17, 18))]
)
def test_pictures_are_seen_by_convolutions_between_minus_one_and_one(source, inner):
    model, data = planned(source)
    assert isinstance(model.likelihood.network, ConvDecoder)
    assert isinstance(model.posterior.network, Rescaled)
    assert isinstance(model.posterior.network.network, ConvEncoder)
    assert data.schema.event_shape == inner
    noise = model.noise(2, 4, seed=0)
    assert model.terms(data.split("train").batch(torch.arange(4)), noise).log_px_z.shape == (2, 4)


def test_small_grey_pictures_and_tables_get_mlps():
    assert isinstance(planned("digits")[0].likelihood.network, MLP)
    assert isinstance(planned("iris")[0].posterior.network, RowFeatures | MLP)


@pytest.mark.parametrize("source", [pictures(60, 9, 11, 3), pictures(60, 17, 18), pictures(60, 8, 8)])
def test_a_decoder_starts_at_the_marginal_of_the_training_pictures(source):
    model, data = planned(source)
    before = bounds(model, data.split("train")).means["elbo"]
    defaults.start(model, data.split("train"))
    assert bounds(model, data.split("train")).means["elbo"] > before + 10


def test_categories_of_many_levels_are_learned_numbers():
    words = [f"w{number}" for number in RNG.permutation(np.repeat(np.arange(60), 4))]
    model, _ = planned({"word": words, "size": RNG.normal(size=240)})
    assert isinstance(model.posterior, GaussianPosterior)
    features = model.posterior.network
    assert features.embedding == defaults.EMBEDDING
    assert features.network.inputs == defaults.EMBEDDING + 1
    few = planned({"word": [word[:2] for word in words], "size": RNG.normal(size=240)})[0].posterior.network
    assert (few.embedding, few.network.inputs) == (0, 10 + 1)


def test_a_run_on_odd_colour_pictures_goes_from_fit_to_samples_and_back(tmp_path):
    source = pictures(40, 9, 11, 3)
    run = vael.fit(source, output=tmp_path / "run", latent=3, steps=8, batch=16)
    assert run.recipe["likelihood"]["network"]["kind"] == "conv_decoder"
    again = vael.load(tmp_path / "run")
    assert again.evaluate(source, draws=3).evidence.value == run.evaluate(source, draws=3).evidence.value
    assert again.sample(5)["x"].shape == run.reconstruct(source)["x"][:5].shape


def test_zeros_off_a_grid_go_with_a_law_of_the_whole_line_and_without_one_above_zero(tmp_path):
    rng = np.random.default_rng(0)
    amounts = np.where(rng.random(200) < 0.4, 0.0, np.exp(rng.normal(size=200)) * 3.1234567)
    run = vael.fit({"a": amounts}, likelihood="gaussian", latent=1, steps=2, output=tmp_path / "run")
    assert run.split_of({"a": run.sample(100)["a"]}).x.shape == (100, 1)  # none is below zero
    with pytest.raises(vael.RecipeError, match=r"Gamma has no finite density at 0; spiked gives it a probability"):
        vael.fit({"a": amounts}, likelihood="gamma", latent=1, steps=2)


def test_a_table_starts_at_the_linear_model_of_its_columns():
    rng = np.random.default_rng(0)
    cause = rng.normal(size=300)
    source = {f"c{number}": np.exp(cause + 0.2 * rng.normal(size=300)) for number in range(4)}
    source["kind"] = np.where(cause > 0, "high", "low")
    torch.manual_seed(0)
    model, data = planned(source)
    split = data.split("train")
    marginal = model.likelihood.marginal(split.x, torch.ones_like(split.x, dtype=torch.bool))
    model.likelihood.network.begin_affine(torch.zeros(marginal.numel(), 3), marginal.flatten())
    without = bounds(model, split).means["elbo"]
    defaults.start(model, split)
    assert bounds(model, split).means["elbo"] > without + 2  # columns of one cause say each other


def test_a_table_is_looked_at_more_often_than_pictures():
    table, digits = fully_planned("iris").training, fully_planned("digits").training
    assert (table.evaluate_every, table.patience) == defaults.LOOKS_AT_A_TABLE
    assert (digits.evaluate_every, digits.patience) == defaults.LOOKS
