"""Held-out log p of plain `vael fit` beside simple density estimators, on tables.

    python benchmarks/family/tournament.py --sets wine_red concrete --seeds 3 --methods vael gaussian mixture

For each seed one split, vael's own, with the same rows for all. Columns on a grid, categories, ordered codes and counts
are scored by the probability of the row's cell: vael's laws in closed form, a density f by log mean f over POINTS
uniform points of the cell, which is a lower bound in expectation. Densities see standardised columns, codes as numbers,
and are trained on rows spread uniformly over their cells, anew in every epoch for the flows. A spike off the grid, for
vael a mass of its own, is for them a cell beside the end of the range at which it stands. Columns without a grid are
scored by density, in the data's own units. vael's log p(x) is importance sampling's, a lower bound too.

One line of JSON for each set, seed and method goes to FOLDER/results.jsonl, and the nats of every test row beside it;
what is there already is not done again. `--table` prints what is there and does nothing.
"""

import argparse
import csv
import gzip
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

import vael
from vael.data import Data
from vael.data.schema import Field
from vael.evidence import Importance
from vael.runs.fit import planned

FILES = {
    "wine_red": "wine_red.csv.gz",
    "breast_cancer_wdbc": "breast_cancer_wdbc.csv.gz",
    "concrete": "concrete.csv.gz",
    "wine_white": "wine_white.csv.gz",
    "cardio": "anomaly/cardio.npz",
    "pendigits": "anomaly/pendigits.npz",
    "adult": "adult.csv.gz",
    "credit_default": "credit_default.csv.gz",
}
CAP = 14_300  # rows of a larger set, drawn by the seed: about 10 000 train
POINTS, DRAWS = 32, 1000
COMPONENTS = [1, 2, 3, 4, 6, 8, 12, 16, 24]
BANDWIDTHS = np.geomspace(0.02, 1.0, 18)
MOST_STEPS, PATIENCE, BATCH, RATE = 8000, 20, 128, 1e-3
BESIDE = 0.2  # width of a spike's cell, in standard deviations of its column

Scored = Callable[[Tensor], Tensor]  # rows (n, F) → log-densities (n,)


def source_of(name: str, seed: int) -> Any:
    """A set as vael reads it; larger ones cut to CAP rows, and a hole in a text column made a value like others."""
    path = Path(os.environ["VAEL_DATA"]) / FILES[name]
    if path.suffix == ".npz":
        x = np.load(path)["X"]
        return {f"x{j}": x[:, j] for j in range(x.shape[1])}
    with gzip.open(path, "rt") as file:
        rows = [row for row in csv.DictReader(file) if any(row.values())]
    if len(rows) <= CAP:
        return path
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:CAP])
    columns = {key: [rows[i][key] or "missing" for i in chosen] for key in rows[0] if key != "split"}
    return {key: np.array(numbers(values)) for key, values in columns.items()}


def numbers(values: list[str]) -> list[Any]:
    """Numbers where all are."""
    try:
        found = [float(value) for value in values]
    except ValueError:
        return values
    return [int(value) for value in found] if all(value.is_integer() for value in found) else found


