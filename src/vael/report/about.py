"""What was fitted, and what to type next."""

import shlex
from collections.abc import Mapping
from typing import Any

from vael.data.outputs import is_picture
from vael.names import shape_of
from vael.report.blocks import Block, Commands, Facts, Note, Section, Text
from vael.report.subject import Subject


def about(subject: Subject) -> Section:
    """The data, the model and its training, in words."""
    recipe, model = subject.recipe, subject.model
    facts = [
        ("data", data_of(subject)),
        ("x", fields_of(subject)),
        ("likelihood p(x|z)", said(model.likelihood, recipe["likelihood"])),
        ("prior p(z)", said(model.prior, recipe["prior"])),
        ("posterior q(z|x)", said(model.posterior, recipe["posterior"])),
        ("objective", f"{shape_of(recipe['objective'])}; the figures below are at β = 1 whatever was optimised"),
        ("training", training_of(recipe["training"])),
        ("latents", f"{model.latent}"),
        ("parameters", f"{model.parameters_count:,}"),
        ("seed", str(recipe["seed"])),
        ("fitted with", subject.made_with),
    ]
    blocks: list[Block] = [Facts(facts)]
    if subject.state != "finished":
        blocks.append(
            Note(
                f"This run is not finished ({subject.state}). The page shows its best weights so far; "
                f"`vael fit --resume -o {shlex.quote(subject.run)}` goes on with it."
            )
        )
    if subject.given:
        blocks.append(
            Note("The data of this page are not those the run was fitted on: all their rows are taken as one split.")
        )
    elif not subject.splits:
        blocks.append(
            Note(
                f"The data are not at hand, so the page has no reconstructions, no comparison of samples with data and "
                f"no latent space. {subject.absent} "
                f"Hand them over with `vael report {shlex.quote(subject.run)} DATA`, or in Python with "
                f"`vael.load({subject.run!r}).report(data=…)`."
            )
        )
    elif subject.split_name != "test":
        blocks.append(
            Note(
                f"There are no test rows: everything below is about the {subject.split_name} split, which the model "
                f"{'was chosen by' if subject.split_name == 'validation' else 'was trained on'}. Its figures are "
                f"too good to be expected of new data."
            )
        )
    return Section("fitted", "What was fitted", blocks)


def said(part: object, table: Mapping[str, Any]) -> str:
    """What a part of the model says of itself, and the recipe's line for it."""
    first = (type(part).__doc__ or "").strip().partition("\n")[0]
    return (f"{first} " if first else "") + f"`{shape_of(dict(table))}`"


def data_of(subject: Subject) -> str:
    """The data's name and the sizes of their splits."""
    sizes = ", ".join(f"{name} {len(split):,}" for name, split in subject.splits.items())
    return f"{subject.recipe['data']['name']}" + (f": {sizes} examples" if sizes else "")


def fields_of(subject: Subject) -> str:
    """What one x is: the array and its values, or how many columns of which kind."""
    schema = subject.schema
    if not schema.is_table:
        field = schema.modelled[0]
        return f"{' × '.join(map(str, field.shape))} numbers, {field.describe()}"
    kinds: dict[str, int] = {}
    for field in schema.modelled:
        kinds[field.kind] = kinds.get(field.kind, 0) + 1
    several = f"{len(schema.modelled)} column{'s' * (len(schema.modelled) != 1)}: "
    text = several + (
        ", ".join(f"{count} {kind}" for kind, count in kinds.items()) if len(kinds) > 1 else next(iter(kinds))
    )
    rest = [f"{field.name} ({field.role if field.role != 'data' else field.kind})"
            for field in schema if not field.modelled]  # fmt: skip
    return text + (f"; beside them {', '.join(rest[:8])}{' …' if len(rest) > 8 else ''}" if rest else "")


def training_of(table: Mapping[str, Any]) -> str:
    """The training settings in a line."""
    text = (
        f"at most {table['steps']:,} steps of {table['batch']} examples, AdamW, learning rate "
        f"{table['learning_rate']:g} ({table['schedule']}), gradients clipped at {table['clip']:g}"
    )
    if table.get("warm_up"):
        text += f", warm-up of {table['warm_up']:,} steps"
    if table.get("patience"):
        text += f", stopped after {table['patience']} evaluations without a better validation bound"
    return text


def next_steps(subject: Subject) -> Section:
    """Commands for this very run."""
    if foreign(subject.recipe):
        return Section("next", "What to type next", [
            Text("The model holds modules from outside vael, which a run folder does not keep: use it from Python."),
            Commands([(f"run = vael.load({subject.run!r}, modules={{…}})", "each module by its place in recipe.toml"),
                      ("run.evaluate(draws=5000)", "log p(x) with its errors"),
                      ("run.sample(64, seed=1)", "new examples")]),
        ])  # fmt: skip
    run = shlex.quote(subject.run)
    data = "" if "source" in subject.recipe["data"] else " DATA"
    pictures = is_picture(subject.schema)
    suffix = "png" if pictures else "csv" if subject.schema.is_table else "npz"
    rows = [
        (f"vael evaluate {run}{data} --draws 5000", "log p(x) from 5,000 draws, kept for the next report"),
        (f"vael sample {run} -n 64 --seed 1 -o samples.{suffix}", "new examples, in the data's own types and units"),
        (f"vael reconstruct {run}{data} -o reconstructions.{suffix}", "what the model makes of each example"),
        (f"vael encode {run}{data} -o latents.csv", "the posterior mean of each example"),
        (f"vael interpolate {run}{data} --rows 1,2 -o way.{suffix}", "the way from one example to another"),
        (f"vael compare {run} OTHER-RUN", "this run beside another one on the same data, with paired errors"),
    ]
    if subject.state != "finished":
        rows.insert(0, (f"vael fit --resume -o {run}", "go on training from the last checkpoint"))
    return Section("next", "What to type next", [Commands(rows)])


def foreign(table: Mapping[str, Any]) -> bool:
    """Whether a recipe names a module from outside, at any depth."""
    return table.get("kind") == "foreign" or any(foreign(value) for value in table.values() if isinstance(value, dict))
