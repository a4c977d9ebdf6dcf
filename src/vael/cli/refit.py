"""vael refit: another prior, fitted to the codes of a run."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from vael.cli.options import Device, Json, Output, Seed, values


def refit(
    run: Path | None = None,
    /,
    *,
    prior: Literal["gaussian", "mixture", "flow", "autoregressive", "exemplar"] = "mixture",
    set_: Annotated[
        list[str] | None, Parameter(name="--set", negative="", help="KEY=VALUE: an argument of the prior; repeatable.")
    ] = None,
    steps: int = 2000,
    batch: int = 256,
    learning_rate: float = 3e-3,
    output: Output = None,
    seed: Seed = 0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Fit another p(z) to the codes of RUN, and keep a new run that is the same but for it.

    An autoencoder gets a law to draw codes from; a variational one a better bound, and log p(x) of its own.
    Example: vael refit runs/digits-1 --prior mixture --set components=30 -o runs/mixed

    Parameters
    ----------
    run
        A run folder; the latest in runs/ when left out.
    prior
        gaussian, mixture, flow, autoregressive, or exemplar: the codes themselves, with one width around them.
    steps
        Updates of Adam, after the mixture's expectation–maximisation; the exemplar prior takes none.
    batch, learning_rate
        Of those updates.
    output
        The new run folder; runs/RUN-1, -2, … when left out.
    """
    from vael.cli.show import say, say_json
    from vael.runs import load
    from vael.runs.refit import refit as refit_run

    found = refit_run(
        load(run, device=device), prior, output=output, settings=values(set_ or [], "--set"), steps=steps, batch=batch,
        learning_rate=learning_rate, seed=seed,
    )  # fmt: skip
    (line,) = found.history
    say(f"log p(z)    {line['log_pz_before']:.3f} before, {line['log_pz_after']:.3f} after, nats per code")
    say(f"run         {found.folder}")
    if json:
        say_json({"run": str(found.folder), **line})
