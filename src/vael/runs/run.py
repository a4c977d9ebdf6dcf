"""A fitted model with its data, its history and the verbs that use it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vael import applications, evaluation
from vael.data import Data, Frame, Reading, Schema, Split, decode, source_rows
from vael.data import encode as encode_frame
from vael.data.given import codes_told, given_code, given_row, with_part
from vael.data.sources import read_like
from vael.diagnostics import Diagnosis
from vael.errors import DamagedFile, DataError, RecipeError, WriteError
from vael.evaluation import Evaluation, Method
from vael.files import Json, load_json, read_bytes, save_json, sha256, write_bytes
from vael.models import VAE
from vael.noise import stream
from vael.numbers import Number
from vael.posteriors import ChainPosterior
from vael.runs.doctor import doctor
from vael.runs.folder import RunFolder, latest_folder
from vael.runs.recipe import build_model
from vael.runs.source import opened_again

if TYPE_CHECKING:
    from vael.report import Subject

Columns = dict[str, NDArray[np.generic]]
DRAWS = 100  # of z for each class, where a person says nothing


@dataclass(repr=False)
class Run:
    """What `vael.fit` and `vael.load` return.

    folder: Where it lies. model: With the best weights. schema: What the data are. recipe: How it was made.
    """

    folder: RunFolder
    model: VAE
    schema: Schema
    recipe: dict[str, Any]
    _data: Data | None = None

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, latent {self.model.latent}, {self.model.parameters_count:,} parameters)"

    @property
    def history(self) -> list[Json]:
        """One dict per evaluation, oldest first."""
        return self.folder.lines()

    @property
    def data(self) -> Data:
        """The data the run was fitted on, read again if need be; DataError when they changed or were in memory."""
        if self._data is None:
            self._data = reread(self.recipe, self.schema)
        return self._data

    def split_of(self, data: object | None, split: str | None = None) -> Split:
        """One split of the run's own data, "test" by default; or all rows of other `data`, seen through the schema.

        Raises RecipeError when both are given: other data are one split.
        """
        if data is None:
            return self.data.split(split or "test")
        if split is not None:
            raise RecipeError(f"other data are one split; leave out split={split!r}.")
        if isinstance(data, Split):
            return data
        return encode_frame(self._frame(data), self.schema)

    def evaluate(
        self,
        data: object | None = None,
        *,
        split: str | None = None,
        draws: int | None = None,
        method: Method = "auto",
        settings: Mapping[str, Any] | None = None,
        max_examples: int | None = None,
        budget: float = 60.0,
        sandwiched: int = 0,
        gaps: bool = False,
        seed: int = 0,
    ) -> Evaluation:
        """The bound, log p(x) and their errors on a split of the run's data, or on other `data`; see vael.evaluate.

        On the run's own test split the result is also kept as evaluation.json.
        """
        found = evaluation.evaluate(
            self.model,
            self.split_of(data, split),
            name=(split or "test") if data is None else "given data",
            draws=draws,
            method=method,
            settings=settings,
            sandwiched=sandwiched,
            gaps=gaps,
            max_examples=max_examples,
            budget=budget,
            seed=seed,
            discrete=self.schema.discrete,
        )
        if data is None and split in (None, "test"):
            about = {"run": str(self.folder), "seed": seed, "weights": sha256(read_bytes(self.folder.model))}
            try:
                save_json(self.folder.evaluation, {**about, **found.to_json()})
            except WriteError as error:  # a result in hand is worth more than its copy on disk
                found.warnings.append(str(error))
        return found

    def doctor(
        self,
        data: object | None = None,
        *,
        split: str | None = None,
        draws: int = 200,
        examples: int = 200,
        seed: int = 0,
    ) -> Diagnosis:
        """What is wrong with the run, why and what to do, by a split of its data ("test") or by other `data`.

        draws, examples: Of the importance sampling behind log p(x), by which over-fitting is told.
        """
        return doctor(self, data, split=split, draws=draws, examples=examples, seed=seed)

    def told(
        self, count: int, given: Mapping[str, Any] | None = None, rows: Sequence[int] | None = None, *, seed: int = 0
    ) -> Tensor | None:
        """What `count` new examples of a conditional model are conditioned on, `(count, C)`; None of another.

        given: A value for each given field, by name, the same for all examples. rows: Rows of the run's own data,
        counted from 1, taken in turn. Neither: what is given in as many training rows, drawn by `seed`.
        """
        if given is not None:
            return given_row(self.schema, given).expand(count, -1)
        if not self.schema.given and self.schema.part is None:
            return None
        if rows is not None:
            return self.rows(rows).told(count)
        training = self.data.split("train")
        generator = stream(seed, purpose="given")
        return training.rows(torch.randint(len(training), (count,), generator=generator)).told()

    def sample(
        self, count: int, *, seed: int = 0, mean: bool = False, given: Mapping[str, Any] | None = None,
        rows: Sequence[int] | None = None,
    ) -> Columns:  # fmt: skip
        """`count` new examples as columns of the user's own types and units; the same for the same seed.

        mean: The centre of p(x|z) for each drawn z, instead of a draw from it.
        given, rows: Of a conditional model, what they are conditioned on; see `told`. Where a part of each picture is
        given, it stands in the examples as it was given.
        """
        code, given = applications.asked(self.model, self.schema, given)
        told = self.told(count, given, rows, seed=seed)
        whole: dict[str, NDArray[np.generic]] = {}
        for first, x in applications.generated(self.model, count, seed=seed, mean=mean, given=told, label=code):
            x = with_part(x, told, first, self.schema)
            for name, some in decode(x, self.schema, centres=mean).items():
                column = whole.setdefault(name, np.empty((count, *some.shape[1:]), some.dtype))
                column[first : first + len(some)] = some
        return whole

    def encode(self, data: object | None = None, *, split: str | None = None) -> NDArray[np.float64]:
        """Posterior mean of every example, `(N, D)`; the same at every call."""
        means, _ = applications.encode(self.model, self.split_of(data, split))
        return np.asarray(means.numpy())

    def reconstruct(self, data: object | None = None, *, split: str | None = None) -> Columns:
        """What the model makes of every example at its posterior mean, as columns of the user's own types."""
        return decode(applications.reconstruct(self.model, self.split_of(data, split)), self.schema, centres=True)

    def classify(
        self, data: object | None = None, *, split: str | None = None, draws: int | None = None, seed: int = 0
    ) -> tuple[Columns, Number | None]:
        """The most probable class of every example and the probability of each, and how often it is right.

        Columns: the label's own name, and p_CLASS for each of its values. draws: Of z for each class; 0 for what the
        classifier q(y|x) of a run that learns its label says. The accuracy is over examples whose class is known; None
        where none is.
        Raises RecipeError for a run that knows of no classes.
        """
        learns = isinstance(self.model.posterior, ChainPosterior) and self.model.posterior.summed
        field, part, shares = self.schema.label, self.split_of(data, split), None
        if not learns:
            applications.check_one_category(self.schema)
            field = self.schema.given[0]
            own, _ = self._splits(None)  # without the training rows at hand classes count alike
            seen = own["train"].told() if "train" in own else None
            shares = None if seen is None else seen[:, : field.levels].double().mean(0).clamp(min=1e-12)
        assert field is not None
        count = (0 if learns else DRAWS) if draws is None else draws
        chance = applications.classify(self.model, self.schema, part, draws=count, shares=shares, seed=seed)
        best = chance.argmax(-1)
        columns: Columns = {field.name: np.asarray(field.values)[best.numpy()]}
        columns |= {f"p_{value}": chance[:, code].numpy() for code, value in enumerate(field.values)}
        told = part.told()
        truth = part.label if learns else None if told is None else codes_told(told[:, : field.levels])
        if truth is None or not bool((truth >= 0).any()):
            return columns, None
        known = truth.cpu() >= 0
        return columns, Number.of((best == truth.cpu())[known].double())

    def rows(self, numbers: Sequence[int], data: object | None = None) -> Split:
        """Single rows of the run's own data, or of other `data`, counted from 1 in their source, in that order.

        Raises DataError for a row that is not there.
        """
        return source_rows(list(self.data.splits.values()) if data is None else [self.split_of(data)], numbers)

    def interpolate(
        self, rows: Sequence[int], data: object | None = None, *, steps: int = 10, spherical: bool = False
    ) -> Columns:
        """Examples along the way from each of `rows` to the next, `steps` for each way, as columns of the user's types.

        rows: Two or more rows of the run's own data, or of other `data`, counted from 1 in their source.
        steps: Points of each way, its two ends among them: the reconstructions of its rows.
        spherical: Along great circles of the latent space instead of straight lines.
        """
        x = applications.interpolate(self.model, self.rows(rows, data), steps=steps, spherical=spherical)
        return decode(x.flatten(0, 1), self.schema, centres=True)

    def traverse(
        self, row: int | None = None, data: object | None = None, *, units: Sequence[int] | None = None, steps: int = 9
    ) -> tuple[Columns, list[int]]:
        """Centres of p(x|z) with one unit of z at a time moved through the quantiles of N(0, 1), and which units.

        row: Whose posterior mean is moved, counted from 1; z = 0 when left out. units: Counted from 0; the eight whose
        posterior mean moves most over the test split when left out. The columns are those of the data, line by line,
        behind unit, counted from 1, and value.
        """
        chosen = list(units) if units is not None else applications.most_told(self.model, self.split_of(None), 8)
        part = None if row is None else self.rows([row], data)
        z = torch.zeros(self.model.latent) if part is None else applications.encode(self.model, part)[0][0]
        told = self.told(1, seed=0) if part is None else part.told()
        values = applications.quantiles(steps)
        x = applications.traverse(self.model, z, chosen, values, given=told)
        moved: Columns = {
            "unit": np.repeat(np.asarray(chosen) + 1, steps), "value": np.tile(values.numpy(), len(chosen)),
        }  # fmt: skip
        return moved | decode(x.flatten(0, 1), self.schema, centres=True), chosen

    def manifold(self, units: tuple[int, int] = (0, 1), *, steps: int = 20) -> Columns:
        """Centres of p(x|z) over the plane of two units at the quantiles of N(0, I), row by row from the top."""
        x = applications.manifold(self.model, units=units, steps=steps, given=self.told(1, seed=0))
        return decode(x.flatten(0, 1), self.schema, centres=True)

    def analogy(self, rows: Sequence[int], data: object | None = None) -> Columns:
        """What row c becomes as row a became b: the centre of p(x|z) at z_c + z_b − z_a, of rows a, b, c."""
        return decode(applications.analogy(self.model, self.rows(rows, data)), self.schema, centres=True)

    def moved(
        self, row: int, towards: tuple[str, Any], away: tuple[str, Any] | None = None, data: object | None = None, *,
        steps: int = 7,
    ) -> Columns:  # fmt: skip
        """A row on its way along the difference of mean latents between two classes of the training rows.

        towards, away: (label, value); away from all rows when left out. steps: From 0 to the whole difference.
        Raises RecipeError for a label that is none, or has no such value.
        """
        training, part = self.data.split("train").resident(), self.rows([row], data)
        everyone = torch.ones(len(training), dtype=torch.bool)
        marks = [everyone if way is None else self._of_class(training, *way) for way in (towards, away)]
        step = applications.direction(self.model, training, *marks)
        z = applications.encode(self.model, part)[0] + torch.linspace(0, 1, steps, dtype=torch.float64)[:, None] * step
        return decode(applications.centres(self.model, z, part.told()), self.schema, centres=True)

    def _of_class(self, split: Split, name: str, value: Any) -> Tensor:
        field = self.schema.label
        if field is None or field.name != name or split.label is None:
            told = "none" if field is None else repr(field.name)
            raise RecipeError(f"analogy {name}={value}: the run's label of classes is {told}.")
        return split.label.cpu() == given_code(field, value)

    def report(self, output: str | Path | None = None, *, data: object | None = None, seed: int = 0) -> Path:
        """One self-contained HTML page about the run, written to `output` or report.html in its folder; its path.

        data: The data again, where they were in memory when the run was fitted; other data are one split of their own.
        seed: Of the samples on the page, and of an evaluation made for it where none is kept.

        Where the data are not at hand, the page has what can be said without them, and says so.
        """
        from vael.report import page  # matplotlib, which no other verb needs

        path = self.folder.report if output is None else Path(output)
        write_bytes(path, page(self.subject(data, seed=seed)).encode())
        return path

    def subject(self, data: object | None = None, *, seed: int = 0) -> "Subject":
        """What a report is about; see `report`."""
        from vael.report import Subject

        splits, absent = self._splits(data)
        given = "given data" in splits
        manifest = self.folder.read_manifest()
        return Subject(
            run=str(self.folder),
            model=self.model,
            schema=self.schema,
            recipe=self.recipe,
            history=self.history,
            state=self.folder.state,
            made_with=f"vael {manifest['vael']}, torch {manifest['torch']}",
            kept=None if given else self.kept_evaluation(),
            splits=splits,
            absent=absent,
            given=given,
            quantity=self._quantity(data) if splits else None,
            seed=seed,
        )

    def kept_evaluation(self) -> Json | None:
        """evaluation.json, where it is whole and belongs to the weights in the folder; else None."""
        try:
            found = load_json(self.folder.evaluation)
        except DamagedFile:
            return None
        return found if found.get("weights") == sha256(read_bytes(self.folder.model)) else None

    def _frame(self, data: object) -> Frame:
        """`data` read as the run's own were, but for a column that splits them, which other data need not have."""
        return read_like(data, self.schema, replace(Reading.of(self.recipe["data"]), split={}))

    def _splits(self, data: object | None) -> tuple[dict[str, Split], str]:
        """The run's own splits, or other `data` as one; or none, and why."""
        if data is None:
            try:
                return self.data.splits, ""
            except DataError as error:
                return {}, " ".join(str(error).split())
        try:
            return reread(self.recipe, self.schema, data).splits, ""
        except DataError:
            return {"given data": self.split_of(data)}, ""

    def _quantity(self, data: object | None) -> NDArray[np.float64] | None:
        """The label of every row of the source where it is a number; None where it is none or not at hand."""
        label = self.schema.label
        source = self.recipe["data"].get("source") if data is None else data
        if data is None and self.recipe["data"].get("stream"):  # its rows are not all at hand
            return None
        if label is None or label.values or label.dtype == "str" or source is None:
            return None
        column = self._frame(source).columns.get(label.name)
        return None if column is None or column.dtype == object else column.astype(np.float64)


