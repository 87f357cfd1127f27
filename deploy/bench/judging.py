"""Whether an answer's tool calls are those that were wanted, and if not, why; asks nobody."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deploy.bench.reading import Answer
from deploy.launch.toolcall import MARKUP

LENGTH = "length"


@dataclass(frozen=True)
class Wanted:
    """One call by name and arguments, which must be equal as JSON; a text may differ in blanks at its ends."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """`kind` is empty where the calls are right, else a name for what went wrong; `text` says it in full.

    Kinds: truncated, leaked markup, invalid arguments, no call, unwanted call, wrong tool, wrong arguments.
    """

    kind: str = ""
    text: str = ""

    @property
    def right(self) -> bool:
        return not self.kind


def judged(answer: Answer, wanted: Sequence[Wanted]) -> Verdict:
    """Hold an answer's calls against those that were wanted, in any order."""
    if answer.finish == LENGTH:
        return Verdict("truncated", f"max_tokens ended it after {answer.completion_tokens} tokens")
    leaked = [mark for mark in MARKUP if mark in answer.text or mark in answer.reasoning]
    if leaked:
        return Verdict("leaked markup", f"the parser left {', '.join(leaked)} in the text: {answer.text[:200]!r}")
    calls: list[Wanted] = []
    for call in answer.calls:
        arguments = _object(call.arguments)
        if arguments is None:
            return Verdict("invalid arguments", f"{call.name} got what is no JSON object: {call.arguments[:200]!r}")
        calls.append(Wanted(call.name, arguments))
    return _compared(calls, wanted, answer.text)


def _compared(calls: Sequence[Wanted], wanted: Sequence[Wanted], said: str) -> Verdict:
    names, should = sorted(call.name for call in calls), sorted(one.name for one in wanted)
    if wanted and not calls:
        return Verdict("no call", f"{', '.join(should)} was wanted, it said {said[:200]!r}")
    if calls and not wanted:
        return Verdict("unwanted call", f"called {', '.join(names)} where none was wanted")
    if names != should:
        return Verdict("wrong tool", f"called {', '.join(names)} where {', '.join(should)} was wanted")
    left = [_plain(one) for one in wanted]
    for call in calls:
        if _plain(call) not in left:
            return Verdict("wrong arguments", f"{call.name} got {json.dumps(call.arguments, ensure_ascii=False)[:200]}")
        left.remove(_plain(call))
    return Verdict()


def _plain(call: Wanted) -> tuple[str, dict[str, Any]]:
    stripped = {key: value.strip() if isinstance(value, str) else value for key, value in call.arguments.items()}
    return call.name, stripped


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
