"""Type hints against JSON values, both ways."""

from __future__ import annotations

import dataclasses
from typing import Any, Dict, List, Literal, Optional, TypedDict, Union

import pytest

from nebula import codec, hints


@dataclasses.dataclass
class Address:
    city: str
    zip: Optional[str] = None


@dataclasses.dataclass
class Person:
    name: str
    homes: List[Address] = dataclasses.field(default_factory=list)
    boss: Optional[Person] = None


@dataclasses.dataclass
class Percent:
    value: float

    def __post_init__(self):
        if not 0 <= self.value <= 100:
            raise ValueError("0 to 100")


class Point(TypedDict):
    x: int
    y: int


class Label(TypedDict, total=False):
    text: str


def shape(hint):
    return hints.shape_of(hint, "test")


@pytest.mark.parametrize(
    "hint, json, value",
    [
        (str, "a", "a"),
        (int, 3, 3),
        (int, 3.0, 3),
        (float, 3, 3.0),
        (bool, True, True),
        (None, None, None),
        (Any, {"a": [1]}, {"a": [1]}),
        (bytes, "AP8=", b"\x00\xff"),
        (bytes, "AP8", b"\x00\xff"),
        (bytes, "_-8", b"\xff\xef"),
        (list, [1, "a"], [1, "a"]),
        (List[int], [1, 2], [1, 2]),
        (Dict[str, float], {"a": 1}, {"a": 1.0}),
        (Optional[str], None, None),
        (Union[int, str], "a", "a"),
        (Literal["red", 1], 1, 1),
        (Point, {"x": 1, "y": 2}, {"x": 1, "y": 2}),
        (Label, {}, {}),
        (Address, {"city": "Ulm"}, Address("Ulm")),
        (
            Person,
            {"name": "Ada", "homes": [{"city": "Ulm"}], "boss": {"name": "Eve"}},
            Person("Ada", [Address("Ulm")], Person("Eve")),
        ),
    ],
)
def test_a_value_of_its_hint_is_decoded(hint, json, value):
    decoded = shape(hint).decode(json)
    assert decoded == value and type(decoded) is type(value)


@pytest.mark.parametrize(
    "hint, json, sentence",
    [
        (str, 3, "s must be a string, not a number"),
        (int, "3", "s must be an integer, not a string"),
        (int, True, "s must be an integer, not a boolean"),
        (int, 3.5, "s must be an integer, not 3.5"),
        (int, float("inf"), "s must be an integer, not Infinity"),
        (float, "x", "s must be a number, not a string"),
        (float, False, "s must be a number, not a boolean"),
        (bool, 1, "s must be a boolean, not a number"),
        (bytes, "a", 's must be base64, not "a"'),
        (bytes, "ü", 's must be base64, not "ü"'),
        (Optional[str], 3, "s must be a string or null, not a number"),
        (Union[int, str], [], "s must be an integer or a string, not a list"),
        (Literal["red", 1], True, 's must be "red" or 1, not a boolean'),
        (Literal["red", 1], "x" * 100, 's must be "red" or 1, not "' + "x" * 56 + "..."),
        (List[int], {}, "s must be a list, not an object"),
        (List[int], [1, "a"], 's: field "[1]" must be an integer, not a string'),
        (Dict[str, int], {"a": None}, 's: field "a" must be an integer, not null'),
        (Address, [], "s must be an object, not a list"),
        (Address, {}, 's: field "city" is missing'),
        (Address, {"city": "Ulm", "zipp": "1"}, 's has no field "zipp" (fields: city, zip); did you mean "zip"?'),
        (Person, {"name": "A", "homes": [{"city": 1}]}, 's: field "homes[0].city" must be a string, not a number'),
        (
            Person,
            {"name": "A", "boss": {"nam": "B"}},
            's: field "boss" has no field "nam" (fields: name, homes, boss); did you mean "name"?',
        ),
        (Person, {"name": "A", "boss": {"name": 7}}, 's: field "boss.name" must be a string, not a number'),
        (Point, {"x": 1}, 's: field "y" is missing'),
        (Percent, {"value": 101}, "s is not valid: 0 to 100"),
        (str, ["x" * 100], "s must be a string, not a list"),
    ],
)
def test_another_value_is_refused_with_its_place(hint, json, sentence):
    with pytest.raises(hints.Mismatch) as caught:
        shape(hint).decode(json)
    assert caught.value.sentence("s") == sentence


@pytest.mark.parametrize(
    "hint, value, json",
    [
        (str, "ü", '"ü"'),
        (float, 1, "1.0"),
        (bytes, b"\x00\xff", '"AP8="'),
        (Person, Person("Ada", [Address("Ulm")]), '{"name":"Ada","homes":[{"city":"Ulm","zip":null}],"boss":null}'),
        (List[int], (1, 2), "[1,2]"),
        (Point, {"x": 1, "y": 2}, '{"x":1,"y":2}'),
        (Any, {"at": Address("Ulm"), "raw": b"\x00"}, '{"at":{"city":"Ulm","zip":null},"raw":"AA=="}'),
    ],
)
def test_a_result_is_encoded(hint, value, json):
    assert codec.dumps(shape(hint).encode(value)).decode() == json


@pytest.mark.parametrize(
    "hint, value",
    [
        (str, 3),
        (str, None),
        (int, True),
        (Address, {"city": "Ulm"}),
        (Point, {"x": 1}),
        (List[int], "ab"),
        (bytes, "a"),
        (Dict[str, int], {1: 1}),
    ],
)
def test_a_result_that_is_not_of_its_hint_is_refused(hint, value):
    with pytest.raises(hints.Mismatch):
        shape(hint).encode(value)


@pytest.mark.parametrize(
    "hint", [set, tuple, complex, object, "int", Dict[int, str], List[set], Literal[b"a"], dataclasses, 3]
)
def test_a_hint_without_a_form_in_json_is_refused_at_once(hint):
    with pytest.raises(TypeError, match="test: .* has no form in JSON; supported are str, int"):
        shape(hint)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"NaN", b'{"a":Infinity}', b"[" * 100_000, b'"a" 1'])
def test_what_is_not_json_is_malformed(text):
    with pytest.raises(codec.Malformed):
        codec.loads(text)


def test_a_list_that_contains_itself_is_refused():
    endless = []
    endless.append(endless)
    with pytest.raises(ValueError):
        codec.dumps(endless)


@pytest.mark.parametrize(
    "hint, schema",
    [
        (Any, {}),
        (str, {"type": "string"}),
        (bytes, {"type": "string", "contentEncoding": "base64"}),
        (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Literal["red", 1], {"enum": ["red", 1]}),
        (List[float], {"type": "array", "items": {"type": "number"}}),
        (Dict[str, bool], {"type": "object", "additionalProperties": {"type": "boolean"}}),
        (Person, {"$ref": "#/$defs/Person"}),
    ],
)
def test_a_hint_is_a_json_schema(hint, schema):
    assert shape(hint).schema(hints.Definitions()) == schema


def test_classes_are_defined_once_though_they_contain_themselves():
    definitions = hints.Definitions()
    for _ in range(2):
        shape(Person).schema(definitions)
    assert set(definitions.schemas) == {"Person", "Address"}
    person = definitions.schemas["Person"]
    assert person["required"] == ["name"] and person["additionalProperties"] is False
    assert person["properties"]["boss"] == {"anyOf": [{"$ref": "#/$defs/Person"}, {"type": "null"}]}
