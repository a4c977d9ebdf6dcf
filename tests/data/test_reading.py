"""What a person may say about data: every form of it, and what comes back from a recipe."""

import json
import tomllib

import pytest
import tomli_w

from vael.data import Field, Reading, Schema
from vael.errors import RecipeError

SIZES = {64: (64, 64), "64": (64, 64), "64x48": (64, 48), " 64 × 48 ": (64, 48), (64, 48): (64, 48), (7,): (7, 7)}


@pytest.mark.parametrize(("given", "size"), SIZES.items(), ids=map(repr, SIZES))
def test_a_size_is_a_side_or_width_by_height(given, size):
    assert Reading.asked(resize=given).resize == size


@pytest.mark.parametrize("given", [0, -3, True, "64y48", "x48", "0x4", "", (1, 2, 3), (64, 4.5), "64x48x3"], ids=repr)
def test_what_is_no_size_is_refused_with_the_forms_that_are(given):
    with pytest.raises(RecipeError, match=r"resize .*expected a side such as 64, or WIDTHxHEIGHT such as 64x48"):
        Reading.asked(resize=given)


@pytest.mark.parametrize("given", [0, -1, True, 2.5, "300", [], [3]], ids=repr)
def test_what_chooses_no_columns_is_refused(given):
    with pytest.raises(RecipeError, match="expected how many columns to keep, such as 500, or a list of their names"):
        Reading.asked(features=given)


def test_a_split_is_shares_or_a_column_or_both():
    assert Reading.asked(split={"test": 0.3}).shares == {"test": 0.3}
    assert Reading.asked(split="fold").split_column == "fold"
    both = Reading.asked(split={"column": "fold", "validation": 0.1})
    assert (both.split_column, both.shares) == ("fold", {"validation": 0.1})
    assert Reading().split_column is None
    with pytest.raises(RecipeError, match="split 'tset': give a share to validation or test"):
        Reading.asked(split={"tset": 0.1})
    with pytest.raises(RecipeError, match=r"the share of test must be a number such as 0\.1, got '10 %'"):
        Reading.asked(split={"test": "10 %"})


def test_a_single_name_is_a_list_of_one():
    reading = Reading.asked(ignore="id", label="y", missing="-9")
    assert (reading.ignore, reading.label, reading.missing) == (("id",), ("y",), ("-9",))


READINGS = {
    "nothing": {},
    "everything": {
        "kinds": {"age": "real"}, "ignore": ["id"], "label": ["y"], "missing": ["-9"], "resize": (64, 48),
        "split": {"column": "fold", "validation": 0.25}, "features": 300,
    },
    "features by name": {"features": ["Sox2", "Nanog"]},
}  # fmt: skip


@pytest.mark.parametrize("asked", READINGS.values(), ids=READINGS)
def test_a_recipe_gives_back_what_was_asked(asked):
    reading = Reading.asked(**asked)
    assert Reading.of(tomllib.loads(tomli_w.dumps(reading.table()))) == reading
    assert set(reading.table()) == set(asked)


def test_columns_called_names_are_read_as_text():
    fields = [
        {"name": "code", "kind": "category"},
        {"name": "zip", "kind": "id", "dtype": "str"},
        {"name": "class", "kind": "category", "dtype": "int64", "values": [0, 1]},
        {"name": "was_text", "kind": "real", "dtype": "str"},
        {"name": "back", "kind": "id"},
    ]
    reading = Reading.asked(schema={"fields": fields}, kinds={"back": "real", "plan": "category"})
    assert reading.text == {"code", "zip", "plan"}


# ── a schema file ────────────────────────────────────────────────────────────────────────────────────────────

SCHEMA = Schema((Field("age", "real", marks=("-9",)), Field("fold", "category", role="split", values=("train",))))


def test_a_schema_comes_as_a_file_a_value_or_an_object(tmp_path):
    path = tmp_path / "people.json"
    path.write_text(json.dumps({**SCHEMA.to_json(), "sha256": "not looked at", "data": "people.csv"}))
    by_file, by_value, by_object = (Reading.asked(schema=given) for given in (path, SCHEMA.to_json(), SCHEMA))
    assert by_value == by_object
    assert by_file.fields == json.loads(json.dumps(by_object.fields))
    assert (by_file.schema, by_file.marks, by_file.split_column) == (str(path), ("-9",), "fold")
    assert by_file.table() == {"split": {"column": "fold"}, "schema": str(path)}


BROKEN = {
    "no JSON": ("{fields: []}", r"is no JSON \(.*line 1 column 2"),
    "no fields": ('{"columns": []}', "holds no list of fields, so it is no schema"),
    "a list": ("[1]", "holds no list of fields"),
    "no name": ('{"fields": [{"kind": "real"}]}', "None is no name"),
    "twins": ('{"fields": [{"name": "a"}, {"name": "a"}]}', "'a' is described twice"),
    "unknown key": ('{"fields": [{"name": "a", "kindd": "real"}]}', r"field 'a': unknown key 'kindd'.*mean 'kind'\?"),
    "a kind that is no text": ('{"fields": [{"name": "a", "kind": 3}]}', "field 'a': kind must be a text, got 3"),
    "marks that are no list": ('{"fields": [{"name": "a", "marks": "NA"}]}', "marks must be a list, got 'NA'"),
    "unknown role": ('{"fields": [{"name": "a", "role": "lable"}]}', r"no role 'lable'.*Did you mean 'label'\?"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_schema_file_is_refused_by_its_name(tmp_path, content, message):
    (tmp_path / "s.json").write_text(content)
    with pytest.raises(RecipeError, match=r"s\.json.*" + message):
        Reading.asked(schema=tmp_path / "s.json")


def test_a_schema_that_is_not_there_is_answered_with_how_to_get_one(tmp_path):
    with pytest.raises(RecipeError, match=r"nowhere\.json: cannot be read \(No such file[\s\S]*vael data DATA -o"):
        Reading.asked(schema=tmp_path / "nowhere.json")
    with pytest.raises(RecipeError, match="expected the path of a schema file or a Schema, got a int"):
        Reading.asked(schema=3)
