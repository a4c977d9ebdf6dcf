"""vael doctor: what is wrong with a run, and what to do about it."""

from pathlib import Path
from typing import Literal

from vael.cli.options import Device, Json, Seed


def doctor(
    run: Path | None = None,
    data: str | None = None,
    /,
    *,
    split: Literal["train", "validation", "test"] | None = None,
    draws: int = 200,
    examples: int = 200,
    seed: Seed = 0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Say what is wrong with RUN, by what its latents and its decoder do: each finding with evidence, remedy and cost.

    Example: vael doctor runs/digits-1

    Parameters
    ----------
    run
        A run folder; the latest in runs/ when left out.
    data
        Other data, all rows of which are one split.
    split
        Which part of the run's own data; test when left out.
    draws
        Importance draws of z for each log p(x), by which over-fitting is told.
    examples
        How many shuffled examples of each split log p(x) is estimated on.
    """
    from vael.cli.show import note, say, say_json
    from vael.runs import load

    found = load(run, device=device)
    result = found.doctor(data, split=split, draws=draws, examples=examples, seed=seed)
    if found.folder.state != "finished":
        note(f"note         {found.folder} is not finished ({found.folder.state}); these are its best weights so far")
    say(str(result))
    if json:
        say_json({"run": str(found.folder), **result.to_json()})
