"""Canned tool calls through the installed parsers, whole and in pieces: `python3 -m deploy.inside.calls HOME TREE`."""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.inside.check import PASSED, Check, Inside, judged
from deploy.inside.child import Child, ChildError

PARSERS = "sglang.srt.function_call.function_call_parser"
PROTOCOL = "sglang.srt.entrypoints.openai.protocol"
PIECES = (1, 3, 8, 64)
"""Characters in a piece; several tokens come at once where tokens are drafted."""
BROKEN = "the base or a patch is not what it says: `patches status IMAGE` names the files"


def checks(inside: Inside, child: Child) -> Iterator[Check]:
    """What the parsers made of the canned calls beside the manifest."""
    try:
        found = child.answer()
    except ChildError as error:
        yield judged("parser.import", False, f"the parsers could not be asked: {error}", "an answer", BROKEN)
        return
    if "missing" in found:
        words, hint = f"the parsers cannot be imported: {found['missing']}", "take a base that can serve"
        yield inside.absent("parser.import", words, "an import", hint)
        return
    cases = [one["parser"] for one in found["cases"]]
    yield judged("parser.import", bool(cases), f"{found['how']}; calls for {', '.join(cases)}", "a canned call", BROKEN)
    for one in found["cases"]:
        yield from _case(one, found["registered"])


def _case(one: dict[str, Any], registered: list[str]) -> Iterator[Check]:
    parser = one["parser"]
    check = f"parser.{parser}"
    flag, known = f"--tool-call-parser {parser}", parser in registered
    seen = f"{flag} is {'one' if known else 'none'} of {len(registered)} choices"
    yield judged(f"{check}.registered", known, seen, f"{flag} accepted", BROKEN)
    if known:
        yield _said(f"{check}.whole", one["whole"], one["expected"])
        wrong = {size: said for size, said in one["pieces"].items() if said != one["expected"]}
        size, said = next(iter(wrong.items()), (", ".join(one["pieces"]), one["expected"]))
        yield _said(f"{check}.pieces", said, one["expected"], f" in pieces of {size} characters")


def _said(check: str, said: Any, expected: Any, how: str = "") -> Check:
    names = ", ".join(call["name"] for call in expected["calls"])
    if said == expected:
        return Check(check, PASSED, f"{names}: name, arguments and text as they should be{how}")
    seen = f"{json.dumps(said, ensure_ascii=False)[:300]}{how}"
    return judged(check, False, seen, json.dumps(expected, ensure_ascii=False)[:300], BROKEN)


def ask(home: Path, tree: Path) -> dict[str, Any]:
    """Import the parsers and run every case. What cannot be imported is said under `missing`."""
    try:
        how, parsers, protocol = _parsers(tree)
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] == "sglang":
            raise
        return {"missing": str(error)}
    registry = parsers.FunctionCallParser
    cases = [_asked(case, registry, protocol.Tool) for case in canned(home)]
    return {"how": how, "registered": sorted(registry.ToolCallParserEnum), "cases": cases}


def canned(home: Path) -> list[dict[str, Any]]:
    """patches/SET/calls.json: parser, tools, text, and the content and calls that are in it."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((home / "patches").glob("*/calls.json"))]


def _parsers(tree: Path) -> tuple[str, Any, Any]:
    """How they were imported, the module of the parsers, and that of the request types."""
    try:
        return "imported as the server does", importlib.import_module(PARSERS), importlib.import_module(PROTOCOL)
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
    for name in [name for name in sys.modules if name.partition(".")[0] == "sglang"]:
        del sys.modules[name]
    package, tools = types.ModuleType("sglang"), types.ModuleType("sglang.utils")
    package.__path__ = [str(tree / "sglang")]
    tools.convert_json_schema_to_str = json.dumps  # type: ignore[attr-defined]
    sys.modules.update({"sglang": package, "sglang.utils": tools})
    how = f"sglang itself cannot be imported here ({words}); empty modules stood in for sglang and sglang.utils"
    return how, importlib.import_module(PARSERS), importlib.import_module(PROTOCOL)


def _asked(case: dict[str, Any], registry: Any, tool: Any) -> dict[str, Any]:
    name, text = case["parser"], case["text"]
    asked = {"parser": name, "expected": {"content": case["content"], "calls": case["calls"]}}
    if name not in registry.ToolCallParserEnum:
        return asked
    tools = [tool(**one) for one in case["tools"]]
    content, calls = registry(tools, name).parse_non_stream(text)
    pieces = {size: _streamed(registry(tools, name), text, size) for size in PIECES}
    return {**asked, "whole": _put_together([(content, calls)]), "pieces": pieces}


def _streamed(parser: Any, text: str, size: int) -> dict[str, Any]:
    return _put_together([parser.parse_stream_chunk(text[at : at + size]) for at in range(0, len(text), size)])


def _put_together(parts: list[tuple[str, Any]]) -> dict[str, Any]:
    """Content and calls as a client of the stream has them at its end; arguments that are no JSON stay text."""
    content = ""
    calls: dict[int, dict[str, Any]] = {}
    for text, items in parts:
        content += text
        for item in items:
            call = calls.setdefault(item.tool_index, {"name": "", "arguments": ""})
            call["name"] += item.name or ""
            call["arguments"] += item.parameters
    for call in calls.values():
        with contextlib.suppress(ValueError):
            call["arguments"] = json.loads(call["arguments"])
    return {"content": content, "calls": [calls[index] for index in sorted(calls)]}


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(ask(Path(sys.argv[1]), Path(sys.argv[2]))) + "\n")
