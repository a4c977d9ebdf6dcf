"""Which columns of a wide table of counts are kept: those with the largest totals."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vael.data.frame import Frame
from vael.data.reading import Reading
from vael.errors import DataError, RecipeError
from vael.names import closest

Floats = NDArray[np.float64]


def largest(totals: Floats, number: int) -> NDArray[np.int64]:
    """Places of the `number` largest `totals`, in order of place; of equal ones the first."""
    return np.sort(np.argsort(-totals, kind="stable")[:number])


def told(number: int, totals: Floats, kept: Floats) -> str:
    """The note about a choice of columns."""
    share = f", {100 * kept.sum() / totals.sum():.3g} % of the sum of all" if totals.sum() > 0 else ""
    return f"kept the {number} of {len(totals)} columns with the largest totals{share}"


def with_features(frame: Frame, reading: Reading) -> Frame:
    """`frame` with the columns that `reading.features` keeps; texts, labels and columns named otherwise stay.

    Raises RecipeError for pictures and for a name that is no column's, DataError on a negative number, whose total
    means nothing.
    """
    if any(column.ndim > 1 for column in frame.columns.values()):
        raise RecipeError(f"features: chooses columns of a table of counts; {frame.name} holds pictures. Leave it out.")
    beside = reading.named | set(frame.labels)
    counted = [name for name, column in frame.columns.items() if column.dtype.kind in "biuf" and name not in beside]
    if isinstance(reading.features, tuple):
        refuse_unknown(reading, list(frame.columns), frame.name)
        kept, notes = set(reading.features), frame.notes
    else:
        assert reading.features is not None
        if len(counted) <= reading.features:
            return frame
        totals = np.asarray([_total(frame, name) for name in counted])
        places = largest(totals, reading.features)
        kept = {counted[place] for place in places}
        notes = (*frame.notes, told(len(places), totals, totals[places]))
    dropped = set(counted) - kept
    columns = {name: column for name, column in frame.columns.items() if name not in dropped}
    return dataclasses.replace(frame, columns=columns, notes=notes)


def refuse_unknown(reading: Reading, known: Sequence[str], source: str) -> None:
    """Raise RecipeError when a feature asked for by its name is no column; a schema's may lack some, its labels say."""
    asked = reading.features if isinstance(reading.features, tuple) and not reading.fields else ()
    for name in asked:
        if name not in known:
            raise RecipeError(f"features: {source} has no column {name!r}.{closest(name, known)}")


def _total(frame: Frame, name: str) -> float:
    column = frame.columns[name].astype(np.float64)
    negative = np.flatnonzero(column < 0)
    if len(negative):
        raise DataError(
            f"{frame.name}, column {name!r}, row {negative[0] + 1}: {column[negative[0]]:g} is negative, and "
            f"--features keeps the columns with the largest totals of counts.\n"
            f"  Choose the columns yourself, with --ignore or by their names."
        )
    return float(np.nansum(column))
