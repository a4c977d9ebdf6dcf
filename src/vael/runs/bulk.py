"""Verbs over folders of tables: one output for each input, written aside and renamed, those that exist left alone.

What is to be done is a list of `Task`s, one output file each. Any number of workers may share them: a process alone,
the ranks of torchrun, each with its share and without a word to the others, or Ray. Each task is a function of the
run, its input and the options, so it does not matter who does it, or when.
"""

import importlib.util
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeGuard

from vael.applications import asked, bulk
from vael.data import Schema
from vael.data.given import given_row
from vael.data.sources.tables import closing_notes, opened, table_files
from vael.errors import DamagedFile, DataError, RecipeError, WriteError
from vael.files import read_bytes, replaced, sha256
from vael.models import VAE
from vael.numbers import Number
from vael.runs.run import Run, load

ROWS = 1 << 16  # read, answered and written at a time
PART = 1_000_000  # new rows in a file
MARK = b"vael"  # the key of an output's own notes

Engine = Literal["process", "ray"]
Watch = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """One output file: what `verb` says of `source`, or `rows` new rows of the part `part`.

    mark: What the output is a function of, as it stands in its own notes. name: Of the source, in its folder.
    """

    verb: str
    output: Path
    source: Path | None
    rows: int
    size: int
    options: Mapping[str, Any]
    mark: str
    part: int = 0
    name: str = ""


@dataclass
class Done:
    """What came of a list of tasks. files, rows: written now. skipped: There already."""

    files: int = 0
    rows: int = 0
    skipped: int = 0
    seconds: float = 0.0
    rank: int = 0
    world: int = 1
    outputs: list[Path] = field(default_factory=list)


def is_folder(path: Path | None) -> TypeGuard[Path]:
    """Whether an output is to be a folder: it is one, or its name has no ending."""
    return path is not None and (path.is_dir() or not path.suffix)


# ── what is to be done ───────────────────────────────────────────────────────────────────────────────────────


def tasks_of(run: Run, verb: str, source: str | Path, output: Path, options: Mapping[str, Any]) -> list[Task]:
    """A task for each .parquet and .feather file of `source`, its output at the same place in the folder `output`.

    Raises DataError where there are no such files, RecipeError where the output lies among the inputs.
    """
    root = Path(source).expanduser().resolve()
    if not root.exists():
        raise DataError(f"{source}: there is no such file.\n  Name a .parquet or .feather file, or a folder of them.")
    files = table_files(root)
    if not files:
        raise DataError(
            f"{source}: holds no .parquet or .feather file, which an output folder asks for.\n"
            f"  Save the data as Parquet, or give an output file with an ending."
        )
    folder = root if root.is_dir() else root.parent
    if output.resolve() == folder or (root.is_dir() and folder in output.resolve().parents):
        raise RecipeError(f"{output}: lies in the folder that is read.\n  Choose an output folder beside it.")
    weights, tasks = sha256(read_bytes(run.folder.model)), []
    for file in files:
        name = file.relative_to(folder)
        place = name.with_suffix(".parquet")
        size = file.stat().st_size
        mark = {"verb": verb, "weights": weights, "input": sha256(closing_notes(file)), "size": size, **options}
        text = json.dumps(mark, sort_keys=True)
        tasks.append(Task(verb, output / place, file, 0, size, options, text, name=name.as_posix()))
    same = {task.output for task in tasks}
    if len(same) < len(tasks):
        raise RecipeError(f"{source}: two files differ in their ending alone.\n  Give them names of their own.")
    return tasks


