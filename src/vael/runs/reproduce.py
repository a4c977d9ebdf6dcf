"""vael reproduce: run a ready recipe and set what it gives beside what is expected."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vael.errors import RecipeError
from vael.evaluation import Evaluation, bounds
from vael.files import write_bytes
from vael.numbers import Number
from vael.runs.compare import compare
from vael.runs.fit import fit, nothing, resume
from vael.runs.folder import RunFolder, next_folder
from vael.runs.ready import Expected, Ready, read
from vael.runs.run import Run, load

Watch = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Verdict:
    """An expectation and what came of it.

    got: The figure, or by how much the highest arm exceeds another; error: its standard error, None where it has none.
    met: Whether it lies within the tolerance, or above zero.
    """

    figure: str
    arm: str | None
    expected: float
    tolerance: float | None
    got: float | None
    error: float | None
    met: bool
    source: str

    def __str__(self) -> str:
        verdict = "met" if self.met else "MISSED"
        got = "none" if self.got is None else told(self.got, self.error)
        name = self.figure + (f" {self.arm}" if self.arm else "")
        wanted = told(self.expected, self.tolerance) if self.tolerance is not None else "above 0"
        return f"{name:<28} expected {wanted:<20} got {got:<20} {verdict:<7} {self.source}"


def told(value: float, error: float | None) -> str:
    digits = 4 if abs(value) < 10 else 2
    return (f"{value:.{digits}f}" + (f" ± {error:.{digits}f}" if error is not None else "")).replace("-", "−")


@dataclass(frozen=True)
class Reproduction:
    """What `reproduce` found: the folder of the runs, the figures of each, and a verdict for every expected one."""

    recipe: str
    folder: str
    measured: dict[str, dict[str, Any]]
    verdicts: tuple[Verdict, ...]
    pictures: tuple[str, ...] = ()

    @property
    def met(self) -> bool:
        """Whether every expectation is met."""
        return all(verdict.met for verdict in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "met": self.met}


def reproduce(
    recipe: str | Path, *, options: Mapping[str, str] | None = None, output: str | Path | None = None,
    device: str = "cpu", watch: Watch = nothing,
) -> Reproduction:  # fmt: skip
    """Fit and evaluate what a ready recipe describes, and compare with its expected figures.

    recipe: A name of `vael recipes`, or a .toml file. options: Values of the recipe's own options.
    output: Where the runs go, one folder for each arm; runs that stand there are taken up where they ended.
    watch: Called with every event of the fits.

    Raises RecipeError on an unknown recipe, DataError where its data are not at hand.
    """
    ready = read(recipe).chosen(options or {})
    folder = next_folder(ready.name) if output is None else Path(output)
    runs = {arm: _run(ready, arm, folder / arm if arm else folder, device, watch) for arm in ready.arms or [None]}
    found = {arm: run.evaluate(**ready.evaluate) for arm, run in runs.items()}
    verdicts: list[Verdict] = []
    for expected in ready.expected:
        if expected.highest is None and expected.lowest is None:
            verdicts.append(_measured(expected, found[expected.arm]))
        else:
            verdicts += _order(expected, runs, ready)
    measured = {arm or ready.name: figures(one) for arm, one in found.items()}
    drawn = draw(ready, {arm or ready.name: run for arm, run in runs.items()}, folder)
    return Reproduction(ready.name, str(folder), measured, tuple(verdicts), drawn)


def draw(ready: Ready, runs: Mapping[str, Run], folder: Path) -> tuple[str, ...]:
    """Write the recipe's finished pictures into `folder`/figures; their paths."""
    if not ready.pictures:
        return ()
    from vael.report import demonstration  # matplotlib, which no other recipe needs

    subjects, paths = {arm: run.subject() for arm, run in runs.items()}, []
    for name in ready.pictures:
        for file, content in demonstration(name, subjects).items():
            paths.append(str(folder / "figures" / file))
            write_bytes(folder / "figures" / file, content)
    return tuple(paths)


def figures(found: Evaluation) -> dict[str, Any]:
    """Value and standard error of the bound and of log p(x), nats; None where there is none."""
    numbers = {"elbo": found.elbo, "evidence": found.evidence}
    return {
        name: None if number is None else {"value": number.value, "standard_error": number.standard_error}
        for name, number in numbers.items()
    }


def _run(ready: Ready, arm: str | None, folder: Path, device: str, watch: Watch) -> Run:
    """The run of an arm: the one that stands in `folder`, resumed where it was stopped, or a new one."""
    if RunFolder(folder).manifest.exists():
        refuse_other(RunFolder(folder), ready.arguments(arm), ready.name)
        if RunFolder(folder).state == "finished":
            return load(folder, device=device)
        return resume(folder, device=device, watch=watch)
    return fit(**ready.arguments(arm), output=folder, device=device, watch=watch)


def refuse_other(folder: RunFolder, wanted: Mapping[str, Any], name: str) -> None:
    """Raise RecipeError when the run in `folder` was not made by the arguments `wanted` of recipe `name`."""
    made, _ = folder.read()
    pairs = {"data.name": wanted["data"], "prior.latent": wanted.get("latent"), **wanted.get("settings", {})}
    for dotted, value in pairs.items():
        there: Any = made
        for key in dotted.split("."):
            there = there.get(key) if isinstance(there, Mapping) else None
        # Where the constructor's default was asked for, a recipe leaves the key out.
        if value is not None and there is not None and there != value:
            raise RecipeError(
                f"{folder}: holds a run with {dotted} {there!r}, recipe {name} makes one with {value!r}.\n"
                f"  Choose another folder with -o."
            )


def _measured(expected: Expected, found: Evaluation) -> Verdict:
    value = getattr(found, expected.figure)
    got = getattr(value, "value", value)
    assert expected.value is not None  # checked when the recipe was read
    assert expected.tolerance is not None
    met = got is not None and abs(got - expected.value) <= expected.tolerance
    return Verdict(
        expected.figure,
        expected.arm,
        expected.value,
        expected.tolerance,
        got,
        getattr(value, "standard_error", None),
        met,
        expected.source,
    )


def _order(expected: Expected, runs: dict[str | None, Run], ready: Ready) -> list[Verdict]:
    """By how much the highest arm exceeds each other one, with paired standard errors over the examples.

    Of the lowest one by how much it lies below.
    """
    sign, best = (1, expected.highest) if expected.highest is not None else (-1, expected.lowest)
    options = {key: value for key, value in ready.evaluate.items() if key in ("draws", "max_examples", "split", "seed")}
    found = []
    for other in expected.among:
        margin = apart(runs[other], runs[best], expected.figure, options)
        got = None if margin is None else sign * margin.value
        met = got is not None and got > 0
        error = None if margin is None else margin.standard_error
        name = f"{best} − {other}" if sign > 0 else f"{other} − {best}"
        found.append(Verdict(expected.figure, name, 0.0, None, got, error, met, expected.source))
    return found


def apart(first: Run, other: Run, figure: str, options: Mapping[str, Any]) -> Number | None:
    """Mean of `other` minus `first` in a figure, with its paired standard error; None where it cannot be told."""
    if first.model.posterior.has_density and other.model.posterior.has_density:
        return (compare(first, other, **options).runs[1].difference or {}).get(figure)
    if figure != "distortion":
        return None
    one, two = (bounds(run.model, run.split_of(None).settled()).distortion for run in (first, other))
    return Number.of(two - one)
