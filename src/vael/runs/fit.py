"""vael.fit: from a source to a run folder that holds a model whose numbers are true."""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from vael import defaults
from vael.data import Binarization, Data, Reading, Schema, Split
from vael.data.streamed import Opened, Streamed
from vael.data.understand import understand
from vael.errors import Interrupted, RecipeError, TrainingError
from vael.evaluation import bounds
from vael.inference import begin_at
from vael.likelihoods import Likelihood, Mixed
from vael.models import VAE
from vael.objectives import ELBO, Objective
from vael.posteriors import ChainPosterior, TruncatedPosterior
from vael.runs import auto
from vael.runs.folder import RunFolder, next_folder
from vael.runs.recipe import MODEL, build, build_model, describe, describe_model, with_settings
from vael.runs.run import Run, check_device, reread
from vael.runs.shared import check_named, check_spread, keeper, standing, writing
from vael.runs.sizes import (
    CODED,
    fit_classes,
    fit_codes,
    fit_decoder,
    fit_encoder,
    fit_outputs,
    fit_prior,
    laws_of,
)  # fmt: skip
from vael.runs.source import Whole, opened
from vael.training import (
    ALONE,
    Engine,
    Member,
    Outcome,
    Progress,
    Ranks,
    Training,
    check_dealt,
    check_gradient,
    check_value,
    is_first,
    joined,
    load_checkpoint,
    own_device,
    train_together,
)

Watch = Callable[[dict[str, Any]], None]
Ending = Outcome | Interrupted | TrainingError


@dataclass(frozen=True)
class Plan:
    """Everything resolved, nothing trained: what `fit` prints before it starts."""

    recipe: dict[str, Any]
    data: Data
    model: VAE
    objective: Objective
    training: Training
    notes: list[str] = field(default_factory=list)


def nothing(event: dict[str, Any]) -> None:
    """Watch in silence."""


