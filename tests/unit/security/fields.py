"""Every text field of cluster.yaml, found in its schema, so that none can be forgotten; and texts to put there."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from deploy.cluster.schema import schema

Field = tuple[str, ...]
"""A path: a key, `[]` for an item of a list, `*` for a value of a mapping, `KEY` for a key of one."""
GOLDEN = Path(__file__).resolve().parents[2] / "golden"

TWO_NODES = yaml.safe_load((GOLDEN / "two-nodes" / "cluster.yaml").read_text())
FOLLOWED = {"$ref", "type", "enum", "const", "anyOf", "properties", "items"}
FOLLOWED |= {"additionalProperties", "patternProperties"}
TOLD = {"$schema", "$defs", "title", "description", "default", "pattern", "required", "minItems", "minLength"}
TOLD |= {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
"""Words of a schema: those that lead to a text, and those that do not."""
PLAIN: dict[Field, Any] = {
    ("name",): "plainvalue",
    ("image", "sglang"): "0.5.4.post3",
    ("image", "triton"): "3.6.0",
    ("image", "platform"): "linux/amd64",
    ("image", "nccl"): "2.31.0",
    ("image", "python"): "3.13",
    ("image", "ray"): "2.60.0",
    ("image", "allow", "[]"): "unknown-base",
    ("nodes", "[]", "fabric"): "192.168.101.99",
    ("mounts", "huggingface"): "/plainvalue",
    ("mounts", "compile"): "/plainvalue",
    ("mounts", "extra", "[]"): "/plainvalue:/plainvalue",
    ("container", "capabilities", "[]"): "SYS_PTRACE",
    ("doctor", "allow", "[]"): "clock.skew",
    ("server", "KEY"): "served-model-name",
    ("environment", "KEY"): "PLAINVALUE",
}
"""What a field holds where `plainvalue` would be refused."""
SERVER = {"*": "served-model-name", "[]": "lora-paths", "{}": "json-model-override-args"}
"""A flag that takes any text, any list of texts, any mapping."""


def fields() -> list[Field]:
    """Each place where cluster.yaml takes a text."""
    root = json.loads(schema())
    return sorted(set(_texts(root, root)))


def _texts(node: dict[str, Any], root: dict[str, Any], path: Field = ()) -> Iterator[Field]:
    assert set(node) <= FOLLOWED | TOLD, f"what does this say of {path}: {set(node) - FOLLOWED - TOLD}?"
    if "$ref" in node:
        yield from _texts(root["$defs"][node["$ref"].rpartition("/")[2]], root, path)
    if node.get("type") == "string" or {"enum", "const"} & set(node):
        yield path
    for one, step in _inner(node):
        yield from _texts(one, root, (*path, *step))
    for inner in (node.get("additionalProperties"), *node.get("patternProperties", {}).values()):
        if inner is True:
            yield (*path, "{}")
        elif inner:
            yield from ((*path, "KEY"), *_texts(inner, root, (*path, "*")))


def _inner(node: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Field]]:
    yield from ((one, ()) for one in node.get("anyOf", ()))
    yield from ((one, (key,)) for key, one in node.get("properties", {}).items())
    if "items" in node:
        yield node["items"], ("[]",)


def written(field: Field, text: str) -> str:
    """A cluster.yaml with a text in a field, whatever the text is."""
    document = copy.deepcopy(TWO_NODES)
    _put(document, field, text)
    return yaml.safe_dump(document, allow_unicode=False, sort_keys=False)


def _put(document: Any, field: Field, text: str) -> None:
    if field[0] == "server" and field[1] != "KEY":
        kind = field[-1]
        value: Any = [text] if kind == "[]" else {text: text} if kind == "{}" else text
        document.setdefault("server", {})[SERVER[kind]] = value
        return
    place = document
    for key, after in zip(field, (*field[1:], None), strict=True):
        if after is None:
            place[0 if key == "[]" else text if key == "KEY" else "VARIABLE" if key == "*" else key] = _value(
                field, text
            )
        elif key == "[]":
            place = place[0]
        else:
            place = place.setdefault(key, {}) if after != "[]" else _list(place, key)


def _list(place: Any, key: str) -> Any:
    place[key] = place.get(key) or [None]
    return place[key]


def _value(field: Field, text: str) -> str:
    return "1" if field[-1] == "KEY" else text


def plain(field: Field) -> str:
    return str(PLAIN.get(field, "plainvalue"))


def said(field: Field) -> str:
    """What a refusal names; of a mapping that the user fills, the key that it has in cluster.yaml."""
    fixed = itertools.takewhile(lambda key: key not in ("KEY", "*"), field)
    return ".".join(fixed).replace(".[]", "[0]")


NASTY = "$`'\"\\;|&<>(){}[]*?!~#^ \t\n\r\0\x1b\x7f\x85\u2028\u2029\ufeff-=:,@%/.aA0é"


def texts(field: Field) -> st.SearchStrategy[str]:
    """Arbitrary texts, texts of what shells and Dockerfiles read, and those that begin or end as a good value does."""
    free = st.one_of(
        st.text(max_size=40),
        st.text(st.sampled_from(NASTY), max_size=12),
        st.sampled_from(
            [
                "$(touch /tmp/x)",
                "`id`",
                "a; id",
                "a\nRUN id",
                "x AS y\nFROM z",
                "--privileged",
                "-v/:/h",
                "a' 'b",
                "${A}",
            ]
            + ["\ud800", "a\\\nb", "x\u2028RUN id", "../../x", "~/$(id)", "/a b/'c'", "%h", "-oProxyCommand=id"]
        ),
    )
    return st.one_of(free, free.map(plain(field).__add__), free.map(lambda text: text + plain(field)))
