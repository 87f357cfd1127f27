"""The types that a schema admits, and the one by which a value is read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.glm47.parts import part

types = part("json_schema_types")
STRING, INTEGER = {"type": "string"}, {"type": "integer"}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, "string"),
        ({"type": "number"}, "number"),
        ({"type": ["integer", "null"]}, "integer"),
        ({"type": ["null"]}, "null"),
        ({"type": ["integer", "number"]}, "number"),
        ({"type": ["integer", "string"]}, "string"),
        ({"anyOf": [INTEGER, {"type": "null"}]}, "integer"),
        ({"oneOf": [STRING, INTEGER]}, "string"),
        ({"allOf": [{"minimum": 1}, INTEGER]}, "integer"),
        ({"allOf": [{"type": ["string", "integer"]}, {"type": ["integer", "null"]}]}, "integer"),
        ({"enum": ["a", "b"]}, "string"),
        ({"enum": [1, 2.5]}, "number"),
        ({"enum": [True, None]}, "boolean"),
        ({"const": None}, "null"),
        ({"const": [1]}, "array"),
        ({"type": "string", "nullable": True}, "string"),
        ({"properties": {"a": {}}}, "object"),
        ({"items": STRING}, "array"),
        ({"minLength": 2}, "string"),
        ({"$ref": "#/$defs/a", "$defs": {"a": INTEGER}}, "integer"),
        ({"$ref": "#/$defs/a~1b/0", "$defs": {"a/b": [INTEGER]}}, "integer"),
        ({"$ref": "#", "type": "object"}, "object"),
        ({"$ref": "#"}, None),
        ({"$ref": "#/nowhere/at/all"}, None),
        ({"$ref": "https://example.com/schema"}, None),
        ({"anyOf": [STRING, {}]}, None),
        ({"type": "string", "enum": [1]}, None),
        ({"type": "text"}, None),
        ({"type": 3}, None),
        ({"items": {}, "properties": {}}, None),
        ({"anyOf": "x", "enum": {}, "allOf": None}, None),
        ({}, None),
        (True, None),
        (False, None),
        (None, None),
        ("string", None),
    ],
)
def test_a_schema_gives_one_type(schema: Any, expected: str | None) -> None:
    assert types.infer_type_from_json_schema(schema) == expected


def test_references_point_into_the_root_that_is_given() -> None:
    assert types.infer_type_from_json_schema({"$ref": "#/$defs/a"}, {"$defs": {"a": STRING}}) == "string"


def test_references_in_a_circle_end_and_leave_what_else_is_said() -> None:
    root = {
        "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}, STRING]}, "b": {"oneOf": [{"$ref": "#/$defs/a"}, INTEGER]}}
    }
    assert types.admitted({"$ref": "#/$defs/a"}, root).types == {"string", "integer"}


def test_shared_parts_are_read_once() -> None:
    definitions: dict[str, Any] = {f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(25)}
    root = {"$defs": definitions | {"d25": STRING}}
    assert types.admitted({"$ref": "#/$defs/d0"}, root).types == {"string"}


def test_a_schema_nested_too_deep_says_nothing() -> None:
    schema: dict[str, Any] = STRING
    for _ in range(5000):
        schema = {"anyOf": [schema]}
    assert types.infer_type_from_json_schema(schema) is None
    assert types.admitted_by_property({"properties": {"a": schema}}, "a") == types.ANYTHING


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"properties": {"a": STRING}}, {"string"}),
        ({"allOf": [{"properties": {"b": {}}}, {"properties": {"a": STRING}}]}, {"string"}),
        ({"anyOf": [{"properties": {"a": STRING}}, {"properties": {"a": INTEGER}}]}, {"string", "integer"}),
        ({"$ref": "#/$defs/P", "$defs": {"P": {"properties": {"a": {"$ref": "#/$defs/S"}}}, "S": STRING}}, {"string"}),
        ({"additionalProperties": STRING}, {"string"}),
        ({"properties": {"a": INTEGER}, "additionalProperties": STRING}, {"integer"}),
        ({"properties": {"a": {}}, "additionalProperties": STRING}, None),
        ({"additionalProperties": False}, None),
        ({"patternProperties": {"^a": STRING}}, None),
        ({"properties": []}, None),
        ([], None),
        (None, None),
    ],
)
def test_an_argument_is_found_wherever_the_parameters_name_it(parameters: Any, expected: set[str] | None) -> None:
    assert types.admitted_by_property(parameters, "a").types == expected


def test_literals_are_found_behind_references() -> None:
    root = {"$defs": {"a": {"enum": ["x", 1]}}}
    literals = types.admitted({"anyOf": [{"$ref": "#/$defs/a"}, {"const": None}]}, root).literals
    assert set(literals) == {"x", 1, None}
