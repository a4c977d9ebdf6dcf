"""One run folder and the processes that share it: rank 0 writes, and a restart goes on with what stands there."""

import contextlib
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import tomli_w

from vael.errors import RecipeError
from vael.files import sha256, sole_writer
from vael.runs.folder import RunFolder
from vael.training import Nowhere, Ranks, launched, restarted
from vael.training.train import Keeper

Standing = Literal["new", "unfinished", "finished"]
STANDINGS: tuple[Standing, ...] = ("new", "unfinished", "finished")


@contextlib.contextmanager
def writing(folder: RunFolder, ranks: Ranks) -> Iterator[None]:
    """Hold `folder` for these processes: rank 0 has the lock. Raises WriteError when others are writing there."""
    with contextlib.ExitStack() as held:

        def lock() -> None:
            held.enter_context(sole_writer(folder.path))

        ranks.by_first(lock)
        yield


def standing(folder: RunFolder, recipe: Mapping[str, Any], ranks: Ranks) -> Standing:
    """What of a run by `recipe` stands in `folder` already, as rank 0 sees it.

    Only under torchrun is it anything but "new": there the same command is given again after a rank was lost, and must
    not begin from zero. "finished" is for a restart alone; a finished run is nothing to begin on. Raises RecipeError
    where the ranks were given different recipes.
    """
    text = tomli_w.dumps(dict(recipe))
    if ranks.world > 1:
        ranks.agree(sha256(text.encode()), "what to fit")
    found: list[Standing] = []

    def look() -> None:
        if launched() and folder.manifest.exists() and folder.read()[0] == tomllib.loads(text):
            if folder.state != "finished":
                found.append("unfinished")
            elif restarted():
                found.append("finished")

    ranks.by_first(look)
    return STANDINGS[int(ranks.largest(STANDINGS.index(found[0]) if found else 0)[0])]


def check_named(output: object) -> None:
    """Raise RecipeError where torchrun's processes are to choose a run folder: a restart would choose another."""
    if output is None and launched():
        raise RecipeError("fit: under torchrun name the run folder with -o, so that a restarted rank finds its run.")


def check_spread(shard: bool, ranks: Ranks) -> None:
    """Raise RecipeError where a model is to be spread over one process."""
    if shard and ranks.world == 1:
        raise RecipeError("--shard: spreads a model over several processes. Start them with torchrun, or leave it out.")


def keeper(folder: RunFolder, ranks: Ranks) -> Keeper:
    """Where this rank keeps the run: rank 0 in the folder, the others nowhere."""
    return folder if ranks.first else Nowhere()
