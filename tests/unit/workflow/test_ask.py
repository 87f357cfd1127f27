"""What `ask` prints of a stream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploy.errors import RemoteError
from deploy.workflow.ask import _pieces


def printed(*deltas: dict[str, Any]) -> str:
    lines = [f"data: {json.dumps({'choices': [{'delta': delta}]})}" for delta in deltas]
    return "".join(_pieces(iter([*lines, "", "data: [DONE]"])))


def call(name: str | None, arguments: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, "function": {"name": name, "arguments": arguments}}]}


def test_a_blank_line_parts_the_thought_from_the_answer() -> None:
    said = printed({"reasoning_content": "Hm"}, {"reasoning_content": "."}, {"content": "Hel"}, {"content": "lo"})
    assert said == "Hm.\n\nHello"


def test_a_call_has_a_line_of_its_own_after_a_thought_and_after_nothing() -> None:
    line = '{"name": "now", "arguments": {"a": 1}}\n'
    pieces = (call("now", '{"a"'), call(None, ": 1}"))
    assert printed({"reasoning_content": "Hm."}, *pieces) == "Hm.\n" + line
    assert printed(*pieces) == line


def test_an_error_inside_the_stream_is_one() -> None:
    with pytest.raises(RemoteError, match="too long"):
        list(_pieces(iter(['data: {"error": "too long"}'])))
