"""The word of the source, of a schema file and of options on what columns are: who outranks whom, what is checked."""

import numpy as np
import pytest

from vael.data import Frame, Reading, encode
from vael.data.infer import infer
from vael.data.sources import read
from vael.data.understand import understand
from vael.errors import DataError, RecipeError

RNG = np.random.default_rng(0)
COLUMNS = {
    "age": RNG.integers(18, 90, 200),
    "size": np.round(RNG.normal(170, 10, 200), 1),
    "city": np.asarray(RNG.choice(["Bern", "Oslo"], 200), dtype=object),
    "row": np.arange(200),
    "y": RNG.integers(0, 3, 200),
}
FRAME = Frame("people", COLUMNS, labels=("y",))


def schema_of(*fields, frame=FRAME, **options):
    return understand(frame, Reading.asked(schema={"fields": list(fields)}, **options))


def test_without_a_word_the_values_decide():
    assert understand(FRAME, Reading()) == infer(FRAME)


def test_the_source_yields_to_the_file_and_the_file_to_the_option():
    frame = Frame("people", COLUMNS, kinds={"age": ("count", "the source knows")})
    assert understand(frame, Reading())["age"].describe() == "count (the source knows)"
    by_file = schema_of({"name": "age", "kind": "category"}, frame=frame)["age"]
    assert (by_file.kind, by_file.why) == ("category", "as the schema says")
    by_option = schema_of({"name": "age", "kind": "category"}, frame=frame, kinds={"age": "real"})["age"]
    assert (by_option.kind, by_option.why) == ("real", "as you said")


def test_a_schema_is_found_again_from_its_own_file():
    """All but the reason given for each kind, and what is ignored for being an id."""
    own = infer(FRAME)
    again = understand(FRAME, Reading.asked(schema=own))
    same = own.with_fields({field.name: {"why": again[field.name].why} for field in own})
    assert again == same


def test_a_few_fields_suffice_and_the_rest_is_inferred():
    schema = schema_of({"name": "age", "unit": "years"})
    assert (schema["age"].kind, schema["age"].unit) == (infer(FRAME)["age"].kind, "years")
    assert schema["city"] == infer(FRAME)["city"]


def test_roles_are_the_files():
    schema = schema_of(
        {"name": "y", "kind": "category"}, {"name": "age", "role": "label"}, {"name": "size", "role": "ignored"}
    )
    assert [schema[name].role for name in ("y", "age", "size")] == ["data", "label", "ignored"]


def test_an_id_whose_kind_is_changed_comes_back():
    entry = next(entry for entry in infer(FRAME).to_json()["fields"] if entry["name"] == "row")
    assert entry["role"] == "ignored"
    assert schema_of(entry)["row"].role == "ignored"
    assert schema_of(entry, kinds={"row": "real"})["row"].role == "data"


def test_values_keep_their_order_and_may_hold_some_yet_to_come():
    schema = schema_of({"name": "city", "kind": "category", "values": ["Rome", "Oslo", "Bern"]})
    assert (schema["city"].values, schema["city"].levels) == (("Rome", "Oslo", "Bern"), 3)
    later = Frame("later", {**COLUMNS, "city": np.asarray(["Rome"] * 200, dtype=object)})
    assert (encode(later, schema).x[:, 2] == 0).all()


def test_a_grid_and_levels_can_be_stated():
    fields = [{"name": "size", "resolution": 0.05, "offset": 0.0}]
    assert schema_of(*fields)["size"].resolution == 0.05
    assert schema_of({"name": "size", "resolution": 0})["size"].discrete is False
    grey = Frame("grey", {"x": RNG.integers(0, 17, (20, 1, 4, 4)).astype(np.uint8)})
    assert schema_of({"name": "x", "levels": 256}, frame=grey)["x"].levels == 256
    with pytest.raises(
        DataError, match=r"column 'size', row 1: .* cannot be; expected finite numbers on the grid 0 \+ k · 1"
    ):
        encode(FRAME, schema_of({"name": "size", "kind": "real", "resolution": 1.0}))


def test_a_spike_can_be_stated_and_taken_back():
    spiked = np.where(RNG.random(200) < 0.4, 0.0, RNG.normal(size=200))
    frame = Frame("t", {"a": spiked})
    assert understand(frame, Reading())["a"].spike == 0.0
    assert schema_of({"name": "a", "spike": None}, frame=frame)["a"].spike is None


REFUSED = {
    "a column that is not there": ({"name": "agee"}, "describes a column 'agee', which people does not have"),
    "a kind that is none": ({"name": "age", "kind": "counts"}, "no kind 'counts'"),
    "values left out": ({"name": "city", "values": ["Bern"]}, "its values leave out 'Oslo', which the column holds"),
    "values twice": ({"name": "city", "values": ["Bern", "Oslo", "Bern"]}, "must be a list of different values"),
    "levels of words": (
        {"name": "size", "resolution": "fine"},
        "resolution must be a number of at least 0, got 'fine'",
    ),
}


@pytest.mark.parametrize(("entry", "message"), REFUSED.values(), ids=REFUSED)
def test_a_file_that_does_not_fit_the_data_is_refused(entry, message):
    with pytest.raises(RecipeError, match=message):
        schema_of(entry)


def test_a_kind_from_a_file_is_checked_against_the_values():
    with pytest.raises(DataError, match=r"people, column 'size', row 1: .* is not a count"):
        schema_of({"name": "size", "kind": "count"})


def test_marks_of_a_file_are_missing_values_again(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,-9\n2.5,3\n")
    reading = Reading.asked(schema={"fields": [{"name": "b", "marks": ["-9"]}]})
    assert understand(read(tmp_path / "t.csv", reading), reading)["b"].missing == 1
