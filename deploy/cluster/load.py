"""cluster.yaml from a file: every mistake at once, each with its line. Contacts no node."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from deploy.cluster import source
from deploy.cluster.grammar import WRONG, sendable
from deploy.cluster.source import Path, Problem, Source
from deploy.cluster.spec import Cluster
from deploy.errors import ConfigError


@dataclass(frozen=True)
class Document:
    """A cluster, and the file it came from, so that later checks can name a line."""

    cluster: Cluster
    source: Source


def load(path: str | File) -> Document:
    """Read and check a cluster.yaml. Raises ConfigError with every mistake, one a line."""
    try:
        text = File(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise ConfigError(f"{path}: {reason}", "name your file with --nodes; cluster.yaml is an example") from None
    return parse(str(path), text)


def parse(name: str, text: str) -> Document:
    """Check the text of a cluster.yaml. Raises ConfigError."""
    document = source.parse(name, text)
    if not isinstance(document.value, dict):
        raise ConfigError(f"{name}:1:1: a cluster is a mapping of keys to values", "start from cluster.yaml")
    try:
        cluster = Cluster.model_validate(document.value)
    except ValidationError as error:
        document.refuse({_problem(item) for item in error.errors()})
        raise
    document.refuse(_rules(cluster))
    return Document(cluster, document)


def _problem(error: Any) -> Problem:
    path: Path = tuple(part for part in error["loc"] if part != "[key]")
    if error["type"] == "extra_forbidden":
        return Problem(path, "unknown key" + did_you_mean(str(path[-1]), _keys(path[:-1])))
    if error["type"] == "missing":
        return Problem(path, "is needed here")
    if path[:1] == ("server",):
        return Problem(path[:2], "must be text, a number, true, false, a list, a mapping or null")
    if error["type"] == "string_pattern_mismatch":
        return Problem(path, f"{error['input']!r} {WRONG.get(error['ctx']['pattern'], 'is not legal text here')}")
    if error["type"] == "literal_error":
        return Problem(path, _not_one_of(str(error["input"]), re.findall(r"'([^']+)'", error["ctx"]["expected"])))
    message = str(error["msg"]).removeprefix("Value error, ")
    return Problem(path, message[:1].lower() + message[1:] + f" (found {error['input']!r})")


def _not_one_of(word: str, known: list[str]) -> str:
    return f"{word!r} is not one of {', '.join(known)}{did_you_mean(word, known)}"


def did_you_mean(word: str, known: Iterator[str] | list[str]) -> str:
    """`; did you mean X?`, or nothing where no known word is near."""
    near = difflib.get_close_matches(word.replace("_", "-"), list(known), n=1, cutoff=0.6)
    near = near or difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _keys(path: Path) -> list[str]:
    """The keys that are legal at a path."""
    model: Any = Cluster
    for part in path:
        if isinstance(part, str) and part in getattr(model, "model_fields", {}):
            model = _model(model.model_fields[part].annotation)
    return list(getattr(model, "model_fields", {}))


def _model(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for arg in get_args(annotation) if (model := _model(arg))), None)


def _rules(cluster: Cluster) -> Iterator[Problem]:
    yield from _addresses(cluster)
    for name in {*cluster.secrets, *filter(None, [cluster.api_key])} & set(cluster.environment):
        where = "api_key" if name == cluster.api_key else "secrets"
        yield Problem(("environment", name), f"is also in {where}; a secret has no value in this file")
    for flag, value in cluster.server.items():
        if not all(map(sendable, _texts([flag, value]))):
            yield Problem(("server", flag), "holds a control character other than tab and newline")


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value, keys of mappings included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in [*value, *(value.values() if isinstance(value, dict) else ())]:
            yield from _texts(item)


def _addresses(cluster: Cluster) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for rank, node in enumerate(cluster.nodes):
        try:
            ipaddress.IPv4Address(node.fabric)
        except ValueError:
            yield Problem(("nodes", rank, "fabric"), f"{node.fabric!r} is not an IPv4 address")
        for key, name in (("fabric", node.fabric), ("host", f"{node.host}:{node.port or ''}")):
            first = seen.setdefault(f"{key} {name}", rank)
            if first != rank:
                yield Problem(("nodes", rank, key), f"{name.rstrip(':')} is nodes[{first}] already")
