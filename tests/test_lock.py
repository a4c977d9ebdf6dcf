"""The lock: what tools/check_lock.py must refuse, and that the project's own lock passes."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
specification = importlib.util.spec_from_file_location("check_lock", ROOT / "tools" / "check_lock.py")
assert specification is not None
assert specification.loader is not None
check_lock = importlib.util.module_from_spec(specification)
specification.loader.exec_module(check_lock)

GOOD = "numpy==2.4.6 ; python_full_version < '3.99'\nnumpy==9.9 ; python_full_version >= '3.99'\ntorch==2.13.0\n"
INSTALLED = {"torch": "2.13.0+cpu", "numpy": "2.4.6", "pip": "26.0", "vael": "0.1.0"}


def problems(lock: str, installed: dict[str, str]) -> list[str]:
    pins, wrong = check_lock.read_lock(lock)
    return [*wrong, *check_lock.check_pins(pins), *check_lock.check_installed(pins, installed)]


def test_a_good_lock_and_its_environment_pass():
    assert problems(GOOD, INSTALLED) == []


def test_the_projects_own_lock_pins_torch_and_nothing_that_pulls_another():
    pins, wrong = check_lock.read_lock((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    assert wrong == []
    assert check_lock.check_pins(pins) == []


@pytest.mark.parametrize(
    "lock",
    [
        "numpy==2.4.6\n",
        "numpy==2.4.6\ntorch==2.15.0\n",
        "numpy==2.4.6\ntorch>=2.13.0\n",
        "numpy==2.4.6\ntorch==2.13.0 ; sys_platform == 'linux'\n",
    ],
    ids=["no torch", "another torch", "torch from a version on", "torch on one system"],
)
def test_a_lock_without_the_exact_torch_is_refused(lock):
    pins, _ = check_lock.read_lock(lock)
    (problem,) = check_lock.check_pins(pins)
    assert "expected torch==2.13.0" in problem


@pytest.mark.parametrize("name", ["torchvision", "torchaudio", "TorchVision"])
def test_what_pulls_another_torch_is_refused_in_the_lock_and_in_the_environment(name):
    assert any("can pull another torch" in problem for problem in problems(f"{GOOD}{name}==0.28.0\n", INSTALLED))
    assert problems(GOOD, {**INSTALLED, name: "0.28.0"}) == [f"{name.lower()} 0.28.0 is installed; uninstall it."]


@pytest.mark.parametrize("line", ["rich>=15", "rich", "rich==15.*", "rich==15.0,!=15.1"])
def test_a_line_that_pins_no_single_version_is_refused(line):
    _, (problem,) = check_lock.read_lock(f"torch==2.13.0\n{line}\n")
    assert problem.startswith("line 2:")
    assert "does not pin one version" in problem


def test_a_line_that_is_no_requirement_is_named():
    _, (problem,) = check_lock.read_lock("torch==2.13.0\n\n??? # why\n")
    assert problem == "line 3: '???' is no requirement."


def test_an_installed_distribution_missing_from_the_lock_is_named():
    (problem,) = problems(GOOD, {**INSTALLED, "tqdm": "4.70"})
    assert "tqdm 4.70 is installed and not in the lock" in problem


def test_an_installed_distribution_in_another_version_is_named():
    (problem,) = problems(GOOD, {**INSTALLED, "numpy": "2.5.0"})
    assert "numpy 2.5.0 is installed, the lock says ==2.4.6" in problem


def test_a_pin_for_another_python_does_not_count():
    assert problems(GOOD, {**INSTALLED, "numpy": "9.9"}) != []


def test_a_missing_or_other_torch_in_the_environment_is_named():
    assert "torch 2.15.0 is installed, expected 2.13.0." in problems(GOOD, {**INSTALLED, "torch": "2.15.0"})
    assert "torch (none) is installed, expected 2.13.0." in problems(GOOD, {"numpy": "2.4.6"})


def test_names_are_compared_as_package_indexes_do():
    assert problems(f"{GOOD}typing-extensions==4.16.0\n", {**INSTALLED, "Typing_Extensions": "4.16.0"}) == []


def test_the_command_exits_with_one_and_says_why(tmp_path, capsys):
    bad = tmp_path / "bad.txt"
    bad.write_text("torch==2.15.0\n", encoding="utf-8")
    assert check_lock.main([str(bad)]) == 1
    assert "expected torch==2.13.0 alone" in capsys.readouterr().out