def fit(
    data: object,
    *,
    output: str | Path | None = None,
    latent: int | None = None,
    likelihood: str | None = None,
    binarize: Binarization | None = None,
    prior: str | None = None,
    posterior: str | None = None,
    objective: Objective | str | None = None,
    model: VAE | None = None,
    schema: object | None = None,
    kinds: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
    label: Sequence[str] = (),
    labels: int | None = None,
    learn_label: bool = False,
    given: Sequence[str] = (),
    part: Sequence[str] = (),
    missing: Sequence[str] = (),
    split: str | Mapping[str, float | str] | None = None,
    resize: int | str | Sequence[int] | None = None,
    features: int | Sequence[str] | None = None,
    stream: bool = False,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    device: str = "cpu",
    shard: bool = False,
    watch: Watch = nothing,
    **training: Any,
) -> Run:
    """Fit a VAE to `data` and keep the run: one call from your data to a model whose numbers are true.

    data: The name of a set, a path, an array `(N, *event)`, a data frame, a dict of columns or a torch data set.
    output: The run folder; `runs/<data>-1`, -2, … when left out. An existing run is never overwritten.
    latent: Size of z, 16 when left out. likelihood: A kind for every field; each kind's default when left out; "auto"
        for the best of those that fit, by short trials on the validation rows.
    binarize: "dynamic", "static" or "threshold", for grey pictures under the Bernoulli likelihood.
    prior, posterior: Kinds as a recipe spells them, such as "full_gaussian"; gaussian when left out.
    objective: What is maximised, as an object or by its kind; the ELBO when left out.
    model: A model built by hand, trained as it is.
    schema: A schema file, perhaps edited by hand, or a `Schema`: what the columns are.
    kinds, ignore, label: Overrides of the inferred schema. missing: Further texts that mark a missing value.
    labels: How many training rows keep their label, of each class alike; all when left out. learn_label: Whether the
        label's class is a latent that is known where the label is: a model of x and y, which classifies, from all rows
        and the labels of some (M2).
    given: Columns that x is conditioned on. part: Boxes of each picture that the rest is conditioned on, such as
        "14:28,0:14" for rows 14 to 27 of columns 0 to 13.
    split: Shares of "validation" and "test"; the name of the column that says which rows train; or both, the name
        under "column".
    resize: The size that pictures are brought to: a side, "64x48" or (width, height), in pixels.
    features: How many columns of a wide table of counts to keep, those with the largest totals; or their names.
    stream: Read the training rows of .parquet or .feather files as they are needed, so that memory does not grow with
        them; see docs/streaming.md.
    settings: Dotted recipe keys, such as {"likelihood.scale": "per_example"}.
    shard: Whether torchrun's processes spread weights and moments over them, instead of having all of them each.
    training: Keywords of `vael.Training`, and `epochs`. watch: Called with every event, for progress; by rank 0 alone.

    Under torchrun all processes train one model, and an unfinished run of the same recipe in `output` is gone on with;
    see docs/scale.md.

    Raises DataError, RecipeError before training; TrainingError, Interrupted during it, the run being kept.
    """
    reading = Reading.asked(
        kinds=kinds, ignore=ignore, label=label, labels=labels, given=given, part=part, missing=missing, split=split,
        resize=resize, features=features, stream=stream, schema=schema,
    )  # fmt: skip
    check_named(output)
    watch = watch if is_first() else nothing
    source = opened(data, reading, seed)
    plan = resolve(
        source, latent=latent, likelihood=likelihood, binarize=binarize, prior=prior, posterior=posterior,
        objective=objective, model=model, learn_label=learn_label, reading=reading, seed=seed, settings=settings or {},
        training=training, watch=watch,
    )  # fmt: skip
    device = own_device(device)
    check_device(device)
    folder = RunFolder(next_folder(plan.data.name) if output is None else output)
    with joined(device) as ranks:
        check_dealt(plan.objective, plan.model, plan.training, len(plan.data.split("train")), ranks)
        check_spread(shard, ranks)
        with writing(folder, ranks):
            there = standing(folder, plan.recipe, ranks)
            if there == "finished":
                plan.model.to(device)
                return with_best(plan, folder)
            if there == "new":
                ranks.by_first(lambda: folder.begin(plan.recipe, plan.data.schema))
            watch({"event": "plan", "plan": plan, "folder": folder})
            return _train(plan, folder, watch, device=device, ranks=ranks, shard=shard, resuming=there == "unfinished")


def planned(data: object, *, watch: Watch = nothing, **options: Any) -> Plan:
    """What `fit` would train with the same keywords: resolved, nothing trained or written. Raises as `fit` does."""
    call = inspect.signature(fit).bind(data, **options)
    call.apply_defaults()
    given = call.arguments
    said = {name: given.pop(name) for name in inspect.signature(Reading.asked).parameters}
    for name in ("data", "output", "device", "shard", "watch"):
        given.pop(name)
    reading = Reading.asked(**said)
    given["settings"] = given["settings"] or {}
    return resolve(opened(data, reading, given["seed"]), reading=reading, watch=watch, **given)


def resume(
    run: str | Path, *, data: object | None = None, device: str = "cpu", shard: bool = False, watch: Watch = nothing,
    modules: Mapping[str, Any] | None = None,
) -> Run:  # fmt: skip
    """Go on with a run that was stopped or killed, from its last checkpoint, to the same end bit for bit.

    data: Only for a run fitted on data in memory. Raises DataError when the data are not those of the run.
    """
    folder, device = RunFolder(run), own_device(device)
    watch = watch if is_first() else nothing
    check_device(device)
    folder.read_manifest()  # before a lock is put into a folder that is no run
    with joined(device) as ranks, writing(folder, ranks):
        check_spread(shard, ranks)
        recipe, schema = folder.read()
        if folder.read_manifest()["state"] == "finished":
            raise RecipeError(
                f"{folder}: is finished; there is nothing to resume. To train longer, fit again with more epochs."
            )
        plan = plan_of(recipe, reread(recipe, schema, data), modules)
        watch({"event": "plan", "plan": plan, "folder": folder})
        return _train(plan, folder, watch, device=device, ranks=ranks, shard=shard, resuming=True)


