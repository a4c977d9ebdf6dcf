"""vael report: one page about a run."""

from pathlib import Path

from vael.cli.options import Device, Json, Output, Seed


def report(
    run: Path | None = None,
    data: str | None = None,
    /,
    *,
    output: Output = None,
    seed: Seed = 0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Write one self-contained HTML page about RUN: numbers, learning curves, samples beside data, latent space.

    It holds everything it shows, runs no script, and needs no network.
    Example: vael report runs/digits-1

    Parameters
    ----------
    run
        A run folder; the latest in runs/ when left out.
    data
        The data again, for a run fitted on data in memory; or other data, to show the run on.
    output
        Where to write; report.html in the run when left out.
    """
    from vael.cli.show import note, say, say_json
    from vael.runs import load

    found = load(run, device=device)
    path = found.report(output, data=data, seed=seed)
    if found.folder.state != "finished":
        note(f"note        {found.folder} is not finished ({found.folder.state}); these are its best weights so far")
    size = path.stat().st_size
    say(f"wrote       {path} ({size / 1e6:.1f} MB)")
    if json:
        say_json({"run": str(found.folder), "file": str(path), "bytes": size, "seed": seed})