def sampling_tasks(
    run: Run, number: int, output: Path, *, seed: int, mean: bool, given: Mapping[str, Any] | None = None
) -> list[Task]:
    """A task for each million of `number` new rows, all of them `given` the same.

    Raises RecipeError for a model of p(x|given) where nothing is, DataError for a value that a field cannot take.
    """
    if number < 1:
        raise RecipeError(f"sample: the number of examples must be at least 1, got {number}.")
    _, rest = asked(run.model, run.schema, given)
    if rest is None and (run.schema.given or run.schema.part is not None):
        names = [f"--given {spec.name}=VALUE" for spec in run.schema.given] if run.schema.part is None else []
        way = " ".join(names) or "write to one file"
        raise RecipeError(f"sample: the model is p(x|given), and nothing was given.\n  For a folder: {way}.")
    if rest is not None:
        given_row(run.schema, rest)  # refuse before the first million
    same = {"given": dict(given)} if given else {}
    weights, tasks = sha256(read_bytes(run.folder.model)), []
    for part in range(-(-number // PART)):
        rows = min(PART, number - part * PART)
        options = {"seed": seed, "mean": mean, **same}
        mark = json.dumps({"verb": "sample", "weights": weights, "part": part, "rows": rows, **options}, sort_keys=True)
        tasks.append(Task("sample", output / f"part-{part:06}.parquet", None, rows, rows, options, mark, part))
    return tasks


def summary(outputs: Sequence[Path]) -> dict[str, Number]:
    """The mean of elbo, rate, distortion and log_px over all rows of outputs of evaluate, with standard errors."""
    import numpy as np
    from pyarrow import parquet

    names = ("elbo", "rate", "distortion", "log_px")
    count, means, squares = 0, np.zeros(len(names)), np.zeros(len(names))
    for output in outputs:
        with parquet.ParquetFile(output) as file:
            for batch in file.iter_batches(ROWS, columns=list(names)):
                values = np.stack([batch.column(name).to_numpy(zero_copy_only=False) for name in names])
                # Chan's update of mean and sum of squared deviations: no difference of two large sums.
                n, mean = values.shape[1], values.mean(1)
                shift, count = mean - means, count + n
                squares += ((values - mean[:, None]) ** 2).sum(1) + shift**2 * n * (count - n) / count
                means += shift * n / count
    errors = np.sqrt(squares / max(count - 1, 1) / max(count, 1))
    found = zip(names, means.tolist(), errors.tolist(), strict=True)
    return {name: Number(mean, error if count > 1 else None) for name, mean, error in found}


def share_of(tasks: Sequence[Task], rank: int, world: int) -> list[Task]:
    """The tasks of one of `world` workers: the largest first, each to whom has least so far."""
    if not 0 <= rank < world:
        raise RecipeError(f"RANK={rank}: must be from 0 to WORLD_SIZE − 1 = {world - 1}.")
    load, own = [0] * world, []
    for task in sorted(tasks, key=lambda task: (-task.size, str(task.output))):
        worker = load.index(min(load))
        load[worker] += task.size
        if worker == rank:
            own.append(task)
    return sorted(own, key=lambda task: str(task.output))


# ── doing it ─────────────────────────────────────────────────────────────────────────────────────────────────


def perform(run: Run, tasks: Sequence[Task], *, engine: Engine = "process", watch: Watch = lambda _: None) -> Done:
    """Do the tasks whose output is not there; under torchrun those of this rank alone.

    Raises DataError naming file, row and value where a row cannot be; WriteError for an output that was not made from
    this input by this run with these options: it would pass for what is asked now.
    """
    started = time.perf_counter()
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    own = share_of(tasks, rank, world)
    bulk.check_options(tasks[0].verb, run.model, tasks[0].options)
    wanting = [task for task in own if not stands(task)]
    done = Done(len(wanting), 0, len(own) - len(wanting), rank=rank, world=world, outputs=[t.output for t in own])
    if engine == "ray":
        done.rows = _by_ray(run, wanting)
    else:
        for number, task in enumerate(wanting, 1):
            done.rows += write(run.model, run.schema, task)
            watch(f"{task.output}: {number} of {len(wanting)} files, {done.rows:,} rows")
    done.seconds = time.perf_counter() - started
    return done


def stands(task: Task) -> bool:
    """Whether the output is there and is what the task would write. Raises WriteError where it is something else."""
    from pyarrow import parquet

    if not task.output.exists():
        return False
    try:
        notes = parquet.read_schema(task.output).metadata or {}
    except (OSError, ValueError) as error:
        raise DamagedFile(f"{task.output}: damaged, no whole parquet file ({error}).\n  Delete it.") from error
    if notes.get(MARK, b"").decode() != task.mark:
        raise WriteError(
            f"{task.output}: is there, and was not made from this input by this run with these options.\n"
            f"  Delete it, or choose another output folder."
        )
    return True


def write(model: VAE, schema: Schema, task: Task) -> int:
    """Do one task: how many rows were written. Its output is there as a whole, or not at all."""
    from pyarrow import parquet

    rows, writer = 0, None
    with replaced(task.output) as aside:
        try:
            for table in _answers(model, schema, task):
                if writer is None:
                    form = table.schema.with_metadata({MARK: task.mark})
                    writer = parquet.ParquetWriter(aside, form)
                writer.write_table(table.cast(form))
                rows += len(table)
        finally:
            if writer is not None:
                writer.close()
        if writer is None:
            raise DataError(f"{task.source}: 0 rows. There is nothing to work on.\n  Take the file out of the folder.")
    return rows


def _answers(model: VAE, schema: Schema, task: Task) -> Iterator[Any]:
    """The tables of one output, at most 65,536 rows each."""
    if task.source is None:
        for piece, first in enumerate(range(0, task.rows, ROWS)):
            count = min(ROWS, task.rows - first)
            yield bulk.new_rows(model, schema, count, part=task.part, piece=piece, **task.options)
        return
    first = 0
    for batch in _batches(task.source, [spec.name for spec in (*schema.modelled, *schema.given)]):
        yield bulk.answer(task.verb, model, schema, batch, file=task.name, first=first, **task.options)
        first += batch.num_rows


def _batches(file: Path, columns: Sequence[str]) -> Iterator[Any]:
    """The rows of a file in pieces, those of `columns` that it has."""
    with opened(file) as reader:
        if hasattr(reader, "iter_batches"):
            there = [name for name in columns if name in reader.schema_arrow.names]
            yield from (batch for batch in reader.iter_batches(ROWS, columns=there, use_threads=False) if len(batch))
            return
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            yield from (batch.slice(start, ROWS) for start in range(0, len(batch), ROWS))


# ── Ray ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Worker:
    """A worker of Ray's: opens the run once, and does the tasks that it is handed."""

    def __init__(self, run: str, device: str) -> None:
        self.run = load(run, device=device)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[int]]:
        return {"rows": [write(self.run.model, self.run.schema, task) for task in batch["item"]]}


def _by_ray(run: Run, tasks: Sequence[Task]) -> int:
    """Do tasks by Ray Data's `map_batches`, as many at a time as the cluster has processors or graphics cards."""
    if importlib.util.find_spec("ray") is None:
        raise RecipeError("--engine ray: Ray is not installed.\n  Install it with `pip install 'ray[data]'`.")
    if not tasks:
        return 0
    ray = importlib.import_module("ray")
    ray.init(ignore_reinit_error=True, log_to_driver=False)
    on_cuda = run.model.device.type == "cuda"
    kind = "GPU" if on_cuda else "CPU"
    workers = max(1, min(len(tasks), int(ray.cluster_resources().get(kind, 1))))
    found = ray.data.from_items([{"item": task} for task in tasks]).map_batches(
        Worker, fn_constructor_args=(str(run.folder.path.resolve()), run.model.device.type), batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers), **({"num_gpus": 1} if on_cuda else {"num_cpus": 1}),
    )  # fmt: skip
    return int(found.sum("rows") or 0)