def plan_of(recipe: dict[str, Any], data: Data, modules: Mapping[str, Any] | None = None) -> Plan:
    """The plan that a run's recipe stands for, on its data."""
    aim = build(recipe["objective"], "objective", modules)
    return Plan(recipe, data, _fresh_model(recipe, data, modules), aim, Training.of(recipe["training"]))


def resolve(
    source: Opened | Whole, *, latent: int | None, likelihood: str | None, binarize: Binarization | None,
    prior: str | None, posterior: str | None, objective: Objective | str | None, model: VAE | None, learn_label: bool,
    reading: Reading, seed: int, settings: Mapping[str, Any], training: Mapping[str, Any], watch: Watch,
) -> Plan:  # fmt: skip
    """Every question answered: schema, likelihoods, views, splits, sizes, steps; a recipe that repeats the run."""
    if latent is not None and not (isinstance(latent, int) and latent >= 1):
        raise RecipeError(f"fit: latent must be a whole number of at least 1, got {latent!r}.")
    by_hand = [likelihood, prior, posterior]
    if model is not None and (latent not in (None, model.latent) or any(kind is not None for kind in by_hand)):
        raise RecipeError(
            "fit: a model built by hand has its own latent, likelihood, prior and posterior; leave out those arguments."
        )
    aim = ELBO() if objective is None or isinstance(objective, str) else objective
    if isinstance(aim, type) or not (callable(aim) and hasattr(aim, "draws")):
        raise RecipeError(f"fit: objective must be a kind or an object such as vael.IWAE(draws=50), got {objective!r}.")
    frame = source.frame
    schema = source.understood(understand(frame, reading))
    if model is not None:
        chosen = chosen_by(model, schema)
    elif likelihood == "auto":
        trials = auto.Trials(frame, schema, latent or defaults.LATENT, reading.shares, seed, binarize)
        chosen = auto.choose(trials, watch)
    else:
        chosen = defaults.choose(schema, likelihood)
    schema = defaults.with_views(schema, chosen, binarize)
    data = source.prepare(schema)
    if learn_label and any(one is not None for one in (prior, posterior, model)):
        raise RecipeError("fit: learn_label has a prior and a posterior of its own; leave out those arguments.")
    with torch.random.fork_rng(devices=[]):
        size = latent or defaults.LATENT
        if learn_label:
            built = defaults.labelled_model(data.schema, chosen, latent=size, classifier=taught(data))
        else:
            built = model or defaults.model(data.schema, chosen, latent=size)
    tables = {
        "format": 1,
        "seed": seed,
        "data": about(data, reading),
        **describe_model(built),
        "objective": describe(aim, "objective"),
        "training": asdict(defaults.training(data, training)),
    }
    if prior is None and posterior is not None and posterior.replace("-", "_") in CODED:
        prior = "codes"
    asked = {"prior": prior, "posterior": posterior, "objective": objective if isinstance(objective, str) else None}
    named = {f"{room}.kind": kind.replace("-", "_") for room, kind in asked.items() if kind is not None}
    recipe = with_settings(tables, {**named, **settings})
    if laws_of(recipe["likelihood"]) != laws_of(tables["likelihood"]):
        raise RecipeError("--set likelihood…kind: a law decides how the data are seen. Use --likelihood KIND.")
    if recipe["likelihood"] != tables["likelihood"] and "likelihood.network.outputs" not in settings:
        fit_outputs(recipe["likelihood"], data.schema)
    fit_classes(recipe, built.latent)
    fit_codes(recipe, built.latent)
    fit_prior(recipe, data.schema, built.latent)
    if recipe["prior"] != tables["prior"]:
        fit_decoder(recipe, settings, defaults.given_numbers(data.schema))
    if recipe["posterior"] != tables["posterior"]:
        fit_encoder(recipe, settings)
    steps = Training.of(recipe["training"])
    if steps.by == "em" and reading.stream:
        raise RecipeError("training by em: looks at all examples in every step; leave out --stream, or --by em.")
    if recipe["objective"]["kind"] != "foreign":
        aim = build(recipe["objective"], "objective")  # from the recipe, where --set may have changed it
    if steps.warm_up:
        aim.warmed(1.0)  # refuse before training what has no rate to warm up
    if model is None or any(recipe[place] != tables[place] for place in MODEL):
        model = _fresh_model(recipe, data, None, start=model is None)
    elif steps.by == "em":
        begin_em(model, data.split("train"), seed)
    check_gradient(aim, model.posterior)
    said = [] if learn_label else told_a_label(model, data.schema)
    data = _as_scored(model, data, source)
    bounds(model, data.split("train").rows(torch.zeros(1, dtype=torch.int64)).settled())  # refuse before training
    check_value(aim, model, data.split("train"))
    return Plan(recipe, data, model, aim, steps, [*notes(data), *said])


