"""How time and memory grow: with examples, features, latents, draws and batch. `make bench-growth`.

    python benchmarks/speed/growth.py [--only examples features] [--write docs/performance.md]

Every point is a process of its own on one thread, and its seconds are the processor's, which a busy machine does not
stretch. The exponent p of time ∝ nᵖ is fitted by least squares on logarithms over the upper decade, where what does
not grow has ceased to matter. Memory is the peak above what was resident before the work, once torch and vael are
imported.
"""

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import LeftOut, Watch, in_process, machine, missing, peak_memory
from page import number, put

Job = Callable[[int], dict[str, float]]


@dataclass(frozen=True)
class Curve:
    """One quantity against one size.

    job: n → {"cpu": seconds}, and "before": MiB resident before the work. sizes: Values of n. unit: Of the seconds, for
        the axis. expected: The exponent of time that the design promises, or None where it promises none.
    """

    name: str
    says: str
    job: Job
    sizes: tuple[int, ...]
    unit: str
    expected: float | None = 1.0


def resident() -> float:
    """Largest resident memory so far with everything imported and no data, MiB."""
    import torch

    layer = torch.nn.Linear(8, 8)  # what the first product and the first gradient load
    layer(torch.zeros(8, 8)).sum().backward()
    torch.optim.AdamW(layer.parameters(), fused=True).step()  # which loads some 70 MiB of torch
    return peak_memory()


def per_step(engine: Any, *, least: float = 0.5, warm: int = 3) -> float:
    """Seconds a step, over as many steps as take `least` seconds."""
    for _ in range(warm):
        engine.advance()
    watch, steps = Watch(), 0
    while steps < 3 or watch.read()["cpu"] < least:
        engine.advance()
        steps += 1
    return watch.read()["cpu"] / steps


