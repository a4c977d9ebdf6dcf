"""The inference gap in its two parts, against the closed forms of the linear-Gaussian model."""

import math

import torch
from torch.testing import assert_close
from worlds import Linear, split_of

from vael import RecipeError, evaluate
from vael.diagnostics import gaps
from vael.inference import SVI

WEIGHT = torch.tensor([[1, 0.5], [0, 1], [1, -1], [0.5, 0]], dtype=torch.float64)
WORLD = Linear(WEIGHT, torch.zeros(4, dtype=torch.float64), 0.25)
X = WORLD.sample(40)
MIDDLE = WEIGHT.T @ WEIGHT + 0.25 * torch.eye(2, dtype=torch.float64)
BEST = 0.5 * (MIDDLE.diagonal().log().sum() - torch.logdet(MIDDLE))  # the gap of the best diagonal q, for every x
SHARP = SVI(steps=600, draws=20)


def test_with_the_best_linear_encoder_all_of_the_gap_is_the_familys():
    """100 draws of one noise: the mean over 40 examples is known to 0.02 nats; the golden gap is 0.020410997260."""
    assert math.isclose(float(BEST), 0.020410997260, abs_tol=1e-12)
    found = gaps(WORLD.model(), split_of(X), WORLD.log_px(X), svi=SHARP)
    assert float(found.amortisation.mean().abs()) < 2e-3
    error = float(found.inference.std()) / 40**0.5
    assert abs(float(found.inference.mean() - BEST)) < 4 * error
    assert error < 0.05


def test_an_encoder_that_says_one_thing_of_every_x_pays_by_amortisation():
    """ELBO(q*) − ELBO(q) = KL(q‖posterior) − KL(q*‖posterior), each in closed form."""
    loc, spread = torch.tensor([0.1, -0.2]).double(), torch.tensor([0.3, 0.4]).double()
    found = gaps(
        WORLD.model(loc, spread), split_of(X), WORLD.log_px(X), svi=SVI(steps=1500, draws=20, learning_rate=0.05)
    )
    covariance = 0.25 * torch.linalg.inv(MIDDLE)
    off = loc - X @ WEIGHT @ torch.linalg.inv(MIDDLE)
    precision = torch.linalg.inv(covariance)
    kl = 0.5 * (
        (precision.diagonal() * spread).sum() + torch.einsum("bi,ij,bj->b", off, precision, off)
        - 2 + torch.logdet(covariance) - spread.log().sum()
    )  # fmt: skip
    difference = found.amortisation - (kl - BEST)
    assert float(difference.mean().abs()) < 4 * float(difference.std()) / 40**0.5 + 2e-3
    assert float(difference.std()) / 40**0.5 < 0.2 < 1 < float((kl - BEST).mean())
    assert_close(found.approximation + found.amortisation, found.inference, atol=1e-9, rtol=0)


def test_a_family_that_holds_the_posterior_has_no_approximation_gap_from_nothing():
    found = gaps(
        WORLD.model_with_full_posterior(), split_of(X[:10]), WORLD.log_px(X[:10]),
        svi=SVI(steps=1500, draws=20, learning_rate=0.05, begin="prior"),
    )  # fmt: skip
    assert float(found.approximation.abs().max()) < 0.02
    assert float(found.amortisation.abs().max()) < 0.02


def test_semi_amortised_steps_climb_from_the_encoder():
    model = WORLD.model(torch.zeros(2).double(), torch.ones(2).double())
    climbed = [
        float(gaps(model, split_of(X), WORLD.log_px(X), svi=SVI(steps=steps, draws=10)).best.mean())
        for steps in (0, 20, 200)
    ]
    assert climbed[0] < climbed[1] < climbed[2] <= float(WORLD.log_px(X).mean()) + 0.05
    assert float(gaps(model, split_of(X), WORLD.log_px(X), svi=SVI(steps=0)).amortisation.abs().max()) < 1e-9


def test_evaluate_shows_them_when_asked():
    found = evaluate(WORLD.model(), split_of(X), gaps=True)
    parts = found.to_json()["gaps"]
    assert math.isclose(
        parts["approximation"]["value"] + parts["amortisation"]["value"], parts["inference"]["value"], abs_tol=1e-9
    )
    assert "inference gap" in str(found)
    assert evaluate(WORLD.model(), split_of(X)).gaps is None


def test_arguments_out_of_range_are_refused():
    for arguments, message in (
        ({"steps": -1}, "at least 0 steps"), ({"begin": "middle"}, "begin must be encoder or prior, got 'middle'"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0, got 0.0"),
    ):  # fmt: skip
        try:
            SVI(**arguments)
        except RecipeError as error:
            assert message in str(error)  # noqa: PT017
        else:
            raise AssertionError(arguments)
