"""vael classify: which class each example is of."""

from pathlib import Path
from typing import Literal

from vael.cli.options import Device, Json, Output, Seed


def classify(
    run: Path | None = None,
    data: str | None = None,
    /,
    *,
    split: Literal["train", "validation", "test"] | None = None,
    draws: int | None = None,
    output: Output = None,
    seed: Seed = 0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Write the probability of every class for each example, and the most probable one.

    Example: vael classify runs/digits-1 --split test

    Parameters
    ----------
    run
        A run fitted with --learn-label, or conditioned on one category; the latest in runs/ when left out.
    data
        Other data; every row of it is classified.
    split
        Which part of the run's own data, when DATA is left out; test by default.
    draws
        Draws of z for each class, by which p(class | x) is estimated. With 0 a run fitted with --learn-label says what
        its classifier q(class | x) says, which is its default; 100 for a conditional run.
    output
        .csv, .csv.gz, .parquet or .npz; classes.csv in the run when left out.
    """
    from vael.cli.show import say, say_json
    from vael.data import Schema
    from vael.data.outputs import write_columns
    from vael.runs import load

    found = load(run, device=device)
    columns, accuracy = found.classify(data, split=split, draws=draws, seed=seed)
    path = output or found.folder.path / "classes.csv"
    write_columns(path, columns, Schema(()))
    rows = len(next(iter(columns.values())))
    say(f"wrote       {path} ({rows} examples)")
    if accuracy is not None:
        error = accuracy.standard_error or 0.0
        say(f"accuracy    {accuracy.value:.4f} ± {error:.4f} of those whose class is known")
    if json:
        told = None if accuracy is None else {"value": accuracy.value, "standard_error": accuracy.standard_error}
        say_json({"run": str(found.folder), "file": str(path), "examples": rows, "accuracy": told})
