"""Kill a training run with SIGKILL again and again, resume it each time, and compare with one that was left alone.

    python benchmarks/kill.py [--kills 20] [--steps 6000]

Each trial starts `vael fit` in a process of its own, waits for its first checkpoint and then a random time, kills it,
resumes it to the end, and compares model.safetensors and checkpoint/last.safetensors byte by byte with those of the
uninterrupted run. One torch thread. Prints a line a trial and a summary; exits 1 if anything differs.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

VAEL = [sys.executable, "-m", "vael"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(folder: Path, steps: int, every: int) -> list[str]:
    """`vael fit` on digits, evaluated every `every` steps, which is no whole number of epochs."""
    asked = ["--steps", str(steps), "--set", f"training.evaluate_every={every}", "--set", "training.patience=0"]
    return [*VAEL, "fit", "digits", "-o", str(folder), "--quiet", *asked]


def finished(arguments: list[str]) -> None:
    done = subprocess.run(arguments, env=ENVIRONMENT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}")


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def trial(folder: Path, steps: int, every: int, longest: float) -> dict | None:
    """One run killed at a random moment after its first checkpoint, then resumed; None if it was over by then."""
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = subprocess.Popen(command(folder, steps, every), env=ENVIRONMENT, **silent)
    while not (folder / "history.jsonl").exists():
        if started.poll() is not None:
            sys.exit(f"{folder}: the run ended by itself before its first evaluation, exit code {started.returncode}")
        time.sleep(0.01)
    time.sleep(random.uniform(0, longest))
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    if json.loads((folder / "manifest.json").read_text())["state"] == "finished":
        return None
    before = [line["step"] for line in lines(folder) if "step" in line]
    finished([*VAEL, "fit", "--resume", "-o", str(folder), "--quiet"])
    after = lines(folder)
    resumed = next((line["resumed_at"] for line in after if "resumed_at" in line), None)
    return {"resumed_at": resumed, "last_seen": before[-1], "lines": [line["step"] for line in after if "step" in line]}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument("--steps", type=int, default=3000)
    arguments.add_argument("--every", type=int, default=137)
    asked = arguments.parse_args()
    random.seed(0)
    wrong = 0
    with tempfile.TemporaryDirectory() as home:
        whole = Path(home) / "whole"
        started = time.perf_counter()
        finished(command(whole, asked.steps, asked.every))
        longest = 0.9 * (lines(whole)[-1]["seconds"] - lines(whole)[0]["seconds"])
        files = ["model.safetensors", "checkpoint/last.safetensors"]
        seconds = time.perf_counter() - started
        print(
            f"uninterrupted: {asked.steps} steps, {seconds:.1f} s; a checkpoint every {asked.every}, an epoch 9.8 steps"
        )
        middle = 0
        number = 0
        while number < asked.kills:
            folder = Path(home) / f"killed-{time.monotonic_ns()}"
            found = trial(folder, asked.steps, asked.every, longest)
            if found is None:  # the run was over before the kill came
                continue
            number += 1
            same = all((folder / name).read_bytes() == (whole / name).read_bytes() for name in files)
            repeated = found["last_seen"] - found["resumed_at"]  # evaluations seen after the checkpoint it resumed from
            full = found["lines"] == [line["step"] for line in lines(whole)]
            good = same and full and found["resumed_at"] > 0 and 0 <= repeated <= asked.every
            epoch = found["resumed_at"] * 128 / 1258
            middle += epoch % 1 > 0.01
            wrong += not good
            print(
                f"kill {number:2}: resumed_at {found['resumed_at']:5} (epoch {epoch:.2f}), "
                f"history whole {full}, bytes equal {same}",
                flush=True,
            )
        print(f"{asked.kills - wrong} of {asked.kills} ended with the same bytes; {middle} resumed inside an epoch")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
