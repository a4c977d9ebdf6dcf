"""Several runs on the same data, trained side by side: the seeds of one recipe, the places of a curve."""

import contextlib
import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vael.errors import Interrupted, RecipeError
from vael.files import sole_writer
from vael.numbers import Number
from vael.runs.fit import Plan, Watch, finished, member_of, nothing, plan_of, planned
from vael.runs.folder import RunFolder, next_folder
from vael.runs.run import Run, check_device, load, reread
from vael.runs.same import refuse_other
from vael.training import launched, train_together


def fit_seeds(
    data: object, *, seeds: int, seed: int = 0, output: str | Path | None = None, watch: Watch = nothing, **options: Any
) -> list[Run]:
    """Fit the same recipe under several seeds, as one batched model; a run folder `seed-…` for each.

    A seed decides the split of the data, the first weights, the order and the noise, so the spread over seeds is that
    of all of them.

    seeds: How many, from `seed` on. output: Where the runs go; runs that stand there are taken up where they ended.
    options: Any other keyword of `vael.fit`; of a `model`, each run trains a copy, from the weights it has.

    Raises as `vael.fit` does; RecipeError for fewer than two seeds.
    """
    if not (isinstance(seeds, int) and seeds >= 2):
        raise RecipeError(f"fit: seeds must be a whole number of at least 2, got {seeds!r}.")
    folder = folder_for(data, "seeds", output)
    members = {folder / f"seed-{number}": {"seed": number} for number in range(seed, seed + seeds)}
    return fit_several(data, members, who="this fit", watch=watch, **options)


@dataclass(frozen=True)
class Spread:
    """The bound of several runs at their best weights, in nats per example, and how far they lie apart.

    split: Which examples it is over: validation, or train where there are none.
    elbo: Mean over runs with its standard error. standard_deviation: Of a single run.
    """

    runs: list[str]
    split: str
    elbos: list[float]
    elbo: Number
    standard_deviation: float
    unit: str = "nats per example"

    def rows(self) -> list[tuple[str, str]]:
        """`(name, text)` lines for people."""
        each = [
            ("run", f"{run}  {self.split} −ELBO {-elbo:.2f}") for run, elbo in zip(self.runs, self.elbos, strict=True)
        ]
        told = f"{-self.elbo} {self.unit}, mean of {len(self.runs)} seeds; standard deviation of one "
        return [*each, ("−ELBO", f"{told}{self.standard_deviation:.2f} ({self.split})")]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def spread(runs: Sequence[Run]) -> Spread:
    """How far the runs' bounds lie apart, from what their histories kept."""
    best = [[line for line in run.history if line.get("best")][-1] for run in runs]
    split = "validation" if all("validation" in line for line in best) else "train"
    if any(line[split]["elbo"] is None for line in best):
        raise RecipeError("seeds: the runs have no bound to compare; each tells its objective in history.jsonl.")
    elbos = torch.tensor([line[split]["elbo"] for line in best], dtype=torch.float64)
    return Spread([str(run.folder) for run in runs], split, elbos.tolist(), Number.of(elbos), float(elbos.std()))


def folder_for(data: object, what: str, output: str | Path | None) -> Path:
    """`output`, or the first free `runs/<data>-<what>-1`, -2, …"""
    name = Path(data).name.split(".")[0] if isinstance(data, str | Path) else "data"
    return next_folder(f"{name}-{what}") if output is None else Path(output)


def fit_several(
    data: object,
    members: Mapping[Path, Mapping[str, Any]],
    *,
    who: str,
    device: str = "cpu",
    watch: Watch = nothing,
    **common: Any,
) -> list[Run]:
    """A run in each folder of `members`, which holds the keywords of `vael.fit` that are its own.

    A finished run of the same recipe is loaded, another is gone on with from its checkpoint, and all that are left to
    train are trained together. A run that breaks does not end the others. who: Who asks, for messages.

    Raises RecipeError when a folder holds a run of another recipe, DataError when one of other data; Interrupted and
    TrainingError when all have been kept.
    """
    if launched():
        raise RecipeError(f"{who}: is trained side by side by one process; start it without torchrun.")
    check_device(device)
    given = {name: common[name] for name in ("model", "objective") if name in common}
    runs: dict[Path, Run] = {}
    waiting: dict[Path, tuple[Plan, bool]] = {}
    with contextlib.ExitStack() as held:
        for path, own in members.items():
            folder = RunFolder(path)
            stands = folder.manifest.exists()
            if stands:
                recipe, schema = folder.read()
                known = reread(recipe, schema, data)  # other data are refused, whatever state the run is in
            # A model or an objective handed in is trained, and may keep state: each run has its own.
            options = common | copy.deepcopy(given) | dict(own)
            plan = planned(data, watch=watch, **options)
            if stands:
                refuse_other(folder, plan.recipe, plan.data.schema, who)
                if folder.state == "finished":
                    runs[path] = load(path, device=device)
                    runs[path]._data = known
                    continue
                plan = plan_of(recipe, known)
            held.enter_context(sole_writer(path))
            waiting[path] = sharing(plan, waiting), stands
        for path, (plan, stands) in waiting.items():
            if not stands:
                RunFolder(path).begin(plan.recipe, plan.data.schema)
            watch({"event": "plan", "plan": plan, "folder": RunFolder(path)})
        trained = {
            path: member_of(plan, RunFolder(path), named(watch, path), device=device, resuming=stands)
            for path, (plan, stands) in waiting.items()
        }
        try:
            endings = train_together(list(trained.values()), say=lambda text: watch({"event": "note", "text": text}))
        except KeyboardInterrupt as error:
            endings = [Interrupted(str(error)) for _ in trained]
        stopped: list[Exception] = []
        for (path, (plan, _)), ending in zip(waiting.items(), endings, strict=True):
            try:
                runs[path] = finished(plan, RunFolder(path), ending, named(watch, path))
            except Exception as error:
                stopped.append(error)
        if any(isinstance(error, Interrupted) for error in stopped):
            home = next(iter(members)).parent
            raise Interrupted(f"{home}: stopped; nothing is lost.\n  Go on with the same command and -o {home}")
        if stopped:
            raise stopped[0]
    return [runs[path] for path in members]


def sharing(plan: Plan, others: Mapping[Path, tuple[Plan, bool]]) -> Plan:
    """`plan` with the data of one of the `others` where they are the same, so that they are held once."""
    for other, _ in others.values():
        same_rows = plan.recipe["data"] == other.recipe["data"] and plan.recipe["seed"] == other.recipe["seed"]
        if same_rows and plan.data.schema == other.data.schema:
            return replace(plan, data=other.data)
    return plan


def named(watch: Watch, path: Path) -> Watch:
    """`watch` told which of several runs an event is of."""
    return lambda event: watch({**event, "run": path.name})
