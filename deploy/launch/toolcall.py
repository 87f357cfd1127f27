"""Does the running server's tool-call parser work: what to send it, and how to judge what comes back. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from deploy.launch.streamed import Streamed
from deploy.launch.symptom import garbage

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather forecast for a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}
EXPECTED = ("get_weather", {"city": "Zürich <1>", "days": 3})
QUESTION = "What is the weather in Zurich for the next 3 days? Call get_weather."
_PAIRS = (
    "<arg_key>city</arg_key>{0}<arg_value>Zürich <1></arg_value>{0}<arg_key>days</arg_key>{0}<arg_value>3</arg_value>"
)
CANNED = {
    "glm47": "I will look." + "<tool_call>get_weather" + _PAIRS.format("") + "</tool_call>",
    # GLM-4.5 and 4.6 end each part with a newline.
    "glm45": "I will look.\n" + "<tool_call>get_weather\n" + _PAIRS.format("\n") + "\n</tool_call>",
}
CANNED["glm"] = CANNED["glm45"]
"""A call as the model writes it, by the parser that is to read it."""
MARKUP = ("<tool_call>", "</tool_call>", "<arg_key>", "<arg_value>", "<think>", "</think>")


@dataclass(frozen=True)
class Verdict:
    """Outcome `passed`, `unsure` (no fault, and no proof either) or `failed`, and why."""

    outcome: str
    text: str


def parse_request(parser: str) -> dict[str, Any]:
    """The body for /parse_function_call. Raises KeyError for a parser without canned text."""
    return {"text": CANNED[parser], "tools": [TOOL], "tool_call_parser": parser}


def judge_parse(parser: str, status: int, body: str) -> Verdict:
    """Whether the answer of /parse_function_call is the call, exactly."""
    if status != 200:
        return Verdict("failed", f"/parse_function_call answered {status}: {body[:300]}")
    try:
        answer = json.loads(body)
        calls = [(call["name"], json.loads(call["parameters"])) for call in answer["calls"]]
        left = str(answer["normal_text"] or "")
    except (ValueError, LookupError, TypeError):
        return Verdict("failed", f"{parser} read {CANNED[parser]!r} as {body[:300]}")
    if calls != [EXPECTED] or _leaked(left):
        return Verdict("failed", f"{parser} read {CANNED[parser]!r} as calls {calls} and text {left!r}")
    return Verdict("passed", f"{parser} reads a canned call exactly")


def chat_request(model: str) -> dict[str, Any]:
    """A question that calls for the tool, to be streamed; short enough for a first request that compiles kernels."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": QUESTION}],
        "tools": [TOOL],
        "tool_choice": "auto",
        "temperature": 0,
        "max_tokens": 192,
        "stream": True,
        "chat_template_kwargs": {"enable_thinking": False},
    }


def judge_stream(parser: str, answer: Streamed) -> Verdict:
    """Whether a streamed answer holds a sound call. A model that answers in words has not failed."""
    for place, text in (("content", answer.content), ("reasoning", answer.reasoning)):
        leaked = _leaked(text)
        if leaked:
            return Verdict("failed", f"{parser} leaks {leaked} into the streamed {place}: {text[:300]!r}")
    for call in answer.calls.values():
        if call.name != EXPECTED[0] or not _is_object(call.arguments):
            return _unsound(parser, call.name, call.arguments, answer.finish)
    if answer.calls:
        shown = ", ".join(f"{call.name}({call.arguments})" for call in answer.calls.values())
        return Verdict("passed", f"a streamed call came whole: {shown[:200]}")
    return _without_call(parser, answer)


def _unsound(parser: str, name: str, arguments: str, finish: str) -> Verdict:
    if finish == "length":
        return Verdict("unsure", "the answer reached its limit in the midst of a call")
    return Verdict("failed", f"{parser} streamed a call of {name!r} with arguments {arguments[:300]!r}")


def _without_call(parser: str, answer: Streamed) -> Verdict:
    said = answer.content or answer.reasoning
    if why := garbage(said):
        return Verdict("failed", f"rank 0 generated garbage: {why}: {said[:60]!r}")
    kind = "in words" if answer.content.strip() else "with a thought alone"
    return Verdict("unsure", f"the model answered {kind}, so {parser} had no streamed call to read: {said[:100]!r}")


def _leaked(text: str) -> str:
    return ", ".join(mark for mark in MARKUP if mark in text)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text, parse_constant=_refuse), dict)
    except ValueError:
        return False


def _refuse(constant: str) -> None:
    raise ValueError(constant)