def epoch(n: int) -> dict[str, float]:
    before = resident()
    from tabular import BATCH, rows, vael_model
    from work import asked_training, vael_engine, vael_split

    split = vael_split(rows(n))
    steps = -(-n // BATCH)
    engine = vael_engine(vael_model(), split, asked_training(steps + 20, batch=BATCH))
    for _ in range(20):
        engine.advance()
    watch = Watch()
    for _ in range(steps):
        engine.advance()
    return {**watch.read(), "before": before}


def write_table(path: Path, n: int, *, group: int = 20_000) -> None:
    """n rows of 16 columns in one Parquet file, row group by row group, so that writing holds no more than one."""
    import pyarrow
    from pyarrow import parquet
    from tabular import COLUMNS
    from work import np

    rng, mixing = np.random.default_rng(0), np.random.default_rng(1).standard_normal((4, COLUMNS))
    schema = pyarrow.schema([(f"x{column}", pyarrow.float32()) for column in range(COLUMNS)])
    with parquet.ParquetWriter(path, schema) as writer:
        for first in range(0, n, group):
            some = min(group, n - first)
            x = rng.standard_normal((some, 4)) @ mixing + 0.3 * rng.standard_normal((some, COLUMNS))
            columns = [pyarrow.array(column) for column in x.astype(np.float32).T]
            writer.write_table(pyarrow.table(columns, schema=schema), row_group_size=group)


def fit_from_disk(n: int, **asked: Any) -> dict[str, float]:
    """`vael.fit` on a folder of Parquet from reading to the last checkpoint: one epoch, batch 256."""
    import inspect

    import vael

    if not set(asked) <= set(inspect.signature(vael.fit).parameters):
        raise LeftOut(f"this vael.fit has no {', '.join(asked)}")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "rows.parquet"
        write_table(place, n)
        before, watch = resident(), Watch()
        steps = -(-n // 256)
        vael.fit(
            place,
            output=Path(folder) / "run",
            latent=4,
            steps=steps,
            batch=256,
            patience=0,
            evaluate_every=steps,
            **asked,
        )
        return {**watch.read(), "before": before}


def encoding(n: int) -> dict[str, float]:
    before = resident()
    from tabular import rows, vael_model
    from work import vael_split

    from vael.applications import encode

    model, split = vael_model(), vael_split(rows(n))
    watch = Watch()
    encode(model, split)
    return {**watch.read(), "before": before}


def bound(n: int) -> dict[str, float]:
    before = resident()
    from tabular import rows, vael_model
    from work import vael_split

    from vael.evaluation import bounds

    model, split = vael_model(), vael_split(rows(n))
    watch = Watch()
    bounds(model, split)
    return {**watch.read(), "before": before}


def training_step(columns: int, hidden: int, latent: int, batch: int) -> dict[str, float]:
    """Seconds a step of a table's VAE of these sizes, on random rows."""
    before = resident()
    from tabular import vael_model
    from work import asked_training, torch, vael_engine, vael_split

    split = vael_split(torch.randn(max(2 * batch, 1024), columns))
    engine = vael_engine(vael_model(columns, hidden, latent), split, asked_training(10**6, batch=batch))
    return {"cpu": per_step(engine), "before": before}


def log_px(draws: int) -> dict[str, float]:
    before = resident()
    from work import torch, vael_mlp, vael_split

    from vael.evidence import Importance

    x = torch.randint(0, 2, (10, 784), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    model, split, how = vael_mlp("Bernoulli"), vael_split(x), Importance(draws=draws)
    how(model, split)
    watch, times = Watch(), 0
    while times < 1 or watch.read()["cpu"] < 0.5:
        how(model, split)
        times += 1
    return {"cpu": watch.read()["cpu"] / times, "before": before}


EXAMPLES = (10**3, 10**4, 10**5, 10**6, 3 * 10**6, 10**7)
CURVES = {
    curve.name: curve
    for curve in (
        Curve("examples", "an epoch of training, small table, batch 256", epoch, EXAMPLES, "s"),
        Curve("from disk", "`fit` of a Parquet file held in memory, one epoch", fit_from_disk, EXAMPLES[2:5], "s"),
        Curve(
            "streamed",
            "`fit` of a Parquet file with `--stream`, one epoch",
            lambda n: fit_from_disk(n, stream=True),
            EXAMPLES[2:],
            "s",
        ),
        Curve("encoding", "encoding N rows of 16 columns", encoding, EXAMPLES, "s"),
        Curve("bound", "the ELBO of N rows, one draw", bound, (10**3, 10**4, 30_000, 10**5), "s"),
        Curve(
            "features",
            "a training step, F columns, 128 hidden units, batch 128",
            lambda n: training_step(n, 128, 8, 128),
            (16, 64, 256, 1024, 2048, 4096, 8192, 16384),
            "s a step",
        ),
        Curve(
            "latents",
            "a training step, D latents, 64 columns, 128 hidden units, batch 128",
            lambda n: training_step(64, 128, n, 128),
            (2, 8, 32, 128, 256, 512, 1024, 2048),
            "s a step",
        ),
        Curve(
            "batch",
            "a training step, batch B, small table",
            lambda n: training_step(16, 32, 4, n),
            (16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536),
            "s a step",
        ),
        Curve("draws", "log p(x) of 10 images, K draws", log_px, (10, 100, 1000, 3000, 10_000), "s"),
    )
}


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """The slope of log value over log size in the upper decade, by least squares; NaN for fewer than two points."""
    points = [(math.log(n), math.log(v)) for n, v in zip(sizes, values, strict=True) if 10 * n >= max(sizes) and v > 0]
    if len(points) < 2:
        return float("nan")
    mean_x, mean_y = (sum(side) / len(points) for side in zip(*points, strict=True))
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


def measured(curve: Curve, *, most: int) -> dict[int, dict[str, Any]]:
    """n → what its process said; it ends at the first size that is left out."""
    found: dict[int, dict[str, Any]] = {}
    for n in curve.sizes:
        if n > most and curve.unit == "s":
            continue
        got = in_process([__file__, "--child", curve.name, str(n)], threads=1)
        found[n] = got
        print(f"{curve.name} {n}: {got.get('left_out') or got}", file=sys.stderr)
        if "left_out" in got:
            break
    return found


def row(curve: Curve, found: dict[int, dict[str, Any]]) -> str:
    """A curve's line of the table."""
    good = {n: got for n, got in found.items() if "cpu" in got}
    if not good:
        reason = next((got["left_out"] for got in found.values()), "all of its sizes are larger than asked for")
        return f"| {curve.says} | left out: {reason} | | | | |"
    sizes, seconds = list(good), [got["cpu"] for got in good.values()]
    memory = [max(got["peak"] - got["before"], 0.0) for got in good.values()]
    promised = "–" if curve.expected is None else f"≤ {curve.expected:g}"
    return (
        f"| {curve.says} | {sizes[0]:,} … {sizes[-1]:,} | {number(seconds[0])} … {number(seconds[-1])} {curve.unit} "
        f"| {exponent(sizes, seconds):.2f} ({promised}) | {number(memory[0])} … {number(memory[-1])} "
        f"| {exponent(sizes, memory):.2f} |"
    )


def picture(found: dict[str, dict[int, dict[str, Any]]], path: Path) -> None:
    """A panel for each curve: seconds, and MiB on the right, over size, both logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    curves = {name: {n: got for n, got in points.items() if "cpu" in got} for name, points in found.items()}
    curves = {name: points for name, points in curves.items() if points}
    if not curves:
        return
    width = min(4, len(curves))
    height = -(-len(curves) // width)
    figure, grid = pyplot.subplots(height, width, figsize=(3.1 * width, 2.6 * height), squeeze=False)
    for panel in grid.flat[len(curves) :]:
        panel.set_axis_off()
    for panel, (name, points) in zip(grid.flat, curves.items(), strict=False):
        seconds = [got["cpu"] for got in points.values()]
        panel.loglog(list(points), seconds, "o-", color="#1f6f8b", markersize=3)
        panel.set_title(f"{name}: time ∝ n^{exponent(list(points), seconds):.2f}", fontsize=8)
        panel.set_ylabel(CURVES[name].unit, color="#1f6f8b", fontsize=7)
        right = panel.twinx()
        right.loglog(
            list(points), [max(got["peak"] - got["before"], 0.1) for got in points.values()], "s:", color="#c2571a",
            markersize=3,
        )  # fmt: skip
        right.set_ylabel("MiB", color="#c2571a", fontsize=7)
        for axes in (panel, right):
            axes.tick_params(which="both", labelsize=5)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def section(found: dict[str, dict[int, dict[str, Any]]], said: str) -> str:
    """The machine, and a line for each curve."""
    heads = "| what grows | from … to | time | exponent (promised) | memory above the imports, MiB | exponent |"
    rows = [row(CURVES[name], points) for name, points in found.items()]
    lines = [heads, "| --- | --- | --- | --- | --- | --- |", *rows]
    return f"{said}. One thread, a process for each point, processor time.\n\n" + "\n".join(lines)


def pictured(found: dict[str, dict[int, dict[str, Any]]], image: Path) -> str:
    """The picture's line of Markdown, once it is drawn; "" without matplotlib."""
    if missing(["matplotlib"]):
        print("no picture: matplotlib is not installed", file=sys.stderr)
        return ""
    picture(found, image)
    return f"\n\n![Time and memory over size](images/{image.name})"


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--only", nargs="+", choices=CURVES, default=list(CURVES), metavar="CURVE", help=", ".join(CURVES))
    ask.add_argument("--most", type=int, default=10**7, help="leave out larger numbers of examples and of draws")
    ask.add_argument("--write", type=Path, help="a page to put the table and the picture into")
    ask.add_argument("--child", nargs=2, metavar=("CURVE", "N"), help=argparse.SUPPRESS)
    asked = ask.parse_args()
    if asked.child:
        try:
            print(json.dumps({**CURVES[asked.child[0]].job(int(asked.child[1])), "peak": peak_memory()}))
        except LeftOut as reason:
            print(json.dumps({"left_out": str(reason)}))
        return
    said, found = machine(), {}
    for name in asked.only:
        found[name] = measured(CURVES[name], most=asked.most)
        text = section(found, said)
        if asked.write:  # after each curve: the last ones take minutes
            put(asked.write, "growth", text + pictured(found, asked.write.parent / "images" / "growth.png"))
    print(text)


if __name__ == "__main__":
    main()
