"""One real, patched SGLang tree, imported without a GPU, and its ways from a text to calls."""

from __future__ import annotations
import __future__

import ast
import asyncio
import importlib
import json
import logging
import sys
import time
import types
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.image import patch

ROOT = Path(__file__).resolve().parents[3]
SERVING = "sglang/srt/entrypoints/openai/serving_chat.py"
Answer = tuple[str, list[tuple[str, str]]]


@contextmanager
def patched(tree: Path) -> Iterator[Sglang]:
    """Patch the tree and import it; the two package modules that want a GPU are stood in for."""
    assert patch.main(["apply", str(tree), "--manifest", str(ROOT / "patches")]) == 0
    package, tools = types.ModuleType("sglang"), types.ModuleType("sglang.utils")
    package.__path__ = [str(tree / "sglang")]
    tools.convert_json_schema_to_str = json.dumps  # type: ignore[attr-defined]
    sys.modules |= {"sglang": package, "sglang.utils": tools}
    try:
        yield Sglang(tree)
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "sglang"]:
            del sys.modules[name]


class Sglang:
    """The parser, the detector and the chat handler of one tree. Tools are given as {name: parameters}."""

    def __init__(self, tree: Path) -> None:
        self.parser = self.module("function_call.function_call_parser").FunctionCallParser
        self.protocol = self.module("entrypoints.openai.protocol")
        self.detector = self.parser.ToolCallParserEnum["glm47"]
        self._serving = self._chat_handler(tree)

    def module(self, name: str) -> Any:
        return importlib.import_module(f"sglang.srt.{name}")

    def tools(self, shapes: dict[str, Any]) -> list[Any]:
        return [self.protocol.Tool(function={"name": name, "parameters": one}) for name, one in shapes.items()]

    def whole(self, text: str, tools: list[Any]) -> Answer:
        """A finished answer, through SGLang's parser."""
        said, calls = self.parser(tools, "glm47").parse_non_stream(text)
        assert [call.tool_index for call in calls] == list(range(len(calls)))
        return said, [(call.name, valid(call.parameters)) for call in calls]

    def streamed(self, pieces: list[str], tools: list[Any]) -> Answer:
        """The same in pieces, put together as a client does: names open calls, arguments are added by index."""
        parser, said, parts = self.parser(tools, "glm47"), "", []
        for read in [*[lambda piece=piece: parser.parse_stream_chunk(piece) for piece in pieces], parser.finish_stream]:
            text, calls = read()
            said += text
            parts += calls
        calls = put_together(parts)
        books = parser.detector
        assert books.streamed_args_for_tool == [arguments for _, arguments in calls]
        assert [json.dumps(one["arguments"], ensure_ascii=False) for one in books.prev_tool_call_arr] == [
            arguments for _, arguments in calls
        ]
        return said, calls

    def so_far(self, text: str, tools: list[Any]) -> Answer:
        """What the detector holds for certain after this text."""
        result = self.detector().detect_and_parse(text, tools)
        return result.normal_text, [(call.name, valid(call.parameters)) for call in result.calls]

    def pieces_so_far(self, pieces: list[str], tools: list[Any]) -> Answer:
        """The same in pieces."""
        detector = self.detector()
        results = [detector.parse_streaming_increment(piece, tools) for piece in pieces]
        parts = [part for result in results for part in result.calls]
        return "".join(result.normal_text for result in results), put_together(parts)

    def served(self, text: str, tools: list[Any]) -> tuple[Answer, str]:
        """Through the chat handler's answer to a request that does not stream: the answer and its finish reason."""
        item = {"text": text, "meta_info": meta("stop")}
        choice = self._serving()._build_chat_response(self._request(tools, False), [item], 0).choices[0]
        assert choice.message.tool_calls is None or choice.message.tool_calls
        calls = choice.message.tool_calls or []
        assert [call.index for call in calls] == list(range(len(calls)))
        answer = choice.message.content or "", [(c.function.name, valid(c.function.arguments)) for c in calls]
        return answer, choice.finish_reason

    def served_stream(self, pieces: list[str], tools: list[Any], reason: str = "stop") -> tuple[Answer, str]:
        """Through the chat handler's stream, read as a client reads it."""
        deltas, reasons, said, parts = [], [], "", []
        for chunk in asyncio.run(self._chunks(pieces, tools, reason)):
            deltas.append(chunk["choices"][0]["delta"])
            reasons.append(chunk["choices"][0]["finish_reason"])
        for delta in deltas:
            said += delta.get("content") or ""
            parts += delta.get("tool_calls") or []
        items = [
            types.SimpleNamespace(
                tool_index=one["index"], name=one["function"]["name"], parameters=one["function"]["arguments"]
            )
            for one in parts
        ]
        return (said, put_together(items)), reasons[-1]

    async def _chunks(self, pieces: list[str], tools: list[Any], reason: str) -> list[dict[str, Any]]:
        async def generate(*_: Any) -> AsyncIterator[dict[str, Any]]:
            text = ""
            for number, piece in enumerate(pieces, 1):
                text += piece
                yield {"index": 0, "text": text, "meta_info": meta(reason if number == len(pieces) else None)}

        handler = self._serving()
        handler.tokenizer_manager.generate_request = generate
        lines = [line async for line in handler._generate_chat_stream(None, self._request(tools, True), None)]
        assert lines[-1] == "data: [DONE]\n\n"
        return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]

    def _request(self, tools: list[Any], stream: bool) -> Any:
        given = [tool.model_dump() for tool in tools]
        return self.protocol.ChatCompletionRequest(model="m", messages=[], tools=given, stream=stream)

    def _chat_handler(self, tree: Path) -> Any:
        """The tree's own class, without the imports that want torch: its methods alone are compiled."""
        source = ast.parse((tree / SERVING).read_text())
        found = next(
            node for node in source.body if isinstance(node, ast.ClassDef) and node.name == "OpenAIServingChat"
        )
        found.bases = []
        scope: dict[str, Any] = {"json": json, "time": time, "uuid": uuid, "logger": logging.getLogger("serving")}
        scope |= vars(importlib.import_module("typing")) | vars(self.protocol)
        for name in ("function_call_parser", "json_array_parser", "core_types"):
            scope |= vars(self.module(f"function_call.{name}"))
        scope |= vars(self.module("entrypoints.openai.usage_processor"))
        scope["process_hidden_states_from_ret"] = lambda *_: None
        code = compile(ast.Module([found], []), SERVING, "exec", __future__.annotations.compiler_flag)
        exec(code, scope)
        handler = scope["OpenAIServingChat"]
        handler.__init__ = _settings
        return handler


