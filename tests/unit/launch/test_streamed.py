"""A streamed answer is the same whole, however it was cut."""

from __future__ import annotations

import json
from typing import Any

from deploy.launch.streamed import Streamed


def line(finish: str | None = None, **delta: Any) -> str:
    return "data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def piece(index: int, name: str | None, arguments: str) -> dict[str, Any]:
    return {"index": index, "function": {"name": name, "arguments": arguments}}


def test_pieces_of_thought_text_and_calls_come_together() -> None:
    answer = Streamed()
    lines = [
        line(role="assistant", content=""),
        line(reasoning_content="hm"),
        line(content="Let "),
        line(content="me."),
        line(tool_calls=[piece(0, "a", "")]),
        line(tool_calls=[piece(0, None, '{"x":'), piece(1, "b", "{}")]),
        line(tool_calls=[piece(0, None, " 1}")]),
        line(finish="tool_calls"),
        "data: " + json.dumps({"choices": [], "usage": {}}),
        "",
        "data: [DONE]",
    ]
    added = [one for each in lines for one in answer.take(each)]
    assert added == [("thought", "hm"), ("text", "Let "), ("text", "me.")]
    assert (answer.reasoning, answer.content, answer.finish) == ("hm", "Let me.", "tool_calls")
    assert {index: (call.name, call.arguments) for index, call in answer.calls.items()} == {
        0: ("a", '{"x": 1}'),
        1: ("b", "{}"),
    }


def test_the_server_s_own_error_is_kept() -> None:
    answer = Streamed()
    answer.take('data: {"error": {"message": "out of memory"}}')
    assert "out of memory" in answer.error
