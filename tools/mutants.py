"""Plant one mistake at a time in a copy of the package; a test must fail for each.

    python tools/mutants.py [WORD …]      all mutants, or those whose name holds one of the words

The mistakes are those that VAE libraries have been found to make, and the slips that mathematics invites: a sign, a
factor ½, a swapped axis or argument. Each is a text of a source file and its replacement, with the tests that guard
it. First those tests must pass on an untouched copy. Prints mutant → first failing test; exits with 1 when one lives.
"""

# ruff: noqa: T201  a command speaks on stdout

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "vael"
TABLE = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True)
class Mutant:
    """A mistake: `old` stands once in `file`, and `tests` must notice when `new` stands there instead."""

    name: str
    file: str
    old: str
    new: str
    tests: str

    @property
    def path(self) -> Path:
        return SOURCE / self.file

    def source(self) -> str:
        """The file with the mistake in it. Raises ValueError unless `old` stands in it exactly once."""
        text = self.path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.old!r} stands {text.count(self.old)} times in {self.file}.")
        return text.replace(self.old, self.new)


def planted() -> list[Mutant]:
    """The mutants of tools/mutants.toml."""
    return [Mutant(**entry) for entry in tomllib.loads(TABLE.read_text(encoding="utf-8"))["mutant"]]


@dataclass(frozen=True)
class Outcome:
    """What a run of tests came to: the first failing test, or None; and how pytest ended."""

    code: int
    failed: str | None
    tail: str


def tried(tests: list[str], changed: dict[str, str]) -> Outcome:
    """The outcome of `tests` on a copy of the package in which the files of `changed` have other contents."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(SOURCE, Path(folder) / "vael", ignore=shutil.ignore_patterns("__pycache__"))
        for file, text in changed.items():
            (Path(folder) / "vael" / file).write_text(text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--durations=0", *tests],
            cwd=ROOT, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return Outcome(done.returncode, found[1] if found else None, (done.stdout + done.stderr)[-1500:])


def killed(mutant: Mutant) -> tuple[Mutant, Outcome, float]:
    """The mutant, what its tests made of it, and the seconds they took."""
    started = time.perf_counter()
    outcome = tried(mutant.tests.split(), {mutant.file: mutant.source()})
    return mutant, outcome, time.perf_counter() - started


def main(words: list[str]) -> int:
    """Try the mutants whose name holds one of `words`, or all; the exit code."""
    chosen = [mutant for mutant in planted() if not words or any(word in mutant.name for word in words)]
    if not chosen:
        print(f"mutants: none is called by {', '.join(words)}; see {TABLE.name}.")
        return 1
    tests = sorted({test for mutant in chosen for test in mutant.tests.split()})
    healthy = tried(tests, {})
    if healthy.code != 0:
        print(f"mutants: the tests fail on the untouched package.\n{healthy.tail}")
        return 1
    living = 0
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for mutant, outcome, seconds in pool.map(killed, chosen):
            # pytest ends with 1 when a test failed; anything else means that it never came to a verdict.
            dead = outcome.code == 1 and outcome.failed is not None
            living += not dead
            verdict = outcome.failed if dead else f"LIVES (pytest ended with {outcome.code})"
            print(f"{mutant.name} [{mutant.file}] → {verdict}  {seconds:.1f} s", flush=True)
            if outcome.code not in (0, 1):
                print(outcome.tail)
    print(f"{len(chosen)} mutants, {len(chosen) - living} killed, {living} alive")
    return 1 if living else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
