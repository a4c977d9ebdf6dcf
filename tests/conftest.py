"""Data and runs that several rooms' tests share, each made once."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

import vael

settings.register_profile("steady", deadline=None)  # a busy machine is no counterexample
settings.load_profile("steady")


@pytest.fixture(scope="session")
def people(tmp_path_factory):
    """A table of every kind of column, with holes in two of them, as a CSV file."""
    rng = np.random.default_rng(0)
    rows = 300
    age = rng.integers(18, 90, rows)
    table = pd.DataFrame(
        {
            "age": age,
            "income": np.round(np.exp(rng.normal(10, 0.5, rows)), 2),
            "city": rng.choice(["Bern", "Oslo", "Rome, old town"], rows, p=[0.5, 0.3, 0.2]),
            "country": "CH",
            "member": rng.random(rows) < 0.3,
            "visits": rng.negative_binomial(1, 0.1, rows),
            "height": np.round(rng.normal(170, 10, rows), 1),
        }
    )
    table.loc[rng.random(rows) < 0.1, "height"] = np.nan
    table.loc[rng.random(rows) < 0.1, "city"] = None
    path = tmp_path_factory.mktemp("people") / "people.csv"
    table.to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def people_run(people, tmp_path_factory):
    """A short run on the table."""
    return vael.fit(people, output=tmp_path_factory.mktemp("runs") / "people", latent=3, steps=60)


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory):
    """A short run on pictures."""
    return vael.fit("digits", output=tmp_path_factory.mktemp("runs") / "digits", latent=4, steps=60)
