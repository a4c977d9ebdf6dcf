"""Check that constraints.txt keeps an install small, importable and repeatable, and that this environment follows it.

    python tools/check_lock.py [constraints.txt]

torch must be pinned to one version and be installed in it; torchvision and torchaudio, whose wheels can pull another
torch, must be neither locked nor installed; every installed distribution must be in the lock at its version. Exits
with 1 otherwise.
"""

# ruff: noqa: T201  a command speaks on stdout

import re
import sys
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

TORCH = "2.13.0"
UNWANTED = ("torchvision", "torchaudio")
# What carries the environment or wrote the lock, and the project itself.
OUTSIDE = ("pip", "setuptools", "wheel", "uv", "vael")

Lock = dict[str, list[Requirement]]


def plain(name: str) -> str:
    """A distribution's name as package indexes compare it: `Typing_Extensions` is `typing-extensions`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(text: str) -> tuple[Lock, list[str]]:
    """The pins of a lock by name, one for each marker, and what is wrong with its lines."""
    pins: Lock = {}
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        content = line.split("#")[0].strip()
        if not content:
            continue
        try:
            pin = Requirement(content)
        except InvalidRequirement:
            problems.append(f"line {number}: {content!r} is no requirement.")
            continue
        if not re.fullmatch(r"==[^*,]+", str(pin.specifier)):
            problems.append(f"line {number}: {content!r} does not pin one version; expected {pin.name}==VERSION.")
        pins.setdefault(plain(pin.name), []).append(pin)
    return pins, problems


def check_pins(pins: Lock) -> list[str]:
    """What is wrong with the lock by itself: torch's pin, and packages that have no business in it."""
    problems = []
    held = [str(pin) for pin in pins.get("torch", [])]
    if held != [f"torch=={TORCH}"]:
        found = ", ".join(held) or "no pin of torch"
        problems.append(f"the lock holds {found}, expected torch=={TORCH} alone. Run `make lock`.")
    problems += [
        f"the lock holds {name}, which can pull another torch. Take it out." for name in UNWANTED if name in pins
    ]
    return problems


def check_installed(pins: Lock, installed: Mapping[str, str]) -> list[str]:
    """Where the environment departs from the lock. installed: version by name."""
    versions = {plain(name): version for name, version in installed.items()}
    problems = []
    if versions.get("torch", "").split("+")[0] != TORCH:
        problems.append(f"torch {versions.get('torch', '(none)')} is installed, expected {TORCH}.")
    problems += [f"{name} {versions[name]} is installed; uninstall it." for name in UNWANTED if name in versions]
    for name, version in sorted(versions.items()):
        if name in OUTSIDE or name in UNWANTED:
            continue
        applying = [pin for pin in pins.get(name, []) if pin.marker is None or pin.marker.evaluate()]
        if not applying:
            problems.append(f"{name} {version} is installed and not in the lock. Uninstall it, or run `make lock`.")
        # A pin of 2.13.0 also means 2.13.0+cpu, the same release built for another device.
        elif not any(pin.specifier.contains(version, prereleases=True) for pin in applying):
            wanted = ", ".join(str(pin.specifier) for pin in applying)
            problems.append(f"{name} {version} is installed, the lock says {wanted}. Install with -c constraints.txt.")
    return problems


def main(arguments: list[str]) -> int:
    """Print what was checked and what is wrong; the exit code."""
    path = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent / "constraints.txt"
    pins, problems = read_lock(path.read_text(encoding="utf-8"))
    installed = {found.name: found.version for found in distributions()}
    problems += check_pins(pins) + check_installed(pins, installed)
    print(f"{path.name}: {len(pins)} distributions locked, {len(installed)} installed here;")
    print(f"  torch pinned to {TORCH}, no {' or '.join(UNWANTED)}, everything installed in its locked version")
    for problem in problems:
        print(f"  wrong: {problem}")
    print(f"{len(problems)} problems" if problems else "all as it should be")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