def reread(recipe: Mapping[str, Any], schema: Schema, data: object | None = None) -> Data:
    """The data of a recipe, or `data` handed over again, read and split exactly as they were.

    Raises DataError when they were in memory and are not handed over, or when they have changed.
    """
    about = recipe["data"]
    if data is None and "source" not in about:
        raise DataError(
            "this run was fitted on data handed over in memory, which a run folder does not keep.\n"
            "  Hand the data over again."
        )
    reading = Reading.of(about)
    found, mark = opened_again(about["source"] if data is None else data, schema, reading, recipe["seed"])
    if mark != about["fingerprint"]:
        raise DataError(
            f"{found.name}: the data are not those the run was fitted on; its splits would not be the same.\n"
            f"  Put the original data back, or name them as other data to measure the run on."
        )
    return found.prepare(schema)


def check_device(device: str) -> None:
    """Raise RecipeError unless torch can compute on `device` here, in float64 too: counts and grids need its digits."""
    try:
        torch.empty(0, device=device, dtype=torch.float64)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise RecipeError(
            f"device {device!r}: cannot be used here ({reason}).\n  Leave --device out for cpu."
        ) from error


def load(run: str | Path | None = None, *, modules: Mapping[str, nn.Module] | None = None, device: str = "cpu") -> Run:
    """Open a run folder, verified file by file; no code in it is run. None opens the latest in runs/.

    modules: Modules from outside `vael` that the model was built with, by place, such as {"posterior.network": net}.
    device: Where the model shall compute: cpu or cuda.
    Raises DamagedFile naming a damaged file, RecipeError when the folder is no run, a module is missing, or
    the device cannot be used here.
    """
    check_device(device)
    folder = RunFolder(latest_folder() if run is None else run)
    recipe, schema = folder.read()
    model = build_model(recipe, modules)
    weights = folder.weights()
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise RecipeError(
            f"{folder.model}: the weights do not fit the model that recipe.toml describes.\n  {error}"
        ) from error
    model.to(device).eval()
    return Run(folder, model, schema, recipe)