def told_a_label(model: VAE, schema: Schema) -> list[str]:
    """What to say of a model by hand whose first level is the label's class. Raises RecipeError for other classes."""
    posterior, field = model.posterior, schema.label
    if not isinstance(posterior, ChainPosterior) or field is None or not field.values:
        return []
    if not posterior.check_label(field.name, len(field.values)):
        return []
    return [f"the class at the top of z is the label {field.name!r}: leave it out to find classes in x alone"]


def taught(data: Data) -> float:
    """α for each known label: N over how many are known, so that together they weigh a nat of each example.

    The paper's 0.1 N is for 50,000 rows of 784 pixels. On digits with 100 labels 0.1 N gives an accuracy of 0.80, N and
    more 0.91, no term at all 0.61. Kingma et al. 2014, section 3.1.2 (arXiv 1406.5298).
    """
    train = data.split("train")
    if isinstance(train, Streamed):
        return 1.0  # whose labels are not counted beforehand, and as a rule are all there
    known = 0 if train.label is None else int((train.label >= 0).sum())
    return len(train) / known if known else 0.0


def _as_scored(model: VAE, data: Data, source: Opened | Whole) -> Data:
    """The data with a schema that says of each field whether the model scores it by mass or by density."""
    scored = {field.name: {"resolution": field.resolution} for field in model.likelihood.scored(data.schema.modelled)}
    schema = data.schema.with_fields(scored)
    return data if schema == data.schema else source.prepare(schema)


def chosen_by(model: VAE, schema: Schema) -> dict[str, type[Likelihood]]:
    """The likelihood of each modelled field in a model built by hand."""
    names = [field.name for field in schema.modelled]
    if isinstance(model.likelihood, Mixed):
        return {names[column]: type(part.likelihood) for part in model.likelihood.parts for column in part.columns}
    return dict.fromkeys(names, type(model.likelihood))


def about(data: Data, reading: Reading) -> dict[str, Any]:
    """The [data] table: where the data came from, what was said about them, how they were read and split."""
    origin = {"source": data.origin} if data.origin else {}
    return {"name": data.name, **origin, "fingerprint": data.fingerprint, **reading.table()}


def notes(data: Data) -> list[str]:
    """What a person should know before training starts."""
    found = []
    sizes = {name: len(split) for name, split in data.splits.items()}
    if not sizes["validation"]:
        found.append(
            f"no validation rows among {sum(sizes.values())}: the last weights are kept, and over-fitting goes unseen"
        )
    if sizes["train"] == 1:
        found.append("one training row: the model can only learn it by heart")
    return found


