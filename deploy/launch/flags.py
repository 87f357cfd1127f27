"""The launch flags of one SGLang version, read from its source text; runs nothing of it and reads no file by itself."""

from __future__ import annotations

import argparse
import ast
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NoReturn

SERVER_ARGS = "srt/server_args.py"
Read = Callable[[str], str]


class UnreadableSourceError(LookupError):
    """The source text is not of the shape this module understands; a table from it would be incomplete."""


@dataclass(frozen=True)
class Flag:
    """One launch flag; `name` is its first long spelling without dashes, `type` the name of a callable."""

    name: str
    spellings: tuple[str, ...]
    dest: str
    action: str = "store"
    type: str = "str"
    nargs: str | int | None = None
    choices: tuple[str | int, ...] | None = None
    default: str | int | float | bool | None = None
    required: bool = False

    @property
    def deprecated(self) -> bool:
        """True where SGLang only keeps the flag to say that it is gone."""
        return self.action == "DeprecatedAction"


@dataclass(frozen=True)
class FlagTable:
    """All flags of `version`, sorted by name; `wheel` is the SHA-256 of the wheel they were read from, if known."""

    version: str
    flags: tuple[Flag, ...]
    wheel: str = ""

    def find(self, spelling: str) -> Flag | None:
        """The flag so spelled, or abbreviated as argparse allows (`--tp` for `--tp-size`); None if none or several."""
        exact = [flag for flag in self.flags if spelling in flag.spellings]
        begun = [flag for flag in self.flags for text in flag.spellings if text.startswith(spelling)]
        found = exact or begun
        return found[0] if len(found) == 1 and spelling.startswith("--") else None

    def extended(self, fields: Iterable[Mapping[str, Any]]) -> FlagTable:
        """The same with more flags, each by the fields that `to_json` writes."""
        flags = (*self.flags, *(_flag(dict(one)) for one in fields))
        return replace(self, flags=tuple(sorted(flags, key=lambda flag: flag.name)))

    def to_json(self) -> str:
        """JSON text with one flag a line, so that a change of version reads as a diff."""
        lines = ",\n".join("  " + json.dumps(_stated(flag)) for flag in self.flags)
        head = f' "version": {json.dumps(self.version)},\n "wheel": {json.dumps(self.wheel)},\n'
        return "{\n" + head + ' "flags": [\n' + lines + "\n ]\n}\n"

    @classmethod
    def from_json(cls, text: str) -> FlagTable:
        """The table that `to_json` wrote."""
        data = json.loads(text)
        return cls(data["version"], tuple(_flag(fields) for fields in data["flags"]), data["wheel"])


def derive(version: str, read: Read) -> FlagTable:
    """The table of a source tree; `read` gives a file's text by its path below the `sglang` package."""
    module = _Module(SERVER_ARGS, read)
    flags = [module.flag(call) for call in module.calls_of("add_argument")]
    if not flags:
        raise UnreadableSourceError(f"{SERVER_ARGS} of {version} adds no arguments")
    return FlagTable(version, tuple(sorted(flags, key=lambda flag: flag.name)))


def parser(table: FlagTable, prog: str = "launch_server") -> argparse.ArgumentParser:
    """An ArgumentParser that takes and refuses what SGLang's own does."""
    made = argparse.ArgumentParser(prog=prog)
    for flag in table.flags:
        made.add_argument(*flag.spellings, **_keywords(flag))
    return made


def _flag(fields: dict[str, Any]) -> Flag:
    choices = fields.get("choices")
    return Flag(
        **fields | {"spellings": tuple(fields["spellings"]), "choices": None if choices is None else tuple(choices)}
    )


def _stated(flag: Flag) -> dict[str, Any]:
    """The fields that say more than their default."""
    usual = asdict(Flag("", (), ""))
    return {key: value for key, value in asdict(flag).items() if value != usual[key]}


def _keywords(flag: Flag) -> dict[str, Any]:
    words: dict[str, Any] = {"dest": flag.dest, "default": flag.default, "required": flag.required}
    if flag.deprecated:
        return words | {"action": _Gone, "nargs": 0}
    if flag.action in ("store_true", "store_false"):
        return words | {"action": flag.action}
    return words | {"type": _TYPES.get(flag.type, str), "nargs": flag.nargs, "choices": flag.choices}


