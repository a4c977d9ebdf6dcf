"""Schema to model: which likelihood, networks and sizes a person gets who says nothing."""

import inspect
import sys
from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import nn

from vael import likelihoods
from vael.data.dataset import Data, Split
from vael.data.given import numbers_of
from vael.data.schema import Binarization, Field, Schema
from vael.errors import RecipeError
from vael.inference.linear import begin_linear
from vael.likelihoods import Likelihood, Mixed
from vael.models import VAE
from vael.names import closest, kind_of
from vael.networks import MLP, ConvDecoder, ConvEncoder, Rescaled, RowFeatures
from vael.networks.inputs import MANY
from vael.posteriors import CategoricalPosterior, ChainPosterior, GaussianPosterior
from vael.priors import CategoricalPrior, ChainPrior, GaussianPrior
from vael.training import Training

LATENT = 16
SMALL = 128  # features: below it a step costs its overhead, whatever the layers
FEWEST_STEPS, EPOCHS = 6_000, 20
# Steps between two looks at the validation rows, at least, and looks without a better bound that end training. A small
# table's model begins near its best, and over-fits after: of wdbc's 398 rows within 200 steps.
LOOKS, LOOKS_AT_A_TABLE = (100, 15), (50, 20)
EMBEDDING = 16  # numbers for a category of many levels

# Pictures of at least so many pixels a side get convolutions. In equal time on one thread, two minutes, they are worth
# 44 nats of validation ELBO on the Frey faces (28 × 20), 75 on Omniglot and 37 on MNIST (28 × 28).
LEAST_SIDE, LEAST_SIDE_IN_COLOUR = 16, 8
FINEST, WIDEST = 32, 256  # channels of the first level, doubling to at most so many; half as many above 64 pixels
MAPPED = 64 * 64  # pixels up to which a decoder learns a bias for each of its outputs

LIKELIHOOD_OF: dict[str, type[Likelihood]] = {
    "binary": likelihoods.Bernoulli,
    "image": likelihoods.DiscretizedLogistic,
    "real": likelihoods.Gaussian,
    "positive": likelihoods.LogNormal,
    "count": likelihoods.NegativeBinomial,
    "ordinal": likelihoods.OrderedLogit,
    "category": likelihoods.Categorical,
}

# How wide the noise is may depend on z in a table: on Adult and red wine that is worth 2.1 and 0.9 nats of test ELBO
# over one scale for each column. A picture's one scale is what the literature's Gaussian decoders have.
OF_A_TABLE: dict[type[Likelihood], dict[str, Any]] = {
    likelihoods.Gaussian: {"scale": "per_example"},
    likelihoods.NegativeBinomial: {"dispersion": "per_example"},
    likelihoods.ZeroInflatedNegativeBinomial: {"dispersion": "per_example"},
}
OF_AN_ARRAY: dict[type[Likelihood], dict[str, Any]] = {likelihoods.Gaussian: {"scale": "shared"}}

Chosen = dict[str, type[Likelihood]]


def likelihood_kinds() -> dict[str, type[Likelihood]]:
    """Every likelihood a single field can have, by its name in a recipe."""
    found = [member for name in likelihoods.__all__ if isinstance(member := getattr(likelihoods, name), type)]
    return {
        kind_of(member): member
        for member in found
        if issubclass(member, Likelihood) and not inspect.isabstract(member) and member is not Mixed
    }


def choose(schema: Schema, asked: str | None = None) -> Chosen:
    """The likelihood of each modelled field: `asked` for all of them, or the default of each one's kind.

    Raises RecipeError when the name is unknown, or when its law cannot be that of a field.
    """
    if asked is None:
        return {field.name: default_of(field) for field in schema.modelled}
    kinds = likelihood_kinds()
    name = asked.replace("-", "_")
    if name not in kinds:
        raise RecipeError(f"likelihood: unknown kind {asked!r}. There are: {', '.join(kinds)}.{closest(name, kinds)}")
    for field in schema.modelled:
        refusal = kinds[name].refusal(field)
        if refusal:
            raise RecipeError(
                f"likelihood {asked!r}: {refusal}; field {field.name!r} is {field.describe()}.\n"
                f"  Leave --likelihood out for the default of each field, or change the field with "
                f"--column {field.name}=KIND."
            )
    return {field.name: kinds[name] for field in schema.modelled}


