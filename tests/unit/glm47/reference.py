"""A second reader of GLM-4.7's format, written from docs/tool-calls.md: slow, for whole texts, by looking ahead.

It shares no code and no way of working with the scanner in the patch, which looks back at the tags it has passed.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import NamedTuple

HEAD_LENGTH = 512
_TAG = r"</?(?:tool_call|arg_key|arg_value)>"
_NO_TAG = rf"(?:(?!{_TAG}).)*"
_HEAD = re.compile(r"<tool_call>(\s*([^\s<>]+)\s*)(<arg_key>|</tool_call>)")
_KEY = re.compile(rf"<arg_key>({_NO_TAG})(</arg_key>|<arg_value>)", re.DOTALL)
_DUE = re.compile(r"(\s*)(<arg_value>|<arg_key>|</tool_call>)")
_INSIDE = re.compile(
    rf"(?P<empty><tool_call>(?P<word>\s*[^\s<>]+\s*)</tool_call>)"
    rf"|(?P<opens><tool_call>(?P<name>\s*[^\s<>]+\s*)<arg_key>{_NO_TAG}</arg_key>\s*<arg_value>)"
    rf"|(?P<closes></tool_call>)|{_TAG}",
    re.DOTALL,
)


class Written(NamedTuple):
    """A call as it was written."""

    name: str
    arguments: tuple[tuple[str, str], ...]
    text: str


def read(text: str, offered: Container[str]) -> list[str | Written]:
    """Plain text and calls of a finished answer; neighbouring texts are not joined."""
    found: list[str | Written] = []
    at = 0
    while (start := text.find("<tool_call>", at)) >= 0:
        found.append(text[at:start])
        at, call = _call(text, start, offered)
        found.append(call or text[start:at])
    return [*found, text[at:]]


def _call(text: str, start: int, offered: Container[str]) -> tuple[int, Written | None]:
    """Where reading goes on, and the call if there is one."""
    head = _HEAD.match(text, start)
    if not head or len(head[1]) > HEAD_LENGTH:
        return start + len("<tool_call>"), None
    at, over, pairs = head.end(1), False, []
    while not over and not text.startswith("</tool_call>", at):
        key = _KEY.match(text, at)
        if not key or len(key[1]) > HEAD_LENGTH:
            return _next_tag(text, at + 1), None
        due = _DUE.match(text, key.start(2) if key[2] == "<arg_value>" else key.end())
        if not due or len(due[1]) > HEAD_LENGTH:
            return _next_tag(text, key.end()), None
        at = due.start(2)
        if due[2] == "<arg_value>":
            end, at, over = _value_end(text, due.end(), offered)
            if end < 0:
                return len(text), None
            pairs.append((key[1].strip(), text[due.end() : end]))
    at += 0 if over else len("</tool_call>")
    return at, Written(head[2], tuple(pairs), text[start:at])


def _next_tag(text: str, at: int) -> int:
    match = re.compile(_TAG).search(text, at)
    return match.start() if match else len(text)


def _value_end(text: str, start: int, offered: Container[str]) -> tuple[int, int, bool]:
    """(end of the value or -1, where reading goes on, whether the call is over too)."""
    for match in re.compile("</arg_value>|</tool_call>").finditer(text, start):
        tag, end = match[0], match.start()
        depth, own = _depth(text, start, match.end())
        if depth or (tag == "</tool_call>" and own):
            continue
        if tag == "</arg_value>":
            after = re.compile(r"\s*(<arg_key>|</tool_call>)").match(text, match.end())
            if after:
                return end, after.start(1), False
        begins = re.compile(r"\s*(?=<tool_call>)").match(text, match.end())
        head = begins and _HEAD.match(text, begins.end())
        if head and head[2] in offered and len(head[1]) <= HEAD_LENGTH:
            return end, match.end(), True
        if tag == "</tool_call>" and not text[match.end() :].strip():
            return end, match.end(), True
    return -1, len(text), True


def _depth(text: str, start: int, end: int) -> tuple[int, bool]:
    """How many inner calls are open at `end`, and whether what ends there closes one."""
    depth, own = 0, False
    for match in _INSIDE.finditer(text[:end], start):
        own = bool(match["empty"]) or (bool(match["closes"]) and depth > 0)
        if match["empty"] and len(match["word"]) > HEAD_LENGTH:
            own = depth > 0
            depth -= own
        elif match["opens"] and len(match["name"]) <= HEAD_LENGTH:
            depth += 1
        elif match["closes"] and depth:
            depth -= 1
    return depth, own
