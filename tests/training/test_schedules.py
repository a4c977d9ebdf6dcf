"""Learning rate and warm-up as functions of the step."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vael.errors import RecipeError
from vael.training import Training
from vael.training.schedules import learning_rate_at, warm_up_share


@given(steps=st.integers(1, 5000), base=st.floats(1e-6, 1))
def test_the_cosine_falls_from_the_base_to_a_hundredth_of_it_and_never_rises(steps, base):
    rates = [learning_rate_at(step, schedule="cosine", base=base, steps=steps) for step in range(0, steps + 1)]
    assert rates[0] == pytest.approx(base)
    assert rates[-1] == pytest.approx(base / 100)
    assert all(later <= earlier for earlier, later in pairwise(rates))


@given(step=st.integers(0, 10_000))
def test_a_constant_rate_stays(step):
    assert learning_rate_at(step, schedule="constant", base=0.3, steps=100) == 0.3


@given(warm_up=st.integers(1, 500))
def test_a_warm_up_rises_evenly_to_one_and_stays(warm_up):
    shares = [warm_up_share(step, warm_up) for step in range(warm_up + 3)]
    assert shares[:warm_up] == pytest.approx([(step + 1) / warm_up for step in range(warm_up)])
    assert shares[warm_up - 1 :] == [1.0] * 4


def test_without_a_warm_up_the_rate_has_its_full_weight_at_once():
    assert warm_up_share(0, 0) == 1.0


@given(warm_up=st.integers(1, 50), more=st.integers(1, 50), turns=st.integers(1, 4))
def test_a_cycle_begins_the_warm_up_anew_and_differs_in_nothing_from_the_first(warm_up, more, turns):
    cycle = warm_up + more
    shares = [warm_up_share(step, warm_up, cycle=cycle) for step in range(turns * cycle)]
    assert shares == shares[:cycle] * turns
    assert shares[:cycle] == [warm_up_share(step, warm_up) for step in range(cycle)]


def test_the_golden_cycles():
    """T = 12 steps, M = 3 cycles of 4, of which the first 2 rise (Fu et al. 2019, R = 1/2)."""
    training = Training(steps=12, warm_up=2, cycles=3)
    assert training.cycle == 4
    assert [warm_up_share(step, 2, cycle=4) for step in range(12)] == [0.5, 1, 1, 1] * 3
    assert Training(steps=13, warm_up=2, cycles=3).cycle == 5  # ⌈T / M⌉
    assert Training(steps=12, warm_up=2).cycle == 0  # there is no next


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"steps": 2.5}, "steps must be a whole number, got 2.5"),
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"learning_rate": -1.0}, "learning_rate must be above 0, got -1.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0, got nan"),
        ({"clip": float("nan")}, "clip must be at least 0, got nan"),
        ({"patience": -1}, "patience must be at least 0, got -1"),
        ({"schedule": "cosin"}, "schedule must be one of cosine, constant, stages, got 'cosin'"),
        ({"on_nan": "ignore"}, "on_nan must be one of rewind, stop, got 'ignore'"),
        ({"cycles": 0}, "cycles must be at least 1, got 0"),
        ({"cycles": 1.5}, "cycles must be a whole number, got 1.5"),
        ({"cycles": 2}, "2 cycles of 10 steps are 5 steps long, .* got 0"),
        ({"cycles": 2, "warm_up": 5}, "needs a warm_up shorter than that, got 5"),
        ({"lerning_rate": 0.1}, r"unknown key 'lerning_rate'[\s\S]*Did you mean 'learning_rate'"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_its_value(settings, complaint):
    with pytest.raises(RecipeError, match=complaint):
        Training.of({"steps": 10, **settings})


def test_stages_are_each_three_times_as_long_at_the_papers_rates():
    """Eight stages of 1, 3, … 2187 passes; rates 1e-4 · round(10^(1 − i/7), 1) for a base of 1e-3."""
    passes = 3280
    rates = [learning_rate_at(step, schedule="stages", base=1e-3, steps=passes, stages=8) for step in range(passes)]
    expected = [1e-4 * round(10 ** (1 - i / 7), 1) for i in range(8) for _ in range(3**i)]
    assert rates == pytest.approx(expected, rel=1e-12)
    assert learning_rate_at(0, schedule="stages", base=1e-3, steps=5, stages=1) == 1e-3
