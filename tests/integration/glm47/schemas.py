"""Schemas with values that fit them, and the values as GLM-4.7's chat template writes them: strings raw, else JSON."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import strategies as st

Pair = tuple[dict[str, Any], Any]
TAGS = ["<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"]
INNER = "<tool_call>weather<arg_key>a</arg_key><arg_value>1</arg_value></tool_call>"
BITS = [*TAGS, INNER, "<", "</", "\\n", "\n", " ", "\t", '"', "'", "{", "}", "1.50", "true", "null", "é", "𝄞", "text"]
# What no rule can tell from the end of a value or of a call; docs/tool-calls.md names these limits.
_AMBIGUOUS = re.compile(
    r"</arg_value>\s*(<arg_key>|</tool_call>|<tool_call>\s*f\d\s*<)|</tool_call>\s*<tool_call>\s*f\d\s*<", re.DOTALL
)
_OPENED = re.compile(r"<tool_call>\s*[^\s<>]+\s*<arg_key>[^<]*</arg_key>\s*<arg_value>")


def representable(text: str) -> bool:
    """Whether a raw string keeps clear of the documented limits."""
    rest = text.replace(INNER, "(a call)")
    return not _AMBIGUOUS.search(rest) and not _OPENED.search(rest)


TEXT = st.one_of(st.text(max_size=12), st.lists(st.sampled_from(BITS), max_size=8).map("".join)).filter(representable)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), NUMBERS, TEXT)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.text(max_size=4), inner, max_size=3)


ANY = st.recursive(LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=3), objects(inner)), max_leaves=6)


def of(schema: dict[str, Any], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Pair]:
    return values.map(lambda value: (schema, value))


STRINGS = of({"type": "string"}, TEXT)
OTHERS = st.one_of(
    of({"type": "integer"}, st.integers()),
    of({"type": "number"}, st.one_of(st.integers(), NUMBERS)),
    of({"type": "boolean"}, st.booleans()),
    of({"type": "null"}, st.none()),
    of({"type": "array", "items": {}}, st.lists(ANY, max_size=3)),
    of({"type": "object"}, objects(ANY)),
    of({"items": {"type": "string"}}, st.lists(TEXT, max_size=3)),
    of({"properties": {"x": {"type": "string"}}}, st.fixed_dictionaries({"x": TEXT})),
)
PLAIN = st.one_of(STRINGS, OTHERS)


def _beside_null(pair: Pair, how: int, null: bool) -> Pair:
    schema, value = pair
    if value == "null" or "type" not in schema or schema["type"] == "null":
        return pair
    wrapped = [
        {"anyOf": [schema, {"type": "null"}]},
        {"oneOf": [{"type": "null"}, schema]},
        {**schema, "type": [schema["type"], "null"]},
        {**schema, "nullable": True},
    ][how]
    return wrapped, None if null else value


def _referred(pair: Pair, how: int) -> Pair:
    """The same schema behind a reference that the caller resolves: `#/$defs/...`, direct or through another."""
    schema, value = pair
    return [{"$ref": "#/$defs/D", "D": schema}, {"allOf": [{"$ref": "#/$defs/E"}], "D": schema}][how], value


def _listed(pair: Pair, other: Any, const: bool) -> Pair:
    value = pair[1]
    return ({"const": value} if const else {"enum": [other, value]}), value


NULLABLE = st.builds(_beside_null, PLAIN, st.integers(0, 3), st.booleans())
REFERRED = st.builds(_referred, st.one_of(PLAIN, NULLABLE), st.integers(0, 1))
LISTED = st.one_of(
    st.builds(_listed, STRINGS, st.just("other"), st.booleans()),
    st.builds(_listed, st.one_of(of({}, st.integers()), of({}, st.booleans())), st.just(7), st.booleans()),
)
SCHEMAS = st.one_of(PLAIN, NULLABLE, REFERRED, LISTED)


def parameters(properties: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The parameters of a tool, with the schemas that are referred to among its definitions."""
    shapes: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    for number, (key, schema) in enumerate(properties.items()):
        text = json.dumps({k: v for k, v in schema.items() if k != "D"})
        shapes[key] = json.loads(text.replace("$defs/D", f"$defs/D{number}").replace("$defs/E", f"$defs/E{number}"))
        if "D" in schema:
            definitions |= {f"D{number}": schema["D"], f"E{number}": {"$ref": f"#/$defs/D{number}"}}
    return {"type": "object", "properties": shapes, "$defs": definitions}


def rendered(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
