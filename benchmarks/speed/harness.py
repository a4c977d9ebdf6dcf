"""Rows and pieces of work, each row timed in processes of its own that take turns.

A piece of work is a list of rows that all do the same thing. In a round every row runs once, in a new process, one row
directly after the other, so that a slow spell of the machine meets all of them. This module imports nothing heavy:
what a row needs, it imports itself, so that no row's memory or start-up holds another's packages.
"""

import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

MIB = 2**20
SEED = "VAEL_BENCH_SEED"  # in a row's environment: the number of its round


class LeftOut(Exception):
    """A row that cannot run here, and why, in words."""


@dataclass(frozen=True)
class Row:
    """One way to do the work.

    job: How much of it to do → {"seconds": for all of that, "cpu": likewise of the processor, and perhaps "loss": in
        nats, "first": seconds of the first step, "peak": MiB where it is not this process's}. Raises LeftOut where it
        cannot.
    needs: Packages without which it is left out.
    """

    name: str
    job: Callable[[int], dict[str, float]]
    says: str
    needs: tuple[str, ...] = ("torch",)


@dataclass(frozen=True)
class Piece:
    """Rows that do the same work.

    count: How much of it a sample does (steps, images …). scale: Times seconds for one of these, a figure in `unit`.
    beside: Rows whose times the others are divided by. losses: What the rows' "loss" is, or "" where there is none.
    """

    name: str
    title: str
    work: str
    rows: tuple[Row, ...]
    count: int
    scale: float
    unit: str
    beside: tuple[str, ...]
    losses: str = ""

    def row(self, name: str) -> Row:
        """The row called `name`. Raises KeyError when there is none."""
        return {row.name: row for row in self.rows}[name]


@dataclass(frozen=True)
class Found:
    """What a row's samples came to: figures in the piece's unit, or why there are none."""

    values: tuple[float, ...] = ()
    peak: float = float("nan")  # MiB, the largest of all samples
    cpu: float = float("nan")  # the processor's share, the least of all samples
    losses: tuple[float, ...] = ()  # of each sample, which has a seed of its own
    first: float | None = None
    left_out: str = ""

    @property
    def least(self) -> float:
        return min(self.values, default=float("nan"))

    @property
    def middle(self) -> float:
        return median(self.values) if self.values else float("nan")

    @property
    def most(self) -> float:
        return max(self.values, default=float("nan"))


def peak_memory(*, children: bool = False) -> float:
    """Largest resident memory so far of this process, or of the largest of its ended children; MiB."""
    status = Path("/proc/self/status")
    if status.is_file() and not children:  # getrusage would count what the parent held when it forked
        held = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        if held:
            return int(held[0]) / 1024
    import resource  # not on Windows

    whose = resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF
    return resource.getrusage(whose).ru_maxrss / (MIB if sys.platform == "darwin" else 1024)


class Watch:
    """Wall and processor seconds since it was made; with `children`, the processor's are those of ended children."""

    def __init__(self, *, children: bool = False) -> None:
        self.children = children
        self.wall, self.processor = time.perf_counter(), self._processor()

    def _processor(self) -> float:
        spent = os.times()
        return spent.children_user + spent.children_system if self.children else time.process_time()

    def read(self) -> dict[str, float]:
        """{"seconds": of the clock on the wall, "cpu": of all threads of the process}."""
        return {"seconds": time.perf_counter() - self.wall, "cpu": self._processor() - self.processor}


def missing(needs: Sequence[str]) -> str:
    """Which of the packages are not installed, in words; "" where all are."""
    gone = [name for name in needs if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(gone)}" if gone else ""


def sample(row: Row, count: int) -> dict[str, Any]:
    """One sample of a row, in this process."""
    gone = missing(row.needs)
    if gone:
        return {"left_out": gone}
    try:
        found = row.job(count)
        return {"peak": peak_memory(), **found}
    except LeftOut as reason:
        return {"left_out": str(reason)}


def in_process(command: Sequence[str], threads: int, seed: int = 0) -> dict[str, Any]:
    """What `command` printed as JSON on its last line, run with so many threads; a failure is a row left out."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), SEED: str(seed)}
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        return {"left_out": f"failed with exit code {done.returncode}: {said[-1].strip() if said else 'no message'}"}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure(
    piece: Piece, rows: Sequence[Row], *, rounds: int, threads: int, count: int, child: str
) -> dict[str, Found]:
    """All samples of `rows`, interleaved. child: The script that runs one row, with `--child piece row --count n`."""
    samples: dict[str, list[dict[str, Any]]] = {row.name: [] for row in rows}
    for turn in range(rounds):
        for row in rows:
            if any("left_out" in earlier for earlier in samples[row.name]):
                continue
            command = [child, "--child", piece.name, row.name, "--count", str(count)]
            got = in_process(command, threads, seed=turn)
            samples[row.name].append(got)
            figure = got.get("left_out") or f"{got['seconds'] / count * piece.scale:.4g} {piece.unit}"
            print(f"{piece.name}, {threads} thread(s), round {turn + 1}: {row.name}: {figure}", file=sys.stderr)
    return {name: summary(piece, got, count) for name, got in samples.items()}


def seed() -> int:
    """The seed of this process's row: weights, order and draws of training depend on it."""
    return int(os.environ.get(SEED, "0"))


def summary(piece: Piece, samples: Sequence[dict[str, Any]], count: int) -> Found:
    """The samples of one row as one finding; a reason to leave it out wins."""
    reasons = [one["left_out"] for one in samples if "left_out" in one]
    if reasons:
        return Found(left_out=reasons[0])
    return Found(
        values=tuple(one["seconds"] / count * piece.scale for one in samples),
        peak=max(one["peak"] for one in samples),
        cpu=min((one["cpu"] / count * piece.scale for one in samples if "cpu" in one), default=float("nan")),
        losses=tuple(one["loss"] for one in samples if "loss" in one),
        first=min((one["first"] for one in samples if "first" in one), default=None),
    )


def machine() -> str:
    """Processor, cores, memory and versions, in a line; and how busy the machine was."""
    from importlib.metadata import PackageNotFoundError, version

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    packages = []
    for name in ("torch", "numpy", "pythae", "jax", "lightning"):
        try:
            packages.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            packages.append(f"{name} not installed")
    parts = [f"{processor()}, {cores} core(s)"]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        parts.append(f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB")
    parts += [f"{platform.system()}, Python {platform.python_version()}", *packages]
    if hasattr(os, "getloadavg"):
        parts.append(f"load before {os.getloadavg()[0]:.1f}")
    return ", ".join(parts)


def processor() -> str:
    """The processor's name, as the system gives it."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        names = [line.split(":")[1].strip() for line in listing.read_text().splitlines() if line.startswith("model n")]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
