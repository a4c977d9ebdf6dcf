"""Sizes of a recipe's parts made to agree: what a changed kind needs of its neighbours, where nobody said."""

from collections.abc import Mapping
from typing import Any

from vael import defaults
from vael.data import Schema
from vael.errors import RecipeError
from vael.runs.recipe import build, describe, takes

CODED = ("quantized", "finite_scalar")  # posteriors that say codes, under a prior over them


def laws_of(table: Mapping[str, Any]) -> list[str]:
    """The kinds of a likelihood's table and of those inside it, networks left out."""
    inner = [*table.get("parts", []), *([table["slab"]] if "slab" in table else [])]
    return [table["kind"], *(kind for part in inner for kind in laws_of(part))]


def fit_outputs(likelihood: dict[str, Any], schema: Schema) -> None:
    """Give the decoder as many outputs as a changed likelihood takes, such as twice as many for a predicted scale."""
    network = likelihood.get("network", {})
    if likelihood["kind"] not in ("mixed", "foreign") and "outputs" in network:
        rest = {key: value for key, value in likelihood.items() if key != "network"}
        bare = build({**rest, "event_shape": list(schema.event_shape)}, "likelihood")
        likelihood["network"] = {**network, "outputs": bare.decoder_outputs(schema.event_shape)}


def fit_classes(recipe: dict[str, Any], latent: int) -> None:
    """Let one-hot choices have as many numbers as z was to have, and prior and posterior the same where one is silent.

    Raises RecipeError where the groups do not divide z.
    """
    tables = [recipe[room] for room in ("posterior", "prior") if takes(room, str(recipe[room]["kind"]), "classes")]
    tables = [table for table in tables if table["kind"] != "foreign"]
    said = {key: table[key] for key in ("groups", "classes") for table in tables if key in table}
    groups = said.get("groups", 1)
    if tables and "classes" not in said:
        if not (isinstance(groups, int) and groups >= 1 and latent % groups == 0):
            raise RecipeError(
                f"fit: z of {latent} numbers cannot be shared out among {groups} groups.\n"
                f"  Give a latent that they divide, or --set prior.classes=NUMBER."
            )
        said["classes"] = latent // groups
    for table in tables:
        table.update({**said, **table})


def fit_codes(recipe: dict[str, Any], latent: int) -> None:
    """Let prior and posterior have the same codes, and as many positions as z was to have numbers for.

    Raises RecipeError where a code's numbers do not divide z.
    """
    tables = [recipe[room] for room in ("posterior", "prior") if recipe[room]["kind"] in (*CODED, "codes")]
    if not tables:
        return
    known = ("positions", "codes", "size", "stages")
    said = {key: table[key] for key in known for table in tables if key in table}
    if recipe["posterior"]["kind"] in CODED and "positions" not in said:
        table = {key: value for key, value in recipe["posterior"].items() if key != "network"}
        one = build({**table, "positions": 1, **({} if table["kind"] == "finite_scalar" else said)}, "posterior").latent
        if latent % one:
            raise RecipeError(
                f"fit: z of {latent} numbers cannot be shared out among positions of {one} numbers each.\n"
                f"  Give a latent that they divide, or --set posterior.positions=NUMBER."
            )
        said["positions"] = latent // one
    for table in tables:
        taken = {key: value for key, value in said.items() if takes_of(table, key)}
        table.update({**taken, **table})
    if recipe["posterior"]["kind"] == "finite_scalar" and recipe["prior"]["kind"] == "codes":
        table = {key: value for key, value in recipe["posterior"].items() if key != "network"}
        member = build(table, "posterior")
        recipe["prior"].update({"codes": member.codes, "size": member.size, **recipe["prior"]})


def takes_of(table: Mapping[str, Any], key: str) -> bool:
    """Whether the prior or posterior that a table describes takes an argument of that name."""
    return takes("prior" if table["kind"] == "codes" else "posterior", str(table["kind"]), key)


def fit_prior(recipe: dict[str, Any], schema: Schema, latent: int) -> None:
    """Give a prior that depends on what is given the network that it has by default, where none was described."""
    table = recipe["prior"]
    if table["kind"] == "conditional" and "network" not in table:
        table["network"] = describe(defaults.prior_network(schema, table.get("latent", latent)), "prior.network")
        table.pop("latent", None)


def fit_decoder(recipe: dict[str, Any], settings: Mapping[str, Any], told: int) -> None:
    """Give the decoder's innermost network as many inputs as a changed prior has numbers, and the `told` ones beside.

    Where none were asked for.
    """
    if recipe["prior"]["kind"] == "foreign":
        return
    table, place = innermost(recipe, "likelihood")
    if "inputs" in table and f"{place}.inputs" not in settings:
        table["inputs"] = build(recipe["prior"], "prior").latent + told


def innermost(recipe: dict[str, Any], room: str) -> tuple[dict[str, Any], str]:
    """The last of the networks inside networks of a room's table, each made one of its own, and its place."""
    recipe[room] = dict(recipe[room])
    table, place = recipe[room], room
    while isinstance(table.get("network"), dict):
        table["network"] = dict(table["network"])
        table, place = table["network"], f"{place}.network"
    return table, place


def fit_encoder(recipe: dict[str, Any], settings: Mapping[str, Any]) -> None:
    """Give the encoder's innermost network as many outputs as a changed posterior takes, where none were asked for."""
    rest = {key: value for key, value in recipe["posterior"].items() if key != "network"}
    table, place = innermost(recipe, "posterior")
    if "outputs" in table and f"{place}.outputs" not in settings:
        member = build(rest, "posterior")
        table["outputs"] = member.width(member.latent)