def default_of(field: Field) -> type[Likelihood]:
    """The likelihood of a field about which nothing is said."""
    if field.spike is not None:
        return likelihoods.Spiked
    if field.kind == "unit":
        # Beta beats a Gaussian by 1.26 ± 0.33 nats on three columns of thyroid; the continuous Bernoulli, with one
        # number for centre and spread, loses to a Gaussian by 3.9 ± 0.2 nats on pendigits. But beta is infinite at 0
        # and 1 off a grid, and its quadrature over every pixel costs ten times a Gaussian.
        refused = bool(field.shape) or likelihoods.Beta.refusal(field) is not None
        return likelihoods.Gaussian if refused else likelihoods.Beta
    # In grey a mixture of five is 2.7 nats worse than one logistic on digits and 36 on frey_faces, where it learns grey
    # levels by heart, and 6 better on omniglot28's 3630; in colour it is what lets a channel look at the others.
    colour = field.kind == "image" and field.shape[:1] == (3,)
    return likelihoods.LogisticMixture if colour else LIKELIHOOD_OF[field.kind]


def candidates(field: Field) -> list[type[Likelihood]]:
    """The likelihoods that `--likelihood auto` tries for a field, its default first.

    Beside a spike off the grid there is none: a mass at one value and a density everywhere do not compare.
    """
    if field.spike is not None and not field.resolution:
        return [default_of(field)]
    others = [m for m in likelihood_kinds().values() if field.kind in m.candidate_for and m.refusal(field) is None]
    return list(dict.fromkeys([default_of(field), *others]))


def with_views(schema: Schema, chosen: Mapping[str, type[Likelihood]], binarize: Binarization | None) -> Schema:
    """The schema with the view that each field's likelihood needs; grey pictures under Bernoulli get `binarize`."""
    changed: dict[str, dict[str, Any]] = {}
    for field in schema.modelled:
        view = chosen[field.name].view_for(field)
        drawn = view == "binary" and field.kind == "image"
        # Only a law that knows of the spike gives it a mass; under any other its rows are points like the rest.
        spike = field.spike if issubclass(chosen[field.name], likelihoods.Spiked) else None
        drawing = (binarize or "dynamic") if drawn else None
        changed[field.name] = {"view": view, "binarization": drawing, "spike": spike}
    if binarize and not any(change["binarization"] for change in changed.values()):
        raise RecipeError("binarize: only grey pictures under the Bernoulli likelihood are binarised. Leave it out.")
    return schema.with_fields(changed)


def arguments(member: type[Likelihood], fields: list[Field]) -> dict[str, Any]:
    """What a likelihood over `fields` is built with: what the schema decides, and our choice of its spread."""
    chosen = OF_AN_ARRAY if fields[0].shape else OF_A_TABLE
    return {**member.arguments(fields), **chosen.get(member, {})}


def hidden_of(schema: Schema) -> list[int]:
    """Widths of the hidden layers, by the number of features."""
    return [256, 256] if schema.dims < SMALL else [512, 256]


def model(schema: Schema, chosen: Chosen, *, latent: int = LATENT) -> VAE:
    """A VAE for the fitted `schema`: standard normal prior, diagonal Gaussian posterior, MLPs or convolutions.

    Where something is given, both networks are told it.
    """
    hidden = hidden_of(schema)
    return VAE(
        GaussianPrior(latent),
        likelihood(schema, chosen, latent + given_numbers(schema), hidden[::-1]),
        GaussianPosterior(encoder(schema, 2 * latent, hidden)),
    )


