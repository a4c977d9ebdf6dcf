"""vael fit: from data to a run."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from vael.cli.options import Device, Json, about_data, values
from vael.errors import RecipeError


def fit(
    data: str | None = None,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    recipe: str | None = None,
    latent: int | None = None,
    likelihood: str | None = None,
    binarize: Literal["dynamic", "static", "threshold"] | None = None,
    prior: str | None = None,
    posterior: str | None = None,
    objective: str | None = None,
    beta: float | None = None,
    draws: int | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    batch: int | None = None,
    learning_rate: float | None = None,
    by: Literal["gradient", "em"] | None = None,
    warm_up: int | None = None,
    cycles: int | None = None,
    patience: int | None = None,
    schema: Path | None = None,
    column: Annotated[list[str] | None, Parameter(negative="")] = None,
    ignore: Annotated[list[str] | None, Parameter(negative="")] = None,
    label: Annotated[list[str] | None, Parameter(negative="")] = None,
    labels: int | None = None,
    learn_label: Annotated[bool, Parameter(negative="")] = False,
    given: Annotated[list[str] | None, Parameter(negative="")] = None,
    given_part: Annotated[list[str] | None, Parameter(negative="")] = None,
    missing: Annotated[list[str] | None, Parameter(negative="")] = None,
    split: Annotated[list[str] | None, Parameter(negative="")] = None,
    resize: str | None = None,
    features: int | None = None,
    stream: Annotated[bool, Parameter(negative="")] = False,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    seeds: int | None = None,
    compile: Annotated[bool, Parameter(negative="")] = False,
    precision: Literal["float32", "bf16"] | None = None,
    seed: Annotated[int | None, Parameter(help="The same seed gives the same numbers; 0 when left out.")] = None,
    device: Device = "cpu",
    shard: Annotated[bool, Parameter(negative="")] = False,
    quiet: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
) -> None:
    """Fit a variational autoencoder to DATA and keep the run.

    Examples: vael fit digits
              vael fit people.csv --latent 8 --column age=real --ignore id
              vael fit --resume -o runs/digits-1
              torchrun --nproc-per-node 2 -m vael fit digits -o runs/digits-1

    Parameters
    ----------
    data
        A set by name (digits, iris, wine, breast_cancer, diabetes, mnist …), a .npy, .npz, .csv[.gz], .tsv, .parquet
        or .feather file, a folder of such tables, or a folder of pictures.
    output
        The run folder; runs/<data>-1, -2, … when left out.
    recipe
        A ready recipe from vael recipes, NAME or NAME:ARM, or a .toml file, to start from; options replace its own.
    latent
        How many numbers z holds; 16 when left out.
    likelihood
        One law for every field, such as gaussian or student_t, instead of each kind's default; auto for the best of
        those that fit, by short trials on the validation rows. docs/likelihoods.md lists them.
    binarize
        How grey pictures become zeros and ones under the Bernoulli likelihood.
    prior
        A kind of prior, such as bernoulli or categorical; gaussian, the standard normal, when left out.
    posterior
        A kind of posterior, such as full_gaussian, or the kind of a discrete prior; gaussian, with independent latents,
        when left out.
    objective
        A kind of objective, such as beta, free_bits, iwae or, for discrete latents, vimco; elbo when left out. The ELBO
        at β = 1 is reported in any case. Other arguments of a kind are given by --set, as in --set objective.bits=0.2.
    beta
        Weight of the rate in the beta objective.
    draws
        Draws of z per example in training; the objective's own number when left out, 1 for most, 64 for miwae,
        piwae and ciwae, 50 for iwae, dreg and renyi, 10 for vimco and wake_wake, 4 for score.
    epochs
        Passes through the training rows; chosen by size when left out.
    steps
        Updates in all, instead of epochs.
    batch
        Examples per update; 128 when left out.
    learning_rate
        Of AdamW at the start; 0.001 when left out.
    by
        gradient, or em for a classical model: expectation–maximisation over all examples in every step.
    warm_up
        Steps over which the rate's weight rises to its full value.
    cycles
        How often the warm-up is gone through, at even distances; 1 when left out.
    patience
        Evaluations without a better validation bound after which to stop; 0 for never.
    schema
        A file that says what the columns are, as vael data -o writes it and a run keeps it; it may be edited.
    column
        NAME=KIND, to override what was inferred; may be repeated. Kinds: binary, image, unit, real, positive, count,
        ordinal, category, constant, id.
    ignore
        A column to leave out; may be repeated.
    label
        A column to keep beside the data, not in it; may be repeated.
    labels
        How many training rows keep their label, of each class alike; all when left out.
    learn_label
        Model the label's class too, known where the label is: vael classify then tells it for every row.
    given
        A column that the rest is conditioned on, p(x | given); may be repeated.
    given_part
        ROWS,COLUMNS of each picture that the rest of it is conditioned on, such as 14:28,0:14 for the lower left
        quarter of 28 x 28 pixels, or :,13 for one column; may be repeated.
    missing
        A text that marks a missing value, beside the usual ones.
    split
        validation=SHARE, test=SHARE, or the name of the column that says which rows train; may be repeated.
    resize
        The size in pixels that pictures are brought to, 64 or 64x48 (width x height), after a centred crop.
    features
        How many columns of a wide table of counts to keep: those with the largest totals.
    stream
        Leave the training rows of .parquet or .feather files on disk and read them as they are needed: for tables
        larger than memory.
    set_
        KEY=VALUE of the recipe, such as likelihood.scale=per_example or training.clip=10.
    resume
        Go on with the run in --output (the latest when left out) from its last checkpoint.
    seeds
        How many fits of the same recipe, from --seed on, trained side by side as one batched model, in a folder seed-…
        for each inside --output; the spread of their bounds is told.
    compile
        Have torch's compiler fuse the step: about half a minute of compiling, then a faster step. Needs a C++ compiler.
    precision
        bf16 takes the matrix products of training in half the digits; weights and every evaluation stay in float32.
    shard
        Spread weights and moments over torchrun's processes, for a model too large for each to train whole.
    quiet
        No progress on stderr.
    """
    from vael.cli.show import Watcher, note, say, say_json
    from vael.runs import fit as fit_run
    from vael.runs import latest_folder, ready
    from vael.runs import resume as resume_run
    from vael.runs.fit import nothing
    from vael.runs.several import fit_seeds, spread
    from vael.training import is_first

    watch = nothing if quiet else Watcher()
    aim = said(draws=draws, beta=beta)
    asked = said(
        latent=latent, likelihood=likelihood, binarize=binarize, prior=prior, posterior=posterior, objective=objective,
        epochs=epochs, steps=steps, batch=batch, learning_rate=learning_rate, by=by, warm_up=warm_up, cycles=cycles,
        patience=patience, seed=seed, precision=precision, compile=compile or None, labels=labels,
        learn_label=learn_label or None,
    )  # fmt: skip
    about: dict[str, Any] = {
        "column": column, "ignore": ignore, "label": label, "given": given, "given_part": given_part,
        "missing": missing, "split": split, "schema": schema, "resize": resize, "features": features,
    }  # fmt: skip
    if resume:
        refuse_with_resume({*aim, *asked, *said(**about, set=set_, recipe=recipe, stream=stream or None, seeds=seeds)})
        run = resume_run(output or latest_folder(unfinished=True), data=data, device=device, shard=shard, watch=watch)
    else:
        name, _, arm = (recipe or "").partition(":")
        base = ready.read(name).arguments(arm or None) if name else {}
        if asked.keys() & {"steps", "epochs"}:  # the one that is said stands for the other
            base = {key: value for key, value in base.items() if key not in ("steps", "epochs")}
        arguments = {**base, **said(data=data), **asked, **about_data(**about)}
        arguments |= said(stream=stream or None)
        if "data" not in arguments:
            raise RecipeError("fit: DATA is missing. Name a built-in set such as digits, or a .npy, .npz or .csv file.")
        kind = arguments.get("objective", "elbo")
        settings = {**base.get("settings", {}), **arguments_of(kind, aim), **values(set_ or [], "--set")}
        arguments |= {"settings": settings, "output": output, "device": device, "watch": watch}
        if seeds is not None:
            told = spread(fit_seeds(seeds=seeds, **arguments))
            say("\n".join(f"{name:<12}{text}" for name, text in told.rows()))
            if json:
                say_json(told.to_json())
            return
        run = fit_run(**arguments, shard=shard)
    if not is_first():  # a rank of torchrun's: the first speaks for all
        return
    say(f"run         {run.folder}")
    if not quiet:
        note(f"next        vael evaluate {run.folder}    vael sample {run.folder} -n 64")
    if json:
        say_json(summary(run))


def arguments_of(objective: str, given: dict[str, Any]) -> dict[str, Any]:
    """Options that are arguments of the objective, as settings. Raises RecipeError for one that it does not take."""
    from vael.runs.recipe import members, takes

    for name, value in given.items():
        if not takes("objective", objective, name):
            fitting = sorted(kind for kind in members("objective") if takes("objective", kind, name))
            raise RecipeError(f"--{name} {value}: goes with --objective {' or '.join(fitting)}, got {objective}.")
    return {f"objective.{name}": value for name, value in given.items()}


def said(**options: Any) -> dict[str, Any]:
    """The options that were given a value."""
    return {key: value for key, value in options.items() if value is not None}


def refuse_with_resume(given: set[str]) -> None:
    """Raise RecipeError when an option would change a run that only goes on."""
    if given:
        names = ", ".join(sorted(f"--{name.replace('_', '-')}" for name in given))
        of_many = " Several seeds go on with the command that began them and its -o." if "seeds" in given else ""
        raise RecipeError(f"--resume goes on with the recipe as it is; leave out {names}, or fit a new run.{of_many}")


def summary(run: object) -> dict[str, object]:
    """The documented keys of `fit --json`: the bound on the validation split, at the best weights."""
    from vael.evaluation import evaluate
    from vael.runs import Run

    assert isinstance(run, Run)
    split = "validation" if len(run.data.splits["validation"]) else "train"
    found = evaluate(run.model, run.data.split(split).resident(), name=split, draws=1, max_examples=1)
    lines = [line for line in run.history if "seconds" in line]
    reasons = {
        **found.reasons,
        "evidence": "not estimated by fit; see vael evaluate",
        "bits_per_dim": found.reasons.get("bits_per_dim", "needs the evidence"),
    }
    return {
        "run": str(run.folder),
        **{**found.to_json(), "evidence": None, "bits_per_dim": None, "reasons": reasons},
        "seconds": lines[-1]["seconds"] if lines else None,
        "steps": lines[-1]["step"] if lines else 0,
    }
