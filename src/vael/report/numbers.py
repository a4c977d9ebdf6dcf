"""The evaluation as numbers with units and errors, and the words that belong to them."""

import math
from dataclasses import replace

from vael.evaluation import SIDES
from vael.files import Json
from vael.report.blocks import Block, Note, Quantities, Quantity, Section, Text
from vael.report.subject import Subject


def numbers(subject: Subject) -> Section:
    """What `vael evaluate` found, or a small evaluation made for the page."""
    found = subject.numbers
    if found is None:
        return Section("numbers", "The numbers", [*_from_history(subject)])
    rows = [
        _quantity(found, "elbo", "−ELBO", "the bound: what an example costs to describe; less is better", sign=-1),
        _quantity(found, "rate", "rate", "KL(q(z|x)‖p(z)), the part spent on z", inner=True),
        _quantity(found, "distortion", "distortion", "−E log p(x|z), the part left for x once z is known", inner=True),
        _quantity(found, "evidence", "log p(x)", _evidence_words(found)),
        _bits(found),
        Quantity(
            "active units", "active_units", found["active_units"], None, f"of {found['latent']}",
            "latents whose posterior mean has a variance above 0.01 over the examples", digits=0,
        ),
    ]  # fmt: skip
    blocks: list[Block] = [Text(how(subject, found)), Quantities(sharpened(rows))]
    blocks += [Note(text) for text in found["warnings"]]
    if subject.kept is None:
        blocks.append(
            Text(
                "The run folder keeps no whole evaluation of these weights, so this is a small one, made for the page. "
                "`vael evaluate` makes a thorough one and keeps it."
            )
        )
    return Section("numbers", "The numbers", blocks)


def sharpened(rows: list[Quantity]) -> list[Quantity]:
    """Numbers in nats with as many digits as show the smallest of their errors."""
    errors = [row.error for row in rows if row.unit == "nats" and row.error]
    digits = 2 if not errors or min(errors) >= 0.005 else min(6, math.ceil(-math.log10(min(errors))))
    return [replace(row, digits=digits) if row.unit == "nats" else row for row in rows]


def how(subject: Subject, found: Json) -> str:
    """What was measured, on what, with which errors."""
    where = "the given data" if found["split"] == "given data" else f"the {found['split']} split"
    text = (
        f"Number on {where}, {found['examples']:,} example{'s' * (found['examples'] != 1)}, in nats per example "
        f"(1 nat = 1.44 bits). ± is the standard error over examples."
    )
    if found["elbo"]:
        text += f" The bound takes {found['elbo']['draws']} draw of z for each."
    evidence = found["evidence"]
    if not evidence:
        return text
    if evidence["method"] == "exact":
        return text + " log p(x) is exact: this model has it in closed form, or as a sum over its states."
    error, size = evidence["monte_carlo_error"], evidence["effective_sample_size"]
    every = evidence["examples"] == found["examples"]
    some = "every example" if every else f"{evidence['examples']:,} of them, carried to all by the bound"
    side = SIDES[evidence["bound"]] + (" in expectation" if size else "")
    moved = "an unknown amount" if error is None else f"± {error:.3f} nats"
    text += (
        f" log p(x) is estimated by {ways(evidence)} on {some}, and is {side}; other draws would move it by {moved} "
        f"(Monte Carlo error)."
    )
    return text + (
        f" The draws of an example are worth {size['median']:.0f} equal ones at the median and {size['min']:.1f} at "
        f"the least (effective sample size): the nearer to {evidence['draws']:,}, the tighter." if size else ""
    )  # fmt: skip


def ways(evidence: Json) -> str:
    """How log p(x) was found, in words."""
    draws = f"{evidence['draws']:,}"
    return {
        "importance": f"importance sampling with {draws} draws",
        "annealed": f"annealed importance sampling with {draws} chains",
        "thermodynamic": f"thermodynamic integration along {draws} chains",
        "quadrature": f"quadrature with {draws} nodes for each latent",
    }.get(evidence["method"], f"{evidence['method'].replace('_', ' ')} with {draws} draws")


def _quantity(found: Json, key: str, name: str, words: str, *, sign: int = 1, inner: bool = False) -> Quantity:
    number = found[key]
    if number is None:
        return Quantity(name, key, None, None, "", f"none: {found['reasons'].get(key, 'not measured')}")
    return Quantity(name, key, sign * number["value"], number["standard_error"], "nats", words, inner=inner)


def _evidence_words(found: Json) -> str:
    evidence = found["evidence"] or {"bound": ""}
    bound = {"lower": "a lower bound", "upper": "an upper bound"}.get(evidence["bound"], "")
    return "the log-probability (or log-density) of an example" + (f", {bound}" if bound else "") + "; more is better"


def _bits(found: Json) -> Quantity:
    value, evidence = found["bits_per_dim"], found["evidence"]
    if value is None:
        reason = found["reasons"].get("bits_per_dim") or found["reasons"].get("evidence", "not measured")
        return Quantity("bits/dim", "bits_per_dim", None, None, "", f"none: {reason}")
    # Both are the same nats over the same constant.
    error = evidence["standard_error"]
    relative = None if error is None or not evidence["value"] else abs(error / evidence["value"])
    words = (
        f"from log p(x), for each observed number of the {found['dims']:,} in an example: the length of an ideal code"
    )
    return Quantity("bits/dim", "bits_per_dim", value, relative and relative * value, "bits", words, digits=4)


def _from_history(subject: Subject) -> list[Block]:
    """The validation bound of the kept weights, where there are no data to measure on."""
    best = [line for line in subject.history if line.get("best") and line.get("validation")]
    text = "Nothing was measured: the data are not at hand, and the run folder keeps no evaluation of these weights."
    if not best:
        return [Note(text)]
    words = {"elbo": "−ELBO", "rate": "rate", "distortion": "distortion"}
    rows = [
        Quantity(
            name, key, best[-1]["validation"][key] * (-1 if key == "elbo" else 1), None, "nats",
            f"on the validation split, after step {best[-1]['step']:,}", inner=key != "elbo",
        )
        for key, name in words.items()
    ]  # fmt: skip
    return [Note(text + " From training there are these, which chose the weights:"), Quantities(rows)]
