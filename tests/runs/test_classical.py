"""Classical models under the same verbs: fitted by gradient or by EM, kept, loaded, evaluated, encoded, reported."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from worlds import Linear

import vael
from vael.evaluation import evaluate
from vael.inference import begin_at, em, principal_components
from vael.models.classical import binary_sparse_coding, factor_analysis, gaussian_mixture, spike_slab_sparse_coding
from vael.posteriors import LinearGaussianPosterior

ROWS = Linear.random(latent=2, observed=5, seed=1).sample(400, seed=2).numpy().astype(np.float32)
AFFINE = {"likelihood.network.hidden": [], "likelihood.scale": "shared", "likelihood.step": 0}


def test_probabilistic_pca_is_a_posterior_kind_and_two_settings(tmp_path):
    """By gradient of its exact log p it comes within 0.02 nats of the maximum that the eigenvalues give."""
    run = vael.fit(
        ROWS, output=tmp_path / "ppca", latent=2, likelihood="gaussian", posterior="linear_gaussian", settings=AFFINE,
        steps=800, learning_rate=0.02,
    )  # fmt: skip
    assert isinstance(run.model.posterior, LinearGaussianPosterior)
    best = principal_components(run.model.double(), run.data.split("train"))
    again = vael.load(tmp_path / "ppca")
    found = evaluate(again.model, run.data.split("train"))
    assert found.evidence.method == "exact"
    assert best - 0.02 < found.evidence.value < best + 1e-4


@pytest.mark.parametrize(
    "model",
    [
        lambda: factor_analysis(5, 2),
        lambda: gaussian_mixture(5, 3),
        lambda: binary_sparse_coding(5, 3),
        lambda: spike_slab_sparse_coding(5, 2),
    ],
)
def test_a_model_fitted_by_em_becomes_a_run_that_rebuilds_itself_and_answers_every_verb(model, tmp_path):
    model = model()
    first = vael.fit(ROWS, model=model, steps=1, output=tmp_path / "first")  # reads, rescales and splits the data
    train = first.data.split("train")
    begin_at(model, train)
    history = em(model, train, steps=200)
    # Adam's one step moves a weight by the learning rate at most.
    vael.fit(ROWS, model=model, steps=1, learning_rate=1e-9, output=tmp_path / "em")
    run = vael.load(tmp_path / "em")
    for name, value in run.model.state_dict().items():
        assert_close(value, model.state_dict()[name], atol=1e-6, rtol=0)
    found = evaluate(run.model, train)
    assert found.evidence.value == pytest.approx(history[-1], abs=1e-4)  # weights rounded to single precision
    assert history[-1] > history[0] + 0.05
    assert run.encode(ROWS).shape == (len(ROWS), run.model.latent)
    assert len(run.sample(7)) > 0
    assert torch.isfinite(torch.tensor(run.evaluate(ROWS).elbo.value))
    assert run.report(data=ROWS).exists()
