"""vael manifold: what a plane of the latent space decodes to."""

from pathlib import Path

from vael.cli.options import Device, Json, Output, row_numbers


def manifold(
    run: Path | None = None,
    /,
    *,
    units: str = "1,2",
    steps: int = 20,
    output: Output = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Write centres of p(x|z) over the plane of two units of z, at the prior's quantiles.

    Example: vael manifold runs/digits-1 -o plane.png

    Parameters
    ----------
    run
        A run folder of pictures with the prior N(0, I); the latest in runs/ when left out.
    units
        The unit that grows to the right and the one that grows upwards; the others stay at 0.
    steps
        Pictures across and down.
    output
        .png; .npz or .csv for the numbers. figures/manifold.* when left out.
    """
    from vael.cli.show import say, say_json
    from vael.cli.write import default_output, write
    from vael.errors import RecipeError
    from vael.runs import load

    found, chosen = load(run, device=device), [number - 1 for number in row_numbers(units)]
    if len(chosen) != 2:
        raise RecipeError(f"--units {units}: a plane has two, such as 1,2.")
    columns = found.manifold((chosen[0], chosen[1]), steps=steps)
    path = output or default_output(found, "manifold")
    write(path, columns, found.schema, across=steps)
    say(f"wrote       {path} ({steps} × {steps} places, z{chosen[0] + 1} to the right, z{chosen[1] + 1} upwards)")
    if json:
        say_json({"run": str(found.folder), "file": str(path), "units": [unit + 1 for unit in chosen], "steps": steps})
