"""vael evaluate: the bound, log p(x) and their errors."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from vael.cli.options import Device, Json, Seed, values


def evaluate(
    run: Path | None = None,
    data: str | None = None,
    /,
    *,
    split: Literal["train", "validation", "test"] | None = None,
    draws: int | None = None,
    method: str = "auto",
    set_: Annotated[
        list[str] | None, Parameter(name="--set", negative="", help="KEY=VALUE: an argument of the method; repeatable.")
    ] = None,
    sandwich: Annotated[int, Parameter(help="Simulated examples on which annealing brackets log p(x).")] = 0,
    gaps: Annotated[bool, Parameter(negative="", help="Split log p(x) − ELBO by its causes.")] = False,
    max_examples: int | None = None,
    budget: Annotated[float, Parameter(help="Seconds to spend on log p(x) when --max-examples is not given.")] = 60.0,
    seed: Seed = 0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Measure RUN on a split of its data, or on other DATA.

    Example: vael evaluate runs/digits-1 --draws 5000

    Parameters
    ----------
    run
        A run folder; the latest in runs/ when left out.
    data
        Other data, all rows of which are one split.
    split
        Which part of the run's own data; test when left out.
    draws
        Draws of z for each log p(x), exactly so many, where the method takes draws; 5000 for importance.
    method
        exact, importance, defensive, prior, renyi, annealed, thermodynamic, density_ratio, quadrature, or auto: exact
        where it exists, else importance.
    max_examples
        How many shuffled examples log p(x) is estimated on; the bound is measured on all.
    """
    from vael.cli.show import note, say, say_json
    from vael.runs import load

    found = load(run, device=device)
    result = found.evaluate(
        data, split=split, draws=draws, method=method, settings=values(set_ or [], "--set"),
        max_examples=max_examples, budget=budget, sandwiched=sandwich, gaps=gaps, seed=seed,
    )  # fmt: skip
    if found.folder.state != "finished":
        note(f"note        {found.folder} is not finished ({found.folder.state}); these are its best weights so far")
    say(str(result))
    if json:
        say_json({"run": str(found.folder), **result.to_json()})
