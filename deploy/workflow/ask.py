"""`ask`: one streamed question to rank 0. Measures nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from deploy.cluster.load import Document
from deploy.errors import ConfigError, RemoteError
from deploy.remote.execute import Fleet
from deploy.workflow.ready import SMOKE_TIMEOUT, endpoint


def read_tools(text: str) -> list[Any]:
    """A list of tools from JSON. Raises ConfigError where it is none."""
    try:
        tools = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--tools: {error}", "give a JSON list of tools, as in OpenAI's API") from None
    if not isinstance(tools, list):
        raise ConfigError("--tools: is not a list", "give a JSON list of tools, as in OpenAI's API")
    return tools


def ask(document: Document, question: str, tools: list[Any], max_tokens: int) -> Iterator[str]:
    """Pieces of text as they come; then each tool call as a line of JSON. Raises RemoteError."""
    cluster = document.cluster
    messages = [{"role": "user", "content": question}]
    body: dict[str, Any] = {"model": cluster.model.path, "messages": messages, "max_tokens": max_tokens, "stream": True}
    if tools:
        body["tools"] = tools
    with closing(Fleet(cluster, ranks=(0,))) as fleet:
        fleet.connect()
        yield from _pieces(endpoint(fleet, cluster, 0).stream("/v1/chat/completions", body, SMOKE_TIMEOUT))


def _pieces(lines: Iterator[str]) -> Iterator[str]:
    """A blank line parts the thought from the answer; every call has a line of its own."""
    calls: dict[int, dict[str, str]] = {}
    speaking = ""
    for line in lines:
        for kind, text in _texts(line, calls):
            yield "\n\n" if speaking not in ("", kind) else ""
            yield text
            speaking = kind
    yield "\n" if calls and speaking else ""
    for call in calls.values():
        yield json.dumps({"name": call["name"], "arguments": json.loads(call["arguments"] or "{}")}) + "\n"


def _texts(line: str, calls: dict[int, dict[str, str]]) -> Iterator[tuple[str, str]]:
    """(kind, text) of one event; pieces of tool calls are gathered by their index. Raises RemoteError."""
    if not line.startswith("data: ") or line == "data: [DONE]":
        return
    chunk = json.loads(line.removeprefix("data: "))
    if "error" in chunk:
        raise RemoteError(f"the server answered: {chunk['error']}", "see `logs --rank 0`")
    for delta in (choice["delta"] for choice in chunk.get("choices", ())):
        for kind in ("reasoning_content", "content"):
            if delta.get(kind):
                yield kind, str(delta[kind])
        for piece in delta.get("tool_calls") or ():
            call = calls.setdefault(piece["index"], {"name": "", "arguments": ""})
            function = piece.get("function") or {}
            call["name"] += function.get("name") or ""
            call["arguments"] += function.get("arguments") or ""