def labelled_model(schema: Schema, chosen: Chosen, *, latent: int = LATENT, classifier: float = 0.0) -> VAE:
    """A model of x and its label's class y: p(y) p(z) p(x|y, z), q(y|x) q(z|x, y), each network as without a class.

    classifier: α of `ChainPosterior`. Raises RecipeError where there is no label with classes.
    """
    field = schema.label
    if field is None or field.kind not in ("category", "binary") or not field.values:
        told = "there is no label" if field is None else f"the label {field.name!r} is {field.kind}"
        name = "NAME" if field is None else field.name
        raise RecipeError(
            f"learn_label: needs a label with classes; {told}.\n  Say --label {name}, or --column {name}=category too."
        )
    classes, hidden = len(field.values), hidden_of(schema)
    return VAE(
        ChainPrior([CategoricalPrior(classes), GaussianPrior(latent)]),
        likelihood(schema, chosen, classes + latent + given_numbers(schema), hidden[::-1]),
        ChainPosterior(
            [
                CategoricalPosterior(encoder(schema, classes, hidden), classes=classes, enumerates=True),
                GaussianPosterior(encoder(schema, 2 * latent, hidden, above=classes)),
            ],
            classifier=classifier,
        ),
    )


def given_numbers(schema: Schema) -> int:
    """How many numbers p(x|given) is told of each example."""
    return sum(map(numbers_of, schema.given)) + (schema.dims if schema.part is not None else 0)


def prior_network(schema: Schema, latent: int) -> MLP:
    """The network of a prior that depends on what is given. Raises RecipeError where nothing is."""
    told = given_numbers(schema)
    if not told:
        raise RecipeError("prior conditional: is p(z|given), and nothing is given.\n  Say what: --given COLUMN.")
    return MLP(told, hidden_of(schema)[-1:], 2 * latent)


def likelihood(schema: Schema, chosen: Chosen, latent: int, hidden: list[int]) -> Likelihood:
    """p(x|z) over the schema's modelled fields: one law for all, or `Mixed` where they differ; of `latent` inputs."""
    groups = grouped(schema, chosen)
    if len(groups) == 1:
        (member, fields) = groups[0]
        given = arguments(member, fields)
        outputs = member(None, event_shape=schema.event_shape, **given).decoder_outputs(schema.event_shape)
        return member(decoder(schema, latent, hidden, outputs), **given)
    place = {field.name: column for column, field in enumerate(schema.modelled)}
    parts = [
        ([place[field.name] for field in fields], member(None, event_shape=len(fields), **arguments(member, fields)))
        for member, fields in groups
    ]
    return Mixed(MLP(latent, hidden, Mixed.outputs_for(parts), skip=True), parts=parts)


def grouped(schema: Schema, chosen: Chosen) -> list[tuple[type[Likelihood], list[Field]]]:
    """Fields that one likelihood object can score together: the same law, number of levels and slab."""
    groups: dict[tuple[Any, ...], list[Field]] = {}
    for field in schema.modelled:
        member, given = chosen[field.name], chosen[field.name].arguments([field])
        groups.setdefault((member, given.get("levels", 0), type(given.get("slab"))), []).append(field)
    return [(chosen[fields[0].name], fields) for fields in groups.values()]


def channels_of(schema: Schema) -> list[int]:
    """Channels of a convolutional network, the finest level first; none where the data are no pictures, or small ones.

    Sides are halved until 4 pixels or fewer are left.
    """
    if schema.is_table or len(schema.event_shape) != 3:
        return []
    colours, height, width = schema.event_shape
    shorter, longer = sorted((height, width))
    if shorter < (LEAST_SIDE if colours == 1 else LEAST_SIDE_IN_COLOUR):
        return []
    levels = min(sum(longer >> level > 4 for level in range(longer.bit_length())), shorter.bit_length() - 1)
    finest = FINEST if longer <= 64 else FINEST // 2
    return [min(finest << level, WIDEST) for level in range(levels)]


def decoder(schema: Schema, latent: int, hidden: list[int], outputs: Any) -> nn.Module:
    """The network of p(x|z) where one law scores all of x: convolutional for pictures, else an MLP."""
    channels = channels_of(schema)
    if not channels:
        return MLP(latent, hidden, outputs, skip=schema.is_table)
    small = prod(schema.event_shape[1:]) <= MAPPED
    return ConvDecoder(latent, channels[::-1], outputs, bias="per_pixel" if small else "per_channel")


