"""Data sets that come with scikit-learn or are computed: no download, no file."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from vael.data.frame import Frame
from vael.data.sources.made import ring, sprites


def read_builtin(name: str) -> Frame:
    """The built-in set of that name, one of `BUILTIN`."""
    return BUILTIN[name](name)


def _digits(name: str) -> Frame:
    """1797 handwritten digits of 8×8 pixels, grey levels 0 … 16."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    columns = {"x": loaded.images.astype(np.uint8)[:, None], "digit": loaded.target.astype(np.int64)}
    return Frame(name, columns, origin=name, labels=("digit",))


def _classes(loader: str, label: str) -> Callable[[str], Frame]:
    """Reader of a table whose label is one of a few named classes."""

    def read(name: str) -> Frame:
        loaded = _load(loader)
        classes = np.asarray([str(word) for word in loaded.target_names], dtype=object)
        return Frame(name, {**_features(loaded), label: classes[loaded.target]}, origin=name, labels=(label,))

    return read


def _diabetes(name: str) -> Frame:
    """442 patients in their own units; the label is the progression of the disease after one year."""
    loaded = _load("load_diabetes", scaled=False)
    return Frame(name, {**_features(loaded), "progression": loaded.target}, origin=name, labels=("progression",))


def _linnerud(name: str) -> Frame:
    """20 men, three exercises and three measures of the body."""
    loaded = _load("load_linnerud")
    bodies = {_identifier(word): loaded.target[:, i] for i, word in enumerate(loaded.target_names)}
    return Frame(name, {**_features(loaded), **bodies}, origin=name)


def _load(loader: str, **options: Any) -> Any:
    from sklearn import datasets

    return getattr(datasets, loader)(**options)


def _features(loaded: Any) -> dict[str, Any]:
    return {_identifier(word): loaded.data[:, i].copy() for i, word in enumerate(loaded.feature_names)}


def _identifier(text: str) -> str:
    """ "sepal length (cm)" as a name that needs no quotes: sepal_length_cm."""
    return re.sub(r"\W+", "_", text.lower()).strip("_")


BUILTIN: dict[str, Callable[[str], Frame]] = {
    "digits": _digits,
    "iris": _classes("load_iris", "species"),
    "wine": _classes("load_wine", "cultivar"),
    "breast_cancer": _classes("load_breast_cancer", "diagnosis"),
    "diabetes": _diabetes,
    "linnerud": _linnerud,
    "sprites": sprites,
    "ring": ring,
}
