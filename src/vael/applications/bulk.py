"""One batch of rows in, one batch of answers out: what a verb does to any number of rows, a part at a time.

A function takes the model, its schema, the rows as a model sees them, and options; it gives columns as long as the
rows. Whoever walks the data, one process, ranks or Ray, calls `answer` and nothing else. A new verb is a line in
`VERBS`.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vael.applications.generate import asked, generate
from vael.applications.reconstruct import encode, reconstruct
from vael.data.dataset import Split, decode
from vael.data.dataset import encode as encode_frame
from vael.data.frame import Frame
from vael.data.given import given_row
from vael.data.outputs import spread
from vael.data.schema import Schema
from vael.data.sources.frames import read_frame
from vael.data.streamed import in_form
from vael.errors import RecipeError
from vael.evaluation import bounds, chosen_estimator
from vael.models.vae import VAE

Columns = dict[str, NDArray[np.generic]]
Answer = Callable[..., Columns]

DRAWS = 100  # of z for each log p(x), where a person says nothing: ten million rows cannot have thousands each


def codes(model: VAE, schema: Schema, rows: Split) -> Columns:
    """Posterior means, z1 … zD."""
    means = encode(model, rows)[0].numpy()
    return {f"z{unit + 1}": means[:, unit] for unit in range(means.shape[1])}


def reconstructions(model: VAE, schema: Schema, rows: Split) -> Columns:
    """Centres of p(x|z) at the posterior means, in the columns and units of the data."""
    return decode(reconstruct(model, rows), schema, centres=True)


def measures(
    model: VAE, schema: Schema, rows: Split, *, seed: int, method: str = "auto", draws: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Columns:  # fmt: skip
    """elbo, rate, distortion, log_px and log_px_error, its Monte Carlo standard error, in nats of the user's units.

    The ELBO has one draw. log p(x) is exact where it can be, else importance sampling's lower bound of `draws` draws,
    100 when left out; it is NaN where a likelihood has no density.
    """
    seen = rows.settled(seed=0).to(model.device)
    found = bounds(model, seen, seed=seed)
    columns = {name: getattr(found, name).numpy() for name in ("elbo", "rate", "distortion")}
    if model.lacking:
        return {**columns, "log_px": np.full(len(rows), np.nan), "log_px_error": np.full(len(rows), np.nan)}
    how = estimator_for(model, method, draws, settings)
    log_px = how(model, seen, seed=seed)
    return {**columns, "log_px": log_px.value.numpy(), "log_px_error": log_px.monte_carlo_error.numpy()}


def estimator_for(model: VAE, method: str, draws: int | None, settings: Mapping[str, Any] | None) -> Any:
    """The estimator that `method` names; where auto or importance is meant and no draws are said, of 100 draws."""
    how = chosen_estimator(model, method, draws, settings)
    if draws is None and not settings and getattr(how, "draws", None) is not None and method in ("auto", "importance"):
        return chosen_estimator(model, "importance", DRAWS)
    return how


VERBS: dict[str, Answer] = {"encode": codes, "reconstruct": reconstructions, "evaluate": measures}


def answer(verb: str, model: VAE, schema: Schema, batch: Any, *, file: str, first: int, **options: Any) -> Any:
    """What `verb` says of an Arrow `batch` of rows, as an Arrow table of as many rows in the same order.

    file, first: What messages call the rows' file, and the place of the first row in it, counted from 0. A `seed` among
        the options counts for one file: noise is a function of (seed, file, row), not of how rows are cut into batches.
    Raises DataError naming file, row and value where a row cannot be one of the schema's.
    """
    import pyarrow

    frame = read_frame(pyarrow.Table.from_batches([batch]), file)
    seen = encode_frame(in_form(Frame(file, frame.columns, first=first), schema), schema)
    rows = Split(**{**vars(seen), "index": seen.index + first})
    if "seed" in options:
        options = {**options, "seed": seed_of(options["seed"], file)}
    return to_arrow(VERBS[verb](model, schema, rows, **options))


def new_rows(
    model: VAE, schema: Schema, count: int, *, seed: int, part: int, piece: int, mean: bool,
    given: Mapping[str, Any] | None = None,
) -> Any:  # fmt: skip
    """`count` new examples as an Arrow table: a function of (seed, part, piece), and of what is given to all."""
    code, rest = asked(model, schema, given)
    told = None if rest is None else given_row(schema, rest)
    x = generate(model, count, seed=seed_of(seed, f"sample {part} {piece}"), mean=mean, given=told, label=code)
    return to_arrow(decode(x, schema, centres=mean))


def seed_of(seed: int, place: str) -> int:
    """A seed of its own for each place: files that share row numbers must not share noise."""
    return int.from_bytes(hashlib.blake2b(f"{seed}|{place}".encode(), digest_size=7).digest(), "little")


def to_arrow(columns: Mapping[str, NDArray[np.generic]]) -> Any:
    """Columns as an Arrow table; an array field is spread over columns x0, x1, …, what is missing is null."""
    import pyarrow

    return pyarrow.table({name: pyarrow.array(column, from_pandas=True) for name, column in spread(columns).items()})


def check_options(verb: str, model: VAE, options: Mapping[str, Any]) -> None:
    """Raise RecipeError for options that a verb has no answer for, before the first file is read."""
    if verb == "evaluate":
        estimator_for(model, options.get("method", "auto"), options.get("draws"), options.get("settings"))
        if options.get("method", "auto") != "auto" and model.lacking:
            raise RecipeError(f"evaluate: method {options['method']!r} has no answer: {model.lacking}.")
