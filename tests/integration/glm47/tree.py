"""One real, patched SGLang tree, imported without a GPU, and its ways from a text to calls."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.inside import patch
from tests.integration.serving import Message, Serving, imported

ROOT = Path(__file__).resolve().parents[3]
Answer = tuple[str, list[tuple[str, str]]]


@contextmanager
def patched(tree: Path) -> Iterator[Sglang]:
    """Patch the tree and import it."""
    assert patch.main(["apply", str(tree), "--manifest", str(ROOT / "patches")]) == 0
    with imported(tree):
        yield Sglang()


class Sglang:
    """The parser, the detector and the chat handler of one tree. Tools are given as {name: parameters}."""

    def __init__(self) -> None:
        self.parser = self.module("function_call.function_call_parser").FunctionCallParser
        self.detector = self.parser.ToolCallParserEnum["glm47"]
        self.serving = Serving(reasoning=None)

    def module(self, name: str) -> Any:
        return importlib.import_module(f"sglang.srt.{name}")

    def tools(self, shapes: dict[str, Any]) -> list[Any]:
        return [self.serving.protocol.Tool(function={"name": name, "parameters": one}) for name, one in shapes.items()]

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
        return told(self.serving.whole(text, tools=dumped(tools)))

    def served_stream(self, pieces: list[str], tools: list[Any], reason: str = "stop") -> tuple[Answer, str]:
        """Through the chat handler's stream, read as a client reads it."""
        return told(self.serving.stream(pieces, reason, tools=dumped(tools)))


def dumped(tools: list[Any]) -> list[dict[str, Any]]:
    return [tool.model_dump() for tool in tools]


def told(message: Message) -> tuple[Answer, str]:
    assert not message.thought
    return (message.content, [(name, valid(arguments)) for name, arguments in message.calls]), message.finish


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