def encoder(schema: Schema, outputs: int, hidden: list[int], *, above: int = 0) -> nn.Module:
    """The network of q(z|x): x brought to one range or made into features, then convolutions or an MLP.

    above: How many numbers of latents above it is told, beside what is given.
    """
    fields, told = schema.modelled, given_numbers(schema) + above
    beside: dict[str, Any] = {"given": told} if told else {}
    if not schema.is_table:
        channels = channels_of(schema)
        trunk = (ConvEncoder if channels else MLP)(schema.event_shape, channels or hidden, outputs, **beside)
        half = (fields[0].levels - 1) / 2
        return (
            Rescaled(trunk, loc=half, scale=half) if fields[0].kind == "image" and fields[0].view == "whole" else trunk
        )
    levels = [field.levels if field.coded else 0 for field in fields]
    logs = ("count", "whole"), ("count", "scaled"), ("positive", "scaled")
    counts = [column for column, field in enumerate(fields) if (field.kind, field.view) in logs]
    holes = [column for column, field in enumerate(fields) if field.missing]
    if not any(level > 2 for level in levels) and not counts and not holes:
        return MLP(len(fields), hidden, outputs, skip=True, **beside)
    learned = {"embedding": EMBEDDING} if max(levels) > MANY else {}
    features = MLP(RowFeatures.width(levels, holes, **learned), hidden, outputs, skip=True, **beside)
    return RowFeatures(features, levels=levels, counts=counts, holes=holes, **learned)


# Objectives that weigh the parts of the bound otherwise, or leave one out. What they end at may have a lower ELBO than
# the linear model of the data, and weights are kept by that: begun there, they would keep the beginning.
WEIGHED = (
    "beta", "capacity", "total_correlation", "factor", "dip", "info_vae", "matching", "adversarial_matching",
    "feature_adversary", "rae", "reconstruction",
)  # fmt: skip


def start(model: VAE, split: Split, *, linear: bool = True) -> None:
    """Begin at the data: a decoder that can is set to fit x without any z, a prior that can is shown examples.

    linear: Whether networks that can begin at the linear model of the data.

    Networks with a linear part begin at the linear model of the data, see `begin_linear`. Part and start are worth 5.5
    nats of test log p on wdbc (398 rows train), 1.3 on concrete and 0.3 on red wine; one split each, 300 draws.
    """
    begin = getattr(model.likelihood.network, "begin", None)
    rows = torch.arange(min(len(split), 10_000))
    part = split.rows(rows).settled(seed=0)
    batch = part.batch(rows)
    model.prior.begin(batch.x[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))])
    if begin is None:
        return
    observed = torch.ones_like(batch.x.flatten(1), dtype=torch.bool) if batch.observed is None else batch.observed
    values = model.likelihood.marginal(batch.x, observed)
    if values is not None:
        begin(values)
    if linear:
        begin_linear(model, batch)


def training(data: Data, asked: Mapping[str, Any]) -> Training:
    """Steps, batch and cadence for the size of the data, where `asked` does not say; `epochs` becomes steps."""
    rest = {key: value for key, value in asked.items() if key != "epochs" and value is not None}
    if "steps" in rest and asked.get("epochs") is not None:
        raise RecipeError(f"Training: give steps or epochs, not both; got {rest['steps']} and {asked['epochs']}.")
    Training.of({"steps": sys.maxsize, **rest})  # refuse what can never be, before computing with it
    examples = len(data.split("train"))
    batch = min(rest.get("batch", 128), examples)
    epoch = -(-examples // batch)
    epochs = asked.get("epochs")
    if epochs is not None and not epochs > 0:
        raise RecipeError(f"Training: epochs must be above 0, got {epochs}.")
    steps = max(FEWEST_STEPS, EPOCHS * epoch) if epochs is None else max(1, round(epochs * examples / batch))
    steps = rest.get("steps", steps)
    least, patience = LOOKS_AT_A_TABLE if data.schema.is_table else LOOKS
    settings = {
        "steps": steps,
        "batch": batch,
        "evaluate_every": max(1, min(epoch, 1000) if epoch >= 100 else min(least, steps)),
    }
    if "steps" not in rest and epochs is None:
        settings["patience"] = patience
    return Training.of({**settings, **rest, "batch": batch})
