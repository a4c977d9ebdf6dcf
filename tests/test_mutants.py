"""The mistakes that `make mutants` plants: each can be planted, and names tests that are there."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("mutants", ROOT / "tools" / "mutants.py")
mutants = importlib.util.module_from_spec(spec)
sys.modules["mutants"] = mutants  # a dataclass looks its module up
spec.loader.exec_module(mutants)
PLANTED = mutants.planted()


@pytest.mark.parametrize("mutant", PLANTED, ids=lambda mutant: mutant.name)
def test_a_mutant_stands_in_its_file_once_and_compiles(mutant):
    compile(mutant.source(), mutant.file, "exec")
    assert mutant.old != mutant.new
    for test in mutant.tests.split():
        assert (ROOT / test.split("::")[0]).is_file()


def test_no_two_mutants_are_one():
    assert len({mutant.name for mutant in PLANTED}) == len(PLANTED)
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in PLANTED}) == len(PLANTED)


def test_a_mutant_whose_text_has_gone_is_named():
    with pytest.raises(ValueError, match="gone: 'no such text' stands 0 times"):
        mutants.Mutant("gone", "units.py", "no such text", "", "tests/test_units.py").source()


def test_a_planted_mistake_is_killed_by_name_and_a_harmless_change_lives():
    wrong = mutants.Mutant("wrong", "units.py", "math.log(2.0)", "math.log(3.0)", "tests/test_units.py")
    _, outcome, _ = mutants.killed(wrong)
    assert outcome.code == 1
    assert outcome.failed.startswith("tests/test_units.py::")
    same = mutants.Mutant("same", "units.py", "math.log(2.0)", "math.log(4.0) / 2", "tests/test_units.py")
    assert mutants.killed(same)[1].code == 0
