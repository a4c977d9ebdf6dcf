"""Encode a folder of Parquet files by one process, by two ranks of torchrun and by Ray; kill it half-way and go on.

    python benchmarks/bulk.py [--rows 10000000] [--files 16] [--columns 16] [--hidden 32] [--engines process,ranks,ray]

Writes the rows once under --folder, fits a small model on them with --stream, then encodes them by each engine: rows a
second of the whole command, start-up and all, and the peak resident memory of its largest process, and of all of them
together where they are children of one command (sampled every 50 ms). Last, one process is killed with SIGKILL half-way
and the command is given again: the outputs are compared byte by byte with those of an uninterrupted one. One torch
thread a process. Prints a Markdown table; exits with 1 if an output differs.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

VAEL = ["-m", "vael"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
GROUP = 62_500


def write_rows(folder: Path, rows: int, files: int, columns: int) -> None:
    """`rows` rows on a bent sheet of four dimensions, float32, in `files` files of groups of 62,500 rows."""
    folder.mkdir(parents=True, exist_ok=True)
    slopes = np.random.default_rng(1).normal(size=(4, columns)).astype(np.float32)
    for number in range(files):
        path = folder / f"part-{number:03}.parquet"
        if path.exists():
            continue
        generator, left = np.random.default_rng([0, number]), rows // files
        form = pa.schema([(f"c{column}", pa.float32()) for column in range(columns)])
        aside = path.with_suffix(".part")
        with parquet.ParquetWriter(aside, form) as writer:
            while left:
                some = min(GROUP, left)
                left -= some
                z = generator.normal(size=(some, 4)).astype(np.float32)
                x = np.tanh(z @ slopes) + 0.3 * generator.normal(size=(some, columns)).astype(np.float32)
                table = pa.table({f"c{column}": x[:, column] for column in range(columns)})
                writer.write_table(table.cast(form), row_group_size=some)
        aside.rename(path)


def children(pid: int) -> list[int]:
    """The process and all its descendants, as Linux tells."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{one}/task").iterdir():
                found += [int(word) for word in (thread / "children").read_text().split()]
    return found


def resident(pid: int) -> int:
    """Resident memory of a process in KiB; 0 when it is gone."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1])
    return 0


def timed(arguments: list[str]) -> tuple[float, float, float]:
    """Seconds of a command, and peak MiB of its largest process and of all its processes together."""
    started = time.perf_counter()
    process = subprocess.Popen(arguments, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    largest = together = 0
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.append(process.stderr.read()))
    reader.start()
    while process.poll() is None:
        sizes = [resident(pid) for pid in children(process.pid)]
        largest, together = max(largest, *sizes), max(together, sum(sizes))
        time.sleep(0.05)
    reader.join()
    if process.returncode:
        sys.exit(f"{' '.join(arguments)}: exit code {process.returncode}\n{said[0][-3000:]}")
    return time.perf_counter() - started, largest / 1024, together / 1024


def killed_half_way(arguments: list[str], output: Path, files: int) -> int:
    """Start a command, kill it when half of its outputs are there; how many whole outputs it left."""
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(arguments, env=ENVIRONMENT, **silent)
    while len(list(output.glob("*.parquet"))) < files // 2 or not list(output.glob(".*.part")):
        if process.poll() is not None:
            sys.exit(f"{' '.join(arguments)}: was over before it could be killed, exit code {process.returncode}")
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return len(list(output.glob("*.parquet")))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rows", type=int, default=10_000_000)
    arguments.add_argument("--files", type=int, default=16)
    arguments.add_argument("--columns", type=int, default=16)
    arguments.add_argument("--hidden", type=int, default=32)
    arguments.add_argument("--engines", default="process,ranks", help="of process, ranks and ray")
    arguments.add_argument("--folder", type=Path, default=Path("/tmp/vael-bulk"))
    asked = arguments.parse_args()
    home = asked.folder
    data, run = home / f"rows-{asked.rows}-{asked.columns}", home / "run"
    write_rows(data, asked.rows, asked.files, asked.columns)
    shutil.rmtree(run, ignore_errors=True)
    width = [f"--set={place}.network.hidden=[{asked.hidden}]" for place in ("posterior", "likelihood")]
    fit = ["fit", str(data), "--stream", "-o", str(run), "--steps", "300", "--latent", "4", "--quiet", *width]
    timed([sys.executable, *VAEL, *fit])
    ranks = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    starts = {"process": VAEL, "ranks": [*ranks, *VAEL], "ray": VAEL}
    outputs: dict[str, Path] = {}
    print("| engine | seconds | rows/s | peak MiB, largest process | peak MiB, all processes |")
    print("| --- | --- | --- | --- | --- |")
    for engine in asked.engines.split(","):
        outputs[engine] = home / f"codes-{engine}"
        shutil.rmtree(outputs[engine], ignore_errors=True)
        more = ["--engine", "ray"] if engine == "ray" else []
        encode = ["encode", str(run), str(data), "-o", str(outputs[engine]), *more]
        seconds, largest, together = timed([sys.executable, *starts[engine], *encode])
        rate = asked.rows / seconds
        print(f"| {engine} | {seconds:.1f} | {rate:,.0f} | {largest:.0f} | {together:.0f} |", flush=True)
    output = home / "codes-killed"
    shutil.rmtree(output, ignore_errors=True)
    encode = [sys.executable, *VAEL, "encode", str(run), str(data), "-o", str(output)]
    left = killed_half_way(encode, output, asked.files)
    seconds, _, _ = timed(encode)
    print(f"killed with {left} of {asked.files} files whole; the rest took {seconds:.1f} s")
    outputs["killed"] = output
    first = next(iter(outputs.values()))
    names = sorted(path.name for path in first.iterdir())
    wrong = 0
    for folder in outputs.values():
        there = sorted(path.name for path in folder.iterdir())
        wrong += there != names or any((folder / name).read_bytes() != (first / name).read_bytes() for name in names)
    print(f"{len(outputs) - wrong} of {len(outputs)} folders hold the same bytes")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
