"""`ask`: one streamed question to rank 0. Measures nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from deploy.cluster.load import Document
from deploy.errors import ConfigError, RemoteError
from deploy.launch.streamed import Call, Streamed
from deploy.remote.execute import Fleet
from deploy.workflow.asked import api_key
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


def ask(
    document: Document, environ: Mapping[str, str], question: str, tools: list[Any], max_tokens: int
) -> Iterator[str]:
    """Pieces of text as they come; then each tool call as a line of JSON. Raises ConfigError, RemoteError."""
    cluster, key = document.cluster, api_key(document, environ)
    messages = [{"role": "user", "content": question}]
    body: dict[str, Any] = {"model": cluster.model.path, "messages": messages, "max_tokens": max_tokens, "stream": True}
    if tools:
        body["tools"] = tools
    with closing(Fleet(cluster, ranks=(0,))) as fleet:
        fleet.connect()
        yield from _pieces(endpoint(fleet, cluster, 0, key).stream("/v1/chat/completions", body, SMOKE_TIMEOUT))


def _pieces(lines: Iterator[str]) -> Iterator[str]:
    """A blank line parts the thought from the answer; every call has a line of its own."""
    answer, speaking = Streamed(), ""
    for line in lines:
        for kind, text in answer.take(line):
            yield text if speaking in ("", kind) else f"\n\n{text}"
            speaking = kind
        if answer.error:
            raise RemoteError(f"the server answered: {answer.error}", "see `logs --rank 0`")
    yield "\n" if answer.calls and speaking else ""
    for call in answer.calls.values():
        yield json.dumps({"name": call.name, "arguments": _arguments(call)}) + "\n"


def _arguments(call: Call) -> Any:
    try:
        return json.loads(call.arguments or "{}")
    except ValueError:
        hint = "if max_tokens did not end it, the server's tool-call parser is at fault: run `up` again, which tests it"
        raise RemoteError(f"the arguments of {call.name} are no JSON: {call.arguments!r}", hint) from None