def _fresh_model(
    recipe: Mapping[str, Any], data: Data, modules: Mapping[str, Any] | None, *, start: bool = True
) -> VAE:
    """The recipe's model with the weights its seed gives, torch's global state left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe["seed"])
        model = build_model(recipe, modules)
    if start:
        linear = recipe["objective"]["kind"] not in defaults.WEIGHED
        defaults.start(model, data.split("train"), linear=linear)
    if recipe["training"].get("by") == "em":
        begin_em(model, data.split("train"), recipe["seed"])
    return model


def begin_em(model: VAE, split: Split, seed: int) -> None:
    """Begin expectation–maximisation at the data. Raises RecipeError for a model that it cannot fit step by step."""
    if isinstance(model.posterior, TruncatedPosterior):
        raise RecipeError(
            "training by em: a truncated posterior keeps states of each example from step to step, which a run folder "
            "does not.\n  Fit it with vael.inference.em, or by gradient."
        )
    begin_at(model, split, seed=seed)


def _train(
    plan: Plan, folder: RunFolder, watch: Watch, *, device: str, ranks: Ranks, shard: bool = False,
    resuming: bool = False,
) -> Run:  # fmt: skip
    member = member_of(plan, folder, watch, device=device, ranks=ranks, shard=shard, resuming=resuming)
    try:
        (ending,) = train_together([member])
    except KeyboardInterrupt as error:
        ending = Interrupted(str(error))
    plan.model.to(device)
    return finished(plan, folder, ending, watch, ranks=ranks)


def member_of(
    plan: Plan, folder: RunFolder, watch: Watch, *, device: str, ranks: Ranks = ALONE, shard: bool = False,
    resuming: bool = False,
) -> Member:  # fmt: skip
    """All that training a plan takes, from its beginning or from the folder's last checkpoint."""

    def say(text: str) -> None:
        watch({"event": "note", "text": text})

    def report(line: dict[str, Any]) -> None:
        watch({"event": "line", "line": line, "steps": plan.training.steps})

    # What is spread over ranks cannot be used without them: a copy is, and the plan's own model gets the best weights.
    model, seed = (copy.deepcopy(plan.model) if shard else plan.model).to(device), plan.recipe["seed"]
    split = plan.data.split("train").to(device)
    engine = Engine(model, plan.objective, split, plan.training, seed=seed, say=say, ranks=ranks, shard=shard)
    progress, elapsed = Progress(), 0.0
    if resuming:
        progress, elapsed = _continue(engine, folder)
        watch({"event": "resumed", "step": engine.step})
    validation = plan.data.splits["validation"].settled(seed=0).to(device)
    return Member(engine, validation, keeper(folder, ranks), progress, report, elapsed)


def finished(plan: Plan, folder: RunFolder, ending: Ending, watch: Watch, *, ranks: Ranks = ALONE) -> Run:
    """The run after its training, whose ending is written down; raises it where it is no good one."""
    seed = plan.recipe["seed"]
    if isinstance(ending, Interrupted):
        if ranks.first:
            folder.write_manifest("interrupted", seed=seed)
        raise Interrupted(f"{folder}: {ending}\n  Go on with: vael fit --resume -o {folder}") from ending
    if isinstance(ending, TrainingError):
        if ranks.first:
            folder.write_manifest("failed", seed=seed)
        raise ending
    ranks.by_first(lambda: folder.write_manifest("finished", seed=seed))
    watch({"event": "finished", "outcome": ending, "folder": folder})
    alone(plan.model)
    return with_best(plan, folder)


def with_best(plan: Plan, folder: RunFolder) -> Run:
    """The plan's model with the weights that the folder kept."""
    plan.model.load_state_dict(folder.weights())
    plan.model.eval()
    return Run(folder, plan.model, plan.data.schema, plan.recipe, plan.data)


def alone(model: VAE) -> None:
    """Give every parameter memory of its own, where it was trained as a row of one that others share."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.untyped_storage().nbytes() > tensor.numel() * tensor.element_size():
            tensor.data = tensor.detach().clone()


def _continue(engine: Engine, folder: RunFolder) -> tuple[Progress, float]:
    """Restore the last checkpoint; from the beginning, said aloud, where a kill came before the first."""
    begun = folder.checkpoint.exists() or any(line.get("step") for line in folder.lines())
    progress = load_checkpoint(folder.checkpoint, engine) if begun else Progress()
    lines = [line for line in folder.lines() if line.get("step", 0) <= engine.step]
    engine.ranks.by_first(lambda: folder.cut_history(engine.step))
    return progress, max((line.get("seconds", 0.0) for line in lines), default=0.0)
