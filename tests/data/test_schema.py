"""A schema says what x is, and survives being stored."""

import json

import pytest

from vael.data.infer import infer
from vael.data.schema import Field, Schema
from vael.data.sources import read
from vael.errors import RecipeError

TABLE = Schema(
    (
        Field("id", "id", role="ignored"),
        Field("age", "real", resolution=1.0, view="standard", loc=40.0, scale=10.0),
        Field("always", "constant", values=(3,)),
        Field("sex", "category", values=("f", "m"), levels=2),
        Field("income", "category", role="label", values=("high", "low"), levels=2),
    )
)
PICTURE = Schema((Field("x", "image", shape=(1, 8, 8), levels=17), Field("digit", "category", role="label")))


@pytest.mark.parametrize("schema", [TABLE, PICTURE, infer(read("wine")), infer(read("digits"))])
def test_a_schema_survives_json(schema):
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema


def test_only_data_that_vary_are_modelled():
    assert [field.name for field in TABLE.modelled] == ["age", "sex"]
    assert TABLE.label is not None
    assert TABLE.label.name == "income"


def test_an_event_is_a_row_of_columns_or_one_array():
    assert (TABLE.is_table, TABLE.event_shape, TABLE.dims) == (True, (2,), 2)
    assert (PICTURE.is_table, PICTURE.event_shape, PICTURE.dims) == (False, (1, 8, 8), 64)


def test_a_schema_is_discrete_when_every_modelled_field_is():
    assert TABLE.discrete
    assert not TABLE.with_fields({"age": {"resolution": 0.0}}).discrete


def test_the_step_is_the_grid_as_the_model_sees_it():
    assert TABLE["age"].step == 0.1


def test_unknown_names_and_keys_are_answered_with_the_known():
    with pytest.raises(RecipeError, match="There are: id, age, always, sex, income"):
        TABLE["agee"]
    with pytest.raises(RecipeError, match="unknown key 'colour'"):
        Schema.from_json({"fields": [{"name": "a", "kind": "real", "colour": "red"}]})


def test_alike_neighbours_share_a_line():
    lines = dict(infer(read("iris")).describe())
    assert "sepal_length_cm … petal_width_cm (4)" in lines
    assert lines["species"].startswith("label")
