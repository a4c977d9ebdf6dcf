"""What a history tells: gains, rewinds, a warm-up that never ended."""

import pytest

from vael.diagnostics import course


def lines(*bounds, every=100, part="validation"):
    return [
        {"step": every * (place + 1), "train": {"elbo": bound}, part: {"elbo": bound}, "seconds": float(place)}
        for place, bound in enumerate(bounds)
    ]


def test_the_late_gain_is_that_of_the_last_fifth_of_the_steps():
    found = course(lines(-100, -50, -40, -35, -34, -33, -32, -31, -28, -27), {"steps": 1000})
    assert (found.late_from, found.late_gain, found.whole_gain, found.best_last) == (800, 4, 73, True)
    assert (found.step, found.seconds) == (1000, 9.0)


def test_a_bound_that_fell_again_was_best_before():
    found = course(lines(-100, -50, -40, -41, -42), {"steps": 500})
    assert not found.best_last
    assert found.late_gain == 0


def test_two_looks_are_a_gain_and_one_is_none():
    assert course(lines(-100, -50), {"steps": 200}).late_gain == 50
    found = course(lines(-100), {"steps": 100})
    assert (found.late_gain, found.whole_gain) == (None, None)
    assert course([], {"steps": 100}).step == 0


def test_without_validation_rows_training_speaks():
    found = course([{"step": 5, "train": {"elbo": -3.0}}, {"step": 10, "train": {"elbo": -1.0}}], {"steps": 10})
    assert found.whole_gain == 2


def test_rewinds_are_counted_and_the_last_one_says_how_much_is_left():
    broken = [{"step": 100, "not_finite": name, "at_step": 120, "slowdown": s} for name, s in (("a", 0.5), ("b", 0.25))]
    found = course([*lines(-3, -2), *broken], {"steps": 200})
    assert (found.rewinds, found.slowdown, found.broken) == (2, 0.25, "b")


@pytest.mark.parametrize(("warm_up", "warmed"), [(0, True), (200, True), (201, False)])
def test_a_warm_up_ends_with_its_last_step(warm_up, warmed):
    assert course(lines(-3, -2), {"steps": 200, "warm_up": warm_up}).warmed == warmed
