"""What the text of a GLM-4.7 argument stands for, by what its schema admits. Strings are written raw, the rest as JSON.

Part of sglang-spark. Whatever comes out can be written as JSON in UTF-8, and does not depend on the call stack.
"""

from __future__ import annotations

import ast
import json
import math
import re
from typing import Any

from sglang.srt.function_call.json_schema_types import Admitted, json_type

_ONLY_STRING = frozenset({"string"})
_LONE = re.compile("[\ud800-\udfff]")
_DEPTH = 200
_PYTHON_LENGTH = 100_000
_PYTHON_WORDS = {"True": ("boolean", True), "False": ("boolean", False), "None": ("null", None)}
_NONE = object()


def value_of(text: str, admitted: Admitted) -> Any:
    """The value of an argument; what cannot be read as an admitted type stays text."""
    types = admitted.types
    if types == _ONLY_STRING:
        return text
    if types and "string" in types:
        return _beside_strings(text, types, admitted.literals)
    value = _from_json(text)
    if value is _NONE and types:
        value = _from_python(text.strip(), types)
    return text if value is _NONE else value


def whole_characters(text: str) -> str:
    """The text with U+FFFD for every half of a surrogate pair, which UTF-8 cannot carry."""
    return text if text.isascii() else _LONE.sub("\ufffd", text)


def _beside_strings(text: str, types: frozenset[str], literals: tuple[Any, ...]) -> Any:
    """Where a string is admitted too, another type is taken only if the text is just what JSON writes for it."""
    value = _from_json(text) if text == text.strip() else _NONE
    if value is _NONE or isinstance(value, str) or json_type(value) not in types:
        return text
    if isinstance(value, (int, float)) and json.dumps(value) != text:
        return text
    meant = any(json_type(one) == json_type(value) and one == value for one in literals)
    return text if text in [one for one in literals if isinstance(one, str)] and not meant else value


def _from_json(text: str) -> Any:
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        return _NONE
    if text.count("[") + text.count("{") > _DEPTH and _too_deep(value):
        return _NONE
    return _writable(value) if "\\u" in text else value


def _from_python(text: str, types: frozenset[str]) -> Any:
    """Python's spelling of what is not a string, which models fall into; containers only where one is admitted."""
    kind, value = _PYTHON_WORDS.get(text, (None, _NONE))
    if kind:
        return value if kind in types else _NONE
    if text[:1] not in ("{", "[", "(") or len(text) > _PYTHON_LENGTH or not types & {"object", "array"}:
        return _NONE
    try:
        value = _writable(ast.literal_eval(text))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _NONE
    return value if json_type(value) in types else _NONE


def _writable(value: Any) -> Any:
    """The value as JSON carries it. Raises ValueError or TypeError where JSON has no such value."""
    return json.loads(whole_characters(json.dumps(value, ensure_ascii=False, allow_nan=False)))


def _too_deep(value: Any) -> bool:
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(_DEPTH):
        parts = (part for one in level for part in (one.values() if isinstance(one, dict) else one))
        level = [part for part in parts if isinstance(part, (dict, list))]
    return bool(level)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"{digits} is more than a float holds")
    return value
