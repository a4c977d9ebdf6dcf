"""Every pair of parts is refused in words before training, or is fitted, reloaded and measured.

A pair that is refused names what does not go with what; none fails otherwise. New members join by being public.
"""

from pathlib import Path

import numpy as np
import pytest

import vael
from vael import RecipeError
from vael.errors import VaelError
from vael.runs.recipe import members

ROWS = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)

# Built by hand from other members, or computed from a model that is linear or of few states.
BY_HAND = {"chain", "ladder", "diffusion", "moved"}
PRIORS = sorted(set(members("prior")) - BY_HAND)
POSTERIORS = sorted(set(members("posterior")) - BY_HAND)
ENCODED = [name for name in POSTERIORS if name not in ("enumerated", "linear_gaussian", "spike_slab", "truncated")]
OBJECTIVES = sorted(members("objective"))

# What must go together, whatever else is refused: a new refusal must not take these away.
SURE = {
    *((prior, posterior) for prior in ("gaussian", "mixture", "vamp", "flow", "autoregressive")
      for posterior in ("gaussian", "full_gaussian", "low_rank_gaussian", "flow", "mixture")),
    ("bernoulli", "bernoulli"), ("categorical", "categorical"), ("hyperspherical", "von_mises_fisher"),
    ("hyperbolic", "wrapped_normal"), ("codes", "quantized"), ("codes", "finite_scalar"),
}  # fmt: skip


def settings_for(posterior: str, objective: str) -> dict[str, object]:
    """What a discrete posterior needs for a gradient under an objective that goes through z."""
    if posterior in ("bernoulli", "categorical") and objective not in ("score", "vimco", "wake_wake"):
        return {"posterior.temperature": 0.7}
    if posterior == "quantized":
        return {"posterior.size": 1, "posterior.codes": 4}
    if posterior == "finite_scalar":
        return {"posterior.levels": [4, 3, 3]}
    return {}


def tried(tmp_path: Path, *, objective: str = "elbo", **parts: str) -> str | None:
    """Fit for three steps, reload, compare; the refusal in words, or None."""
    try:
        run = vael.fit(
            ROWS, latent=3, steps=3, batch=16, objective=objective, output=tmp_path / "run", likelihood="gaussian",
            settings=settings_for(parts.get("posterior", "gaussian"), objective), **parts,
        )  # fmt: skip
    except RecipeError as refusal:
        assert not (tmp_path / "run").exists(), "refused after the run was begun"
        return str(refusal)
    again = vael.load(run.folder.path)
    assert np.array_equal(again.encode(ROWS), run.encode(ROWS))
    one, other = run.evaluate(ROWS, draws=5), again.evaluate(ROWS, draws=5)
    assert one.distortion == other.distortion
    if one.evidence is not None:
        assert one.evidence.value == other.evidence.value
        assert one.elbo.value <= one.evidence.value + 4 * (one.evidence.standard_error or 0) + 1e-6
    else:
        assert one.reasons["evidence"]
    made = run.sample(4)
    assert all(np.isfinite(column).all() for column in made.values())
    return None


@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("prior", PRIORS)
def test_a_prior_and_a_posterior(prior, posterior, tmp_path):
    objective = "elbo" if members("posterior")[posterior].has_density else "reconstruction"
    refusal = tried(tmp_path, prior=prior, posterior=posterior, objective=objective)
    if (prior, posterior) in SURE:
        assert refusal is None
    elif refusal is not None:
        assert len(refusal) > 40


@pytest.mark.parametrize(
    "posterior", [name for name in POSTERIORS if name not in ("enumerated", "spike_slab", "truncated")]
)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_objective_and_a_posterior(objective, posterior, tmp_path):
    prior = {
        "bernoulli": "bernoulli", "categorical": "categorical", "von_mises_fisher": "hyperspherical",
        "wrapped_normal": "hyperbolic", "quantized": "codes", "finite_scalar": "codes",
    }.get(posterior, "gaussian")  # fmt: skip
    refusal = tried(tmp_path, prior=prior, posterior=posterior, objective=objective)
    if posterior == "gaussian":
        assert refusal is None
    elif refusal is not None:
        assert len(refusal) > 40


def test_a_pair_is_refused_by_name(tmp_path):
    with pytest.raises(VaelError, match="UniformSphere, the posterior one of DiagonalGaussian"):
        vael.fit(ROWS, prior="hyperspherical", steps=1, output=tmp_path / "run")
