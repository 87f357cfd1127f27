"""The door to the real parsers and request types of the installed, patched SGLang tree; nothing is parsed here."""

from __future__ import annotations
import __future__

import ast
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sglang.srt.entrypoints.openai import protocol
from sglang.srt.function_call.function_call_parser import FunctionCallParser
from sglang.srt.function_call.json_array_parser import JsonArrayParser
from sglang.srt.parser.reasoning_parser import ReasoningParser

from .settings import Settings

SERVING = "srt/entrypoints/openai/serving_chat.py"
THINKING = "_get_enable_thinking_from_request"


class Thinking:
    """Whether SGLang takes a request's answer for one that begins with a thought: its own method, read from the tree.

    The module that holds the method needs torch, so the method alone is compiled.
    """

    def __init__(self, tree: Path, reasoning_parser: str | None) -> None:
        self._serving = SimpleNamespace(reasoning_parser=reasoning_parser)
        scope: dict[str, Any] = {}
        exec(compile(method(tree / SERVING, THINKING), SERVING, "exec", __future__.annotations.compiler_flag), scope)
        self._method = scope[THINKING]

    def __call__(self, request: Any) -> bool:
        return bool(self._method(self._serving, request))


def method(path: Path, name: str) -> ast.Module:
    """One function of a file as a module of its own; LookupError where the tree has none of that name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return ast.Module([node], [])
    raise LookupError(f"{path} has no {name}")


class Pieces:
    """One answer on its way through the real parsers: thought, text and calls come out, streamed or whole."""

    def __init__(self, reasoning: str | None, thinking: bool, tools: str | None, request: Any) -> None:
        separate = reasoning and request.separate_reasoning
        streamed = request.stream and request.stream_reasoning
        self._reasoning = ReasoningParser(reasoning, streamed, thinking) if separate else None
        if self._reasoning and hasattr(self._reasoning.detector, "expect_calls"):
            self._reasoning.detector.expect_calls(request, tools)
        self._forced = request.tool_choice == "required" or not isinstance(request.tool_choice, str)
        self._tools = request.tools or []
        self._calls: Any = None
        if self._tools and request.tool_choice != "none" and (tools or self._forced):
            self._calls = JsonArrayParser() if self._forced else FunctionCallParser(self._tools, tools)

    def whole(self, text: str) -> tuple[str | None, str, list[tuple[int, str, str]]]:
        """Thought, text and calls (index, name, arguments) of a whole answer."""
        thought: str | None = None
        if self._reasoning:
            thought, text = self._reasoning.parse_non_stream(text)
        if self._calls is None:
            return thought, text, []
        if self._forced:
            calls = json.loads(text)
            return thought, "", [(i, one["name"], json.dumps(one["parameters"])) for i, one in enumerate(calls)]
        if not self._calls.has_tool_call(text):
            return thought, text, []
        text, found = self._calls.parse_non_stream(text)
        return thought, text, [(one.tool_index, one.name, one.parameters) for one in found]

    def chunk(self, text: str, finish: str | None) -> tuple[str | None, str, Sequence[Any]]:
        """Thought, text and calls (as the parser's own items) that another chunk brings; the last has its reason."""
        thought: str | None = None
        if self._reasoning and hasattr(self._reasoning.detector, "parse_chunk"):
            thought, text = self._reasoning.detector.parse_chunk(text, finish)
        elif self._reasoning:
            thought, text = self._reasoning.parse_stream_chunk(text)
        if self._calls is None:
            return thought, text or "", []
        if self._forced:
            result = self._calls.parse_streaming_increment(text, self._tools)
            return thought, result.normal_text, result.calls
        text, found = self._calls.parse_stream_chunk(text)
        if finish and hasattr(self._calls, "finish_stream"):
            held, more = self._calls.finish_stream()
            text, found = text + held, found + more
        return thought, text, found

    def rest(self) -> tuple[int, str] | None:
        """Index and arguments of a last call that the parser has seen and not yet handed out."""
        detector = getattr(self._calls, "detector", self._calls)
        seen, said = getattr(detector, "prev_tool_call_arr", []), getattr(detector, "streamed_args_for_tool", [])
        last = len(seen) - 1
        if not 0 <= last < len(said):
            return None
        wanted = json.dumps(seen[last].get("arguments", {}), ensure_ascii=False)
        left = wanted.replace(said[last], "", 1) if said[last] in wanted else ""
        return (last, left) if left else None


def parser(settings: Settings, named: str | None) -> str | None:
    """The tool-call parser that is used where `named` is asked for: a lab may serve with a wrong one, or with none."""
    return None if settings.parser == "none" else settings.parser or named


def parse_call(body: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The answer of /parse_function_call."""
    tools, name = [protocol.Tool(**tool) for tool in body.get("tools", [])], body["tool_call_parser"]
    text, calls = FunctionCallParser(tools, parser(settings, name) or name).parse_non_stream(body["text"])
    return {"normal_text": text, "calls": [call.model_dump() for call in calls]}


def separate(body: dict[str, Any]) -> dict[str, Any]:
    """The answer of /separate_reasoning."""
    thought, text = ReasoningParser(body["reasoning_parser"]).parse_non_stream(body["text"])
    return {"reasoning_text": thought, "text": text}


def chat_request(body: dict[str, Any]) -> Any:
    """A chat request as SGLang's own type; ValueError (pydantic's) where it is none."""
    return protocol.ChatCompletionRequest(**body)