def _settings(self: Any) -> None:
    """What a chat handler reads of its server here; stands in for the handler's own start."""
    self.tool_call_parser, self.reasoning_parser = "glm47", None
    self.tokenizer_manager = types.SimpleNamespace(server_args=types.SimpleNamespace(enable_cache_report=False))


def meta(reason: str | None) -> dict[str, Any]:
    """The numbers beside a piece of text, as the tokenizer manager gives them."""
    finish = {"type": reason} if reason else None
    return {"id": "1", "prompt_tokens": 1, "completion_tokens": 1, "finish_reason": finish, "weight_version": "1"}


def put_together(parts: list[Any]) -> list[tuple[str, str]]:
    calls: list[tuple[str, str]] = []
    for part in parts:
        if part.name:
            assert part.tool_index == len(calls)
            calls.append((part.name, ""))
        name, arguments = calls[part.tool_index]
        calls[part.tool_index] = (name, arguments + part.parameters)
    return [(name, valid(arguments)) for name, arguments in calls]


def valid(arguments: str) -> str:
    """The same text; fails where it is no JSON object that any client can read."""

    def refuse(name: str) -> Any:
        raise AssertionError(f"{name} is no JSON")

    arguments.encode()
    assert isinstance(json.loads(arguments, parse_constant=refuse), dict)
    return arguments


def cut(text: str, size: int) -> list[str]:
    """Pieces of `size` characters; one empty piece for an empty text."""
    return [text[i : i + size] for i in range(0, len(text), size)] or [""]


def call(name: str, **arguments: str) -> str:
    """A call as GLM-4.7 writes it."""
    inside = "".join(f"<arg_key>{k}</arg_key><arg_value>{v}</arg_value>" for k, v in arguments.items())
    return f"<tool_call>{name}{inside}</tool_call>"
