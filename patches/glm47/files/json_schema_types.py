"""Which JSON types a JSON schema admits, and which literals it lists; it neither validates nor converts values.

Part of sglang-spark. `infer_type_from_json_schema` is offered to the rest of SGLang by function_call/utils.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

_TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
# What a schema without a type is taken for when it speaks of one type only.
_HINTS = {
    "properties": "object",
    "additionalProperties": "object",
    "required": "object",
    "items": "array",
    "prefixItems": "array",
    "minItems": "array",
    "pattern": "string",
    "minLength": "string",
    "maxLength": "string",
    "minimum": "number",
    "maximum": "number",
}
_OPEN = frozenset({"a reference to itself"})
_DEPTH = 64  # deeper parts of a schema say nothing; a limit of our own, since Python's depends on the caller


@dataclass(frozen=True)
class Admitted:
    """The types that a schema admits (None: any), "integer" beside every "number"; the literals of enum and const."""

    types: frozenset[str] | None = None
    literals: tuple[Any, ...] = ()


ANYTHING = Admitted()


def infer_type_from_json_schema(schema: Any, root: Any = None) -> str | None:
    """The JSON type to read a value as, or None where the schema does not say.

    A union with strings gives "string", the type that any text has; a nullable type gives that type.
    References (`#/...`) point into `root`, which is the schema itself unless given.
    """
    types = admitted(schema, schema if root is None else root).types
    return next((name for name in _TYPES if name in types), None) if types else None


def admitted(schema: Any, root: Any) -> Admitted:
    """All that a schema admits; references point into `root`."""
    reader = _Reader(root)
    types = reader.types(schema)
    return Admitted(None if types is _OPEN else types, tuple(reader.literals(schema)))


def admitted_by_property(parameters: Any, key: str) -> Admitted:
    """What the property `key` of a tool's parameters admits, wherever they name it.

    `patternProperties` are not looked at: a client's expression would run on the server.
    """
    found = _Reader(parameters).properties(parameters, key)
    return admitted({"anyOf": found} if len(found) > 1 else found[0], parameters) if found else ANYTHING


class _Reader:
    """Reads the schemas of one root; each is read once, so cycles end and shared parts cost nothing more."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._read: dict[int, frozenset[str] | None] = {}
        self._depth = 0

    def types(self, schema: Any) -> frozenset[str] | None:
        """The types of a schema, _OPEN inside itself; None where it says nothing."""
        if not isinstance(schema, dict) or self._depth == _DEPTH:
            return None
        if id(schema) not in self._read:
            self._read[id(schema)] = _OPEN
            self._depth += 1
            self._read[id(schema)] = self._types(schema)
            self._depth -= 1
        return self._read[id(schema)]

    def _types(self, schema: dict[str, Any]) -> frozenset[str] | None:
        """All keywords hold at once; what contradicts itself says nothing."""
        parts = [_named(schema.get("type")), _of_literals(_literals(schema))]
        parts += [self.types(part) for part in [self._target(schema), *_listed(schema, "allOf")]]
        parts += [self._union(_listed(schema, key)) for key in ("anyOf", "oneOf")]
        said = [part for part in parts if part is not None and part is not _OPEN]
        if not said and _OPEN in parts:
            return _OPEN
        types = frozenset.intersection(*said) if said else _hinted(schema)
        if types and schema.get("nullable") is True:
            types |= {"null"}
        return types or None

    def _union(self, options: list[Any]) -> frozenset[str] | None:
        parts = [part for part in map(self.types, options) if part is not _OPEN]
        return None if None in parts or not parts else frozenset().union(*parts)

    def _target(self, schema: dict[str, Any]) -> Any:
        """What `$ref` points to inside the root; None where there is none or it is elsewhere."""
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        at = self._root
        for part in unquote(reference[1:]).split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~")
            if isinstance(at, list) and part.isdecimal() and int(part) < len(at):
                at = at[int(part)]
            else:
                at = at.get(part) if isinstance(at, dict) else None
        return at

    def _reachable(self, schema: Any) -> Iterator[dict[str, Any]]:
        """The schema and all that it is made of by reference, allOf, anyOf and oneOf."""
        seen: set[int] = set()
        waiting = [schema]
        while waiting:
            one = waiting.pop(0)
            if isinstance(one, dict) and id(one) not in seen:
                seen.add(id(one))
                yield one
                parts = [part for key in ("allOf", "anyOf", "oneOf") for part in _listed(one, key)]
                waiting += [self._target(one), *parts]

    def literals(self, schema: Any) -> Iterator[Any]:
        for one in self._reachable(schema):
            yield from _literals(one) or ()

    def properties(self, schema: Any, key: str) -> list[Any]:
        """The schemas of one property, without those that say nothing; else those of additional properties."""
        parts = list(self._reachable(schema))
        named = [part["properties"] for part in parts if isinstance(part.get("properties"), dict)]
        found = [properties[key] for properties in named if key in properties]
        if not found:
            found = [part.get("additionalProperties") for part in parts]
        return [one for one in found if self.types(one) not in (None, _OPEN)]


def _named(name: Any) -> frozenset[str] | None:
    """The types of a `type` keyword; an integer is a number too."""
    names = {one for one in (name if isinstance(name, list) else [name]) if isinstance(one, str) and one in _TYPES}
    return frozenset(names | {"integer"} if "number" in names else names) or None


def _hinted(schema: dict[str, Any]) -> frozenset[str] | None:
    hints = {_HINTS[key] for key in schema if key in _HINTS}
    return _named(hints.pop()) if len(hints) == 1 else None


def _listed(schema: dict[str, Any], key: str) -> list[Any]:
    options = schema.get(key)
    return options if isinstance(options, list) else []


def _literals(schema: dict[str, Any]) -> list[Any] | None:
    """The values of const or enum; None where there is neither."""
    if "const" in schema:
        return [schema["const"]]
    return _listed(schema, "enum") or None


def _of_literals(values: list[Any] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(map(json_type, values))


def json_type(value: Any) -> str:
    """The JSON type of a value that came from JSON; 1.0 is a number, not an integer."""
    if isinstance(value, bool):
        return "boolean"
    kinds = {str: "string", int: "integer", float: "number", dict: "object", list: "array"}
    return kinds.get(type(value), "null")
