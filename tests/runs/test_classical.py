"""Classical models under the same verbs: fitted by gradient or by EM, kept, loaded, evaluated, encoded, reported."""

import numpy as np
import pytest
import torch
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
def test_a_model_fitted_by_em_is_a_run_that_rebuilds_itself_and_answers_every_verb(model, tmp_path):
    """As many steps of the training loop as of `em` alone, from one beginning: the same weights, and every verb."""
    alone = model()
    train = vael.fit(ROWS, model=model(), by="em", steps=40, output=tmp_path / "em").data.split("train")
    run = vael.load(tmp_path / "em")
    begin_at(alone, train)
    history = em(alone, train, steps=40, tolerance=-1.0)
    found = evaluate(run.model, train)
    assert found.evidence.value == pytest.approx(history[-1], abs=2e-3)  # weights in single precision at every step
    assert history[-1] > history[0] + 0.05
    assert run.encode(ROWS).shape == (len(ROWS), run.model.latent)
    assert len(run.sample(7)) > 0
    assert torch.isfinite(torch.tensor(run.evaluate(ROWS).elbo.value))
    assert run.report(data=ROWS).exists()


def test_em_stopped_on_the_way_goes_on_to_the_same_weights(tmp_path):
    from vael.errors import Interrupted

    def stop(event):
        if event.get("event") == "line" and event["line"]["step"] == 20:
            raise KeyboardInterrupt

    plain = {"likelihood": "gaussian", "latent": 2, "posterior": "linear_gaussian", "settings": AFFINE, "by": "em"}
    whole = vael.fit(ROWS, steps=40, evaluate_every=10, output=tmp_path / "whole", **plain)
    with pytest.raises(Interrupted):
        vael.fit(ROWS, steps=40, evaluate_every=10, output=tmp_path / "cut", watch=stop, **plain)
    resumed = vael.resume(tmp_path / "cut", data=ROWS)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value)


def test_what_em_cannot_fit_is_refused_before_training(tmp_path):
    with pytest.raises(vael.RecipeError, match="em: needs the model's exact posterior, got GaussianPosterior"):
        vael.fit(ROWS, by="em", output=tmp_path / "no")
    bits = {"prior": "bernoulli", "posterior": "truncated", "likelihood": "gaussian", "settings": AFFINE}
    with pytest.raises(vael.RecipeError, match="keeps states of each example from step to step"):
        vael.fit(ROWS, by="em", latent=6, output=tmp_path / "no", **bits)
    assert not (tmp_path / "no").exists()