_TYPES: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "str": str, "json_list_type": json.loads}


class _Gone(argparse.Action):
    def __call__(self, made: argparse.ArgumentParser, *_: Any) -> NoReturn:
        made.error(f"{self.option_strings[0]} is deprecated")


class _Module:
    """One file's syntax tree, with the names that it binds or imports."""

    def __init__(self, path: str, read: Read) -> None:
        self.path, self.read = path, read
        self.tree = ast.parse(read(path), path)

    def calls_of(self, method: str) -> Iterator[ast.Call]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method:
                yield node

    def flag(self, call: ast.Call) -> Flag:
        spellings = tuple(str(self.value(node)) for node in call.args)
        given = {word.arg: word.value for word in call.keywords if word.arg}
        action = _named(given["action"]) if "action" in given else "store"
        name = next((text for text in spellings if text.startswith("--")), spellings[0]).lstrip("-")
        choices = self.value(given["choices"]) if "choices" in given else None
        return Flag(
            name=name,
            spellings=spellings,
            dest=_named(given["dest"]) if "dest" in given else name.replace("-", "_"),
            action=action,
            type="bool" if action.startswith("store_") else _named(given["type"]) if "type" in given else "str",
            nargs=self.value(given["nargs"]) if "nargs" in given else None,
            choices=None if choices is None else tuple(choices),
            default=self.default(given.get("default"), action),
            required=bool("required" in given and self.value(given["required"])),
        )

    def default(self, node: ast.expr | None, action: str) -> Any:
        if node is None:
            return {"store_true": False, "store_false": True}.get(action)
        value = self.value(node)
        if value is None or isinstance(value, (str, int, float)):
            return value
        raise UnreadableSourceError(f"{self.path}:{node.lineno}: a default that is no plain value: {ast.unparse(node)}")

    def value(self, node: ast.expr) -> Any:
        """What the expression means, without running it."""
        match node:
            case ast.Constant():
                return node.value
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Dict(keys=items):
                return [self.value(item) for item in items if item is not None]
            case ast.UnaryOp(op=ast.USub()):
                return -self.value(node.operand)
            case ast.BinOp(op=(ast.Add() | ast.Mult()) as sign):
                left, right = self.value(node.left), self.value(node.right)
                return left + right if isinstance(sign, ast.Add) else left * right
            case _:
                return self.reference(node)

    def reference(self, node: ast.expr) -> Any:
        """The value behind a name, a class's member, or `list(...)` and `.keys()` around one."""
        match node:
            case ast.Name():
                return self.bound(node.id)
            case ast.Attribute(value=ast.Name(id=owner)):
                return self.member(owner, node.attr)
            case ast.Call(func=ast.Name(id="list"), args=[inner]):
                return self.value(inner)
            case ast.Call(func=ast.Attribute(attr="keys", value=inner), args=[]):
                return self.value(inner)
        raise UnreadableSourceError(f"{self.path}:{node.lineno}: cannot read {ast.unparse(node)}")

    def bound(self, name: str) -> Any:
        value = _assigned(ast.walk(self.tree), name)
        return self.imported(name).bound(name) if value is None else self.value(value)

    def member(self, owner: str, name: str) -> Any:
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef) and node.name == owner:
                value = _assigned(node.body, name)
                if value is None:
                    raise UnreadableSourceError(f"{self.path}: {owner}.{name} has no value")
                return self.value(value)
        return self.imported(owner).member(owner, name)

    def imported(self, name: str) -> _Module:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and any((alias.asname or alias.name) == name for alias in node.names):
                path = (node.module or "").removeprefix("sglang.").replace(".", "/")
                return _Module(f"{path}.py", self.read)
        raise UnreadableSourceError(f"{self.path}: nothing gives {name} a value")


def _assigned(nodes: Iterable[ast.AST], name: str) -> ast.expr | None:
    for node in nodes:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and name in _targets(node):
            return node.value
    return None


def _targets(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _named(node: ast.expr) -> str:
    """A callable's name, or the text of a literal."""
    return str(node.value) if isinstance(node, ast.Constant) else ast.unparse(node)
