"""Imports the glm47 detector of one SGLang tree and times streams: a setting a line in, a result a line out.

Run by benchmarks/parser.py. The tree is imported without a GPU: its two package modules, and every package that is
missing here, are stood in for by modules that hold nothing; the detectors use none of them on these streams.
"""

from __future__ import annotations

import importlib
import json
import random
import statistics
import sys
import time
import types
from pathlib import Path
from typing import Any

ENOUGH = 0.3  # seconds of one setting; short streams are repeated until then, and their median counts


class _Names(type):
    """Every name of a stand-in is a stand-in."""

    def __getattr__(cls, name: str) -> Any:
        return _names(name)


class Nothing(metaclass=_Names):
    """Stands in for a class or function of a package that is missing: can be called, subclassed and typed with."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __init_subclass__(cls, **_: Any) -> None:
        pass

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
        return importlib.import_module("pydantic_core.core_schema").any_schema()


def _names(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return Nothing


def stand_in(name: str) -> types.ModuleType:
    """A module under this name, of which every attribute is a stand-in."""
    module = types.ModuleType(name)
    module.__getattr__ = _names  # type: ignore[method-assign]
    sys.modules[name] = module
    return module


def load(tree: Path) -> tuple[Any, Any]:
    """(the detector's class, SGLang's Tool)."""
    stand_in("sglang").__path__ = [str(tree / "sglang")]
    stand_in("sglang.utils")
    while True:
        try:
            detector = importlib.import_module("sglang.srt.function_call.glm47_moe_detector")
            protocol = importlib.import_module("sglang.srt.entrypoints.openai.protocol")
        except ModuleNotFoundError as error:
            if not error.name or error.name.startswith("sglang"):
                raise
            stand_in(error.name)
        else:
            return detector.Glm47MoeDetector, protocol.Tool


def code(size: int) -> str:
    """Text that looks like an edit of a Python file: quotes, backslashes, tabs, less-than signs, a few tags of HTML."""
    line = '    if left < right and name != "a\\tb":\n\t\treturn f"<b>{name}</b>"  # naïve\n'
    return (line * (size // len(line) + 1))[:size]


def numbers(size: int) -> list[dict[str, Any]]:
    """Small objects with numbers of all kinds, about `size` characters as JSON."""
    source, found, length = random.Random(7), [], 0
    while length < size:
        one = {
            "id": source.randrange(10**9),
            "at": [source.random(), -source.randrange(99)],
            "on": source.random() < 0.5,
        }
        found.append(one)
        length += len(json.dumps(one)) + 2
    return found


def stream(kind: str, size: int) -> tuple[str, dict[str, Any]]:
    """One call with about `size` characters of arguments, and these arguments."""
    if kind == "code edit":
        arguments: dict[str, Any] = {"path": "src/a.py", "old": code(size // 2), "new": code(size - size // 2)}
    else:
        arguments = {"count": 12, "scale": 0.5, "rows": numbers(size)}
    written = {key: one if isinstance(one, str) else json.dumps(one) for key, one in arguments.items()}
    pairs = "".join(f"<arg_key>{key}</arg_key><arg_value>{text}</arg_value>" for key, text in written.items())
    return f"<tool_call>edit{pairs}</tool_call>", arguments


def shape() -> dict[str, Any]:
    names = {"path": "string", "old": "string", "new": "string", "count": "integer", "scale": "number", "rows": "array"}
    return {"type": "object", "properties": {key: {"type": name} for key, name in names.items()}}


def timed(detector: Any, tools: list[Any], pieces: list[str]) -> tuple[float, str]:
    """CPU seconds, and the arguments as a client puts them together."""
    parts = []
    begin = time.process_time()
    for piece in pieces:
        parts += detector.parse_streaming_increment(piece, tools).calls
    seconds = time.process_time() - begin
    return seconds, "".join(part.parameters for part in parts)


def whole(text: str, arguments: dict[str, Any]) -> bool:
    try:
        return bool(json.loads(text) == arguments)
    except ValueError:
        return False


def main() -> None:
    """Say when the tree is imported, then answer every line."""
    tree = Path(sys.argv[1])
    detector, tool = load(tree)
    tools = [tool(function={"name": "edit", "parameters": shape()})]
    print(json.dumps({"ready": detector.__name__}), flush=True)
    for line in sys.stdin:
        kind, size, tokens = json.loads(line)
        text, arguments = stream(kind, size)
        pieces = [text[i : i + 4 * tokens] for i in range(0, len(text), 4 * tokens)]
        runs = [timed(detector(), tools, pieces)]
        while sum(seconds for seconds, _ in runs) < ENOUGH:
            runs.append(timed(detector(), tools, pieces))
        seconds = statistics.median(seconds for seconds, _ in runs)
        print(json.dumps({"seconds": seconds, "whole": all(whole(said, arguments) for _, said in runs)}), flush=True)


if __name__ == "__main__":
    main()