class Cells:
    """Rows as densities see them: standardised, spread over their cells; with what turns a density into nats."""

    def __init__(self, data: Data) -> None:
        fields = data.schema.modelled
        train = data.split("train").x.double()
        self.width = torch.tensor([cell_of(field) for field in fields], dtype=torch.float64)
        self.spikes = [spike_of(field, train[:, j]) for j, field in enumerate(fields)]
        self.jacobian = {name: split.log_jacobian for name, split in data.splits.items()}
        self.rows = {name: self.moved(split.x.double()) for name, split in data.splits.items()}
        x = self.rows["train"][0]
        self.loc, self.scale = x.mean(0), x.std(0)

    def moved(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Centres and widths of the rows' cells, `(n, F)` each; width 0 where a density scores."""
        centre, width = x.clone(), self.width.expand_as(x).clone()
        for j, spike in enumerate(self.spikes):
            if spike is not None:
                value, place, wide = spike
                there = x[:, j] == value
                centre[there, j], width[there, j] = place, wide
        return centre, width

    def spread(self, name: str, rng: torch.Generator, rows: Tensor | slice = slice(None)) -> Tensor:
        """A uniform point in each row's cell, standardised."""
        centre, width = self.rows[name]
        u = torch.rand(centre[rows].shape, generator=rng, dtype=torch.float64) - 0.5
        return ((centre[rows] + u * width[rows] - self.loc) / self.scale).float()

    def nats(self, name: str, density: Scored, points: int, seed: int) -> np.ndarray:
        """log p of every row in the data's own units."""
        rng = torch.Generator().manual_seed(seed)
        width = self.rows[name][1]
        with torch.no_grad():
            drawn = torch.stack([density(self.spread(name, rng)).double() for _ in range(points)])
        mass = torch.where(width > 0, width.clamp(min=1e-300), torch.ones_like(width)).log().sum(1)
        found = drawn.logsumexp(0) - np.log(points) + mass - self.scale.log().sum() + self.jacobian[name]
        return found.numpy()


def cell_of(field: Field) -> float:
    """Width of a field's cells in the units of x; 0 off a grid."""
    if field.coded or field.kind in ("count", "image"):
        return 1.0
    return field.step


def spike_of(field: Field, x: Tensor) -> tuple[float, float, float] | None:
    """(spike, middle, width) of the cell that stands for a spike off the grid, beside the end at which the spike is."""
    if field.spike is None or cell_of(field):
        return None
    value = float(torch.tensor(field.seen(field.spike)).to(torch.float32))
    rest = x[x != value]
    wide = BESIDE * float(rest.std())
    below = value <= float(rest.min())
    if not below and value < float(rest.max()):
        raise SystemExit(f"{field.name}: its spike lies inside the range.")
    return value, value + (-0.5 if below else 0.5) * wide, wide


def gaussian(cells: Cells, seed: int) -> tuple[Scored, int, str]:
    """Full covariance, of rows spread ten times over their cells."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.cat([cells.spread("train", rng) for _ in range(10)]).double()
    law = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov())
    dims = x.shape[1]
    return lambda rows: law.log_prob(rows.double()), dims * (dims + 3) // 2, ""


def mixture(cells: Cells, seed: int) -> tuple[Scored, int, str]:
    """Gaussians of full covariance, as many as BIC wants."""
    x = cells.spread("train", torch.Generator().manual_seed(seed)).numpy().astype(np.float64)
    best, least, worse = None, np.inf, 0
    for count in COMPONENTS:
        found = GaussianMixture(count, random_state=seed, reg_covar=1e-6, max_iter=300).fit(x)
        worse += 1
        if found.bic(x) < least:
            best, least, worse = found, found.bic(x), 0
        if worse >= 3:
            break
    assert best is not None
    chosen = best
    dims, count = x.shape[1], chosen.n_components
    return (
        lambda rows: torch.from_numpy(chosen.score_samples(rows.double().numpy())),
        count * (dims * (dims + 3) // 2 + 1) - 1,
        f"{count} components",
    )


def kde(cells: Cells, seed: int) -> tuple[Scored, int, str]:
    """Gaussian kernels, one bandwidth chosen by the validation rows."""
    rng = torch.Generator().manual_seed(seed)
    x, held = cells.spread("train", rng), cells.spread("validation", rng)

    def density(width: float) -> Scored:
        def score(rows: Tensor) -> Tensor:
            constant = np.log(len(x)) + x.shape[1] * np.log(width * np.sqrt(2 * np.pi))
            pieces = [(-(torch.cdist(part, x) ** 2) / (2 * width**2)).logsumexp(1) for part in rows.split(500)]
            return torch.cat(pieces) - constant

        return score

    width = max(BANDWIDTHS, key=lambda h: float(density(h)(held).mean()))
    return density(width), x.numel(), f"bandwidth {width:.3f}"


def flow(kind: str) -> Callable[[Cells, int], tuple[Scored, int, str]]:
    """zuko's flows of three transforms and 64 × 64 hidden units, stopped by the validation rows."""

    def fit(cells: Cells, seed: int) -> tuple[Scored, int, str]:
        import zuko

        torch.manual_seed(seed)
        rng = torch.Generator().manual_seed(seed)
        size = cells.rows["train"][0].shape
        model = getattr(zuko.flows, kind)(size[1], transforms=3, hidden_features=(64, 64))
        held = torch.cat([cells.spread("validation", rng) for _ in range(4)])
        adam = torch.optim.Adam(model.parameters(), RATE)
        best, kept, since, step, looks = -np.inf, None, 0, 0, max(50, size[0] // BATCH)
        while step < MOST_STEPS and since < PATIENCE:
            order = torch.randperm(size[0], generator=rng)
            for rows in order[: size[0] - size[0] % BATCH].split(BATCH):
                loss = -model().log_prob(cells.spread("train", rng, rows)).mean()
                adam.zero_grad(), loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 100.0)
                adam.step()
                step += 1
                if step % looks == 0:
                    with torch.no_grad():
                        value = float(model().log_prob(held).mean())
                    since += 1
                    if value > best:
                        best, since = value, 0
                        kept = {key: tensor.clone() for key, tensor in model.state_dict().items()}
        model.load_state_dict(kept)
        count = sum(parameter.numel() for parameter in model.parameters())
        return lambda rows: model().log_prob(rows), count, f"{step} steps"

    return fit


DENSITIES = {"gaussian": gaussian, "mixture": mixture, "kde": kde, "maf": flow("MAF"), "nsf": flow("NSF")}


def fitted(source: Any, seed: int) -> tuple[np.ndarray, int, str]:
    """Plain `vael fit`, and log p of its test rows."""
    with tempfile.TemporaryDirectory() as folder:
        run = vael.fit(source, seed=seed, output=Path(folder) / "run")
        steps = run.folder.lines()[-1]["step"]
        found = Importance(DRAWS)(run.model, run.data.split("test"), seed=seed)
        size = float(found.effective_sample_size.median())
    return found.value.numpy(), run.model.parameters_count, f"{steps} steps, ESS {size:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=list(FILES), choices=list(FILES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=["vael", *DENSITIES], choices=["vael", *DENSITIES])
    parser.add_argument("--name", default="vael", help="what vael is called in the results, such as before")
    parser.add_argument("--output", type=Path, default=Path("runs/tournament"))
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    if asked.table:
        print(table(asked.output))
        return
    results = asked.output / "results.jsonl"
    for name in asked.sets:
        for seed in range(asked.seeds):
            done = {(line["set"], line["seed"], line["method"]) for line in lines_of(results)}
            methods = {asked.name if method == "vael" else method: method for method in asked.methods}
            for label, method in methods.items():
                if (name, seed, label) in done:
                    continue
                line = {"set": name, "seed": seed, "method": label, **measured(name, seed, label, method, asked.output)}
                with results.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(json.dumps(line), flush=True)


def measured(name: str, seed: int, label: str, method: str, output: Path) -> dict[str, Any]:
    """One fit, its test rows' mean and error, and what it cost."""
    source = source_of(name, seed)
    started = time.process_time()
    if method == "vael":
        values, count, note = fitted(source, seed)
    else:
        cells = Cells(planned(source, seed=seed).data)
        density, count, note = DENSITIES[method](cells, seed)
        values = cells.nats("test", density, POINTS, seed)
    seconds = time.process_time() - started
    np.save(output / f"{name}-{seed}-{label}.npy", values)
    return {
        "mean": float(values.mean()), "error": float(values.std(ddof=1) / len(values) ** 0.5), "rows": len(values),
        "seconds": round(seconds, 1), "parameters": count, "note": note,
    }  # fmt: skip


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def table(folder: Path) -> str:
    """Set by method: mean over seeds ± the standard error of it over test rows; and vael against the best other."""
    lines = lines_of(folder / "results.jsonl")
    methods = [method for method in ["vael", "before", *DENSITIES] if any(line["method"] == method for line in lines)]
    out = [
        "| set | seeds | " + " | ".join(methods) + " | vael less the best other |",
        "|---" * (len(methods) + 3) + "|",
    ]
    for name in FILES:
        found = {
            method: [line for line in lines if (line["set"], line["method"]) == (name, method)] for method in methods
        }
        if any(found.values()):
            seeds = max(len(mine) for mine in found.values())
            cells = [told(found[method], seeds) for method in methods]
            out.append(f"| {name} | {seeds} | " + " | ".join(cells) + f" | {against(folder, name, found)} |")
    return "\n".join(out)


def told(found: list[dict[str, Any]], seeds: int) -> str:
    """Mean ± error of one cell; the range over seeds, or how many there are of them where some are missing."""
    if not found:
        return "–"
    means = np.array([line["mean"] for line in found])
    error = np.sqrt(np.mean([line["error"] ** 2 for line in found]) / len(found))
    spread = f" ({means.min():.2f} … {means.max():.2f})" if len(found) > 1 else ""
    return f"{means.mean():.2f} ± {error:.2f}{spread}" + (
        f", {len(found)} of {seeds} seeds" if len(found) < seeds else ""
    )


def against(folder: Path, name: str, found: dict[str, list[dict[str, Any]]]) -> str:
    """Mean ± standard error of the difference by rows, on the seeds that both have, to the best other of them."""
    seeds = {method: {line["seed"] for line in mine} for method, mine in found.items()}
    gaps = []
    for method in DENSITIES:
        both = sorted(seeds.get("vael", set()) & seeds.get(method, set()))
        if both:
            rows = [
                np.load(folder / f"{name}-{seed}-vael.npy") - np.load(folder / f"{name}-{seed}-{method}.npy")
                for seed in both
            ]
            every = np.concatenate(rows)
            gaps.append((float(every.mean()), float(every.std(ddof=1) / len(every) ** 0.5), method, len(both)))
    if not gaps:
        return "–"
    mean, error, method, count = min(gaps)
    return f"{mean:+.2f} ± {error:.2f} ({method}, {count} seed{'s' if count > 1 else ''})"


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
