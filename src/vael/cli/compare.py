"""vael compare: runs side by side, with paired errors of their differences."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from vael.cli.options import Device, Json, Seed


def compare(
    *runs: Path,
    data: str | None = None,
    split: Literal["train", "validation", "test"] | None = None,
    draws: int = 1000,
    max_examples: int | None = None,
    budget: Annotated[float, Parameter(help="Seconds for log p(x) of each run when --max-examples is not given.")] = 20,
    seed: Seed = 0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Set RUNs side by side on the same examples; differences are to the first of them.

    The standard error of a difference is paired: what makes an example hard for both runs cancels. Runs that score
    other data, other rows or by another measure (masses and densities, grey values and zeros and ones) are shown
    without a difference, and why.
    Example: vael compare runs/digits-1 runs/digits-2

    Parameters
    ----------
    runs
        Two or more run folders.
    data
        Other data to compare on, all rows of which are one split; for runs fitted on data in memory too.
    split
        Which part of the runs' own data; test when left out.
    draws
        Importance draws of z for each log p(x); exactly so many.
    max_examples
        How many shuffled examples log p(x) is estimated on; the bound is measured on all.
    """
    from vael.cli.show import note, say, say_json
    from vael.runs import compare, load

    found = [load(run, device=device) for run in runs]
    for run in found:
        if run.folder.state != "finished":
            note(f"note        {run.folder} is not finished ({run.folder.state}); these are its best weights so far")
    result = compare(*found, data=data, split=split, draws=draws, max_examples=max_examples, budget=budget, seed=seed)
    say(str(result))
    if json:
        say_json(result.to_json())
