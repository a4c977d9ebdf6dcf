"""vael evaluate: the bound, log p(x) and their errors."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from vael.cli.options import Device, Engine, Json, Output, Seed, values
from vael.errors import RecipeError


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
    output: Output = None,
    engine: Engine = "process",
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
    output
        A folder: it gets a .parquet file for each .parquet or .feather file of DATA, with elbo, rate, distortion,
        log_px and its Monte Carlo error of every row, of 100 draws when --draws is left out; those that are there are
        left alone.
    """
    from vael.cli.show import note, say, say_json
    from vael.cli.write import in_bulk, in_one_file, whole
    from vael.runs import load
    from vael.runs.bulk import is_folder, tasks_of

    if output is not None:
        if not is_folder(output) or sandwich or gaps or max_examples is not None:
            raise RecipeError(
                f"evaluate -o {output}: writes the numbers of every row of DATA into a folder, a name without an "
                f"ending; leave out --sandwich, --gaps and --max-examples."
            )
        options = {"seed": seed, "method": method, "draws": draws, "settings": values(set_ or [], "--set")}
        tasks = partial(tasks_of, verb="evaluate", source=whole(data, split), output=output, options=options)
        return in_bulk(run, tasks, output, engine=engine, device=device, json=json)
    in_one_file(engine)
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
