"""YAML with its places kept: values beside the line and column of every key. Knows nothing of clusters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import yaml

from deploy.errors import ConfigError

Path = tuple[str | int, ...]

_INT = re.compile(r"[-+]?(0x[0-9a-fA-F]+|0o[0-7]+|[0-9]+)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(frozen=True)
class Problem:
    """One mistake: where in the document, and what is wrong, with what to write instead."""

    path: Path
    what: str
    place: tuple[int, int] | None = None


@dataclass
class Source:
    """One YAML document: `value` as plain Python values, `places` as (line, column) by path, both from 1."""

    name: str
    value: Any = None
    places: dict[Path, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, problem: Problem) -> tuple[int, int, str]:
        """Line, column and text of a problem; a path that is not in the file takes the place of its parent."""
        path = problem.path
        while path and path not in self.places:
            path = path[:-1]
        line, column = problem.place or self.places.get(path, (1, 1))
        key = dotted(problem.path)
        return line, column, f"{self.name}:{line}:{column}: {key + ': ' if key else ''}{printable(problem.what)}"

    def refuse(self, problems: Iterable[Problem]) -> None:
        """Raise one ConfigError with every problem in the order of the file, if there is any."""
        found = sorted(self.line(problem) for problem in problems)
        if found:
            raise ConfigError("\n".join(text for _, _, text in found), f"edit {self.name} and try again")


def dotted(path: Path) -> str:
    """A path as people write it: nodes[2].fabric."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{printable(part)}" for part in path)
    return text.removeprefix(".")


def printable(text: str) -> str:
    """A text as a terminal may show it: what is not printable is escaped."""
    return text if text.isprintable() else ascii(text)[1:-1]


def parse(name: str, text: str) -> Source:
    """Read one document. Raises ConfigError for broken YAML and for duplicate keys."""
    source = Source(name)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(_broken(name, error), "mend the YAML; editors with a YAML plugin show the place") from None
    source.value = _value(source, node, ()) if node else {}
    source.refuse(source.problems)
    return source


def _broken(name: str, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{name}:{mark.line + 1}:{mark.column + 1}: {what}" if mark else f"{name}: {what}"


def _value(source: Source, node: yaml.Node, path: Path) -> Any:
    source.places.setdefault(path, _place(node))
    if isinstance(node, yaml.MappingNode):
        return _mapping(source, node, path)
    if isinstance(node, yaml.SequenceNode):
        return [_value(source, item, (*path, index)) for index, item in enumerate(node.value)]
    assert isinstance(node, yaml.ScalarNode)
    return _scalar(node)


def _mapping(source: Source, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in node.value:
        inner = (*path, str(key.value))
        if str(key.value) in found:
            first = source.places[inner][0]
            source.problems.append(Problem(inner, f"the key was given before, in line {first}", _place(key)))
            continue
        source.places[inner] = _place(key)
        found[str(key.value)] = _value(source, item, inner)
    return found


def _place(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _scalar(node: yaml.ScalarNode) -> Any:
    """YAML 1.2's core types: no `on`/`off` booleans, no octal by a leading zero, no 60:30 as a number."""
    text = str(node.value)
    if node.style in ("'", '"', "|", ">"):
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INT.fullmatch(text):
        return int(text, 0) if text.lstrip("+-")[:2] in ("0x", "0o") else int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
