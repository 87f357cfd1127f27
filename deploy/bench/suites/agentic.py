"""Conversations of many turns with tools, a growing context and a large file: latency by turn, and where it breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from deploy.bench.judging import Wanted, judged
from deploy.bench.reading import Answer
from deploy.bench.results import Case, Repeat
from deploy.bench.suite import Message, Plan, Setting, Steps, measured, repeat_of
from deploy.bench.suites.toolcall import FLAG, TEXT, Json, marked, tool
from deploy.bench.workload import text
from deploy.event import Event

TOOLS = [
    tool("list_directory", "Names of all entries of a directory.", path=TEXT),
    tool("read_file", "The content of a file.", path=TEXT),
    tool("search_text", "Lines that hold a pattern, below a path.", pattern=TEXT, path=TEXT),
    tool("edit_file", "Replace one piece of a file by another.", path=TEXT, old=TEXT, new=TEXT),
    tool("run_tests", "Run the tests below a path.", path=TEXT, verbose=FLAG),
]
SYSTEM = "You work on a Python project with the tools given. Call exactly the one tool that each request asks for."
CALL_TOKENS, REPLY_TOKENS = 2048, 256
SMALL, LARGE = 1200, 48_000
"""Characters of a tool's result: an ordinary one, and the large file's, about 12,000 tokens."""
CHARACTERS_A_TOKEN = 3
"""Fewer than there are, so that what is kept within the server's context stays within it."""


@dataclass(frozen=True)
class Turn:
    """What the user asks, the call that it must bring, and the length of what the tool gives back, in characters."""

    prompt: str
    wanted: Wanted
    size: int = SMALL


def script(limit: int | None) -> list[Turn]:
    """Twelve turns; the large file of the fifth is cut to a third of the server's context."""
    large = LARGE if limit is None else min(LARGE, limit * CHARACTERS_A_TOKEN // 3)
    edit = {"path": "src/app.py", "old": "timeout = 30", "new": "timeout = 60"}
    undo = {"path": "src/app.py", "old": "timeout = 60", "new": "timeout = 45"}
    return [
        Turn('List what is in "src".', Wanted("list_directory", {"path": "src"}), 200),
        Turn('Read "src/app.py".', Wanted("read_file", {"path": "src/app.py"})),
        Turn('Search for "TODO" below "src".', Wanted("search_text", {"pattern": "TODO", "path": "src"})),
        Turn('Read "src/config.py".', Wanted("read_file", {"path": "src/config.py"})),
        Turn('Read "data/generated.py". It is large.', Wanted("read_file", {"path": "data/generated.py"}), large),
        Turn('Edit "src/app.py": "timeout = 30" becomes "timeout = 60".', Wanted("edit_file", edit), 60),
        Turn('Run what is in "checks/unit", verbosely.', Wanted("run_tests", {"path": "checks/unit", "verbose": True})),
        Turn('Search for "timeout" below "src".', Wanted("search_text", {"pattern": "timeout", "path": "src"})),
        Turn('List what is in "checks".', Wanted("list_directory", {"path": "checks"}), 200),
        Turn('Read "checks/unit/app.py".', Wanted("read_file", {"path": "checks/unit/app.py"})),
        Turn('Edit "src/app.py": "timeout = 60" becomes "timeout = 45".', Wanted("edit_file", undo), 60),
        Turn('Run what is in "checks", not verbosely.', Wanted("run_tests", {"path": "checks", "verbose": False})),
    ]


@dataclass
class Talk:
    """One conversation as it grows; `broken` after a failed request or a wrong call."""

    setting: Setting
    name: str
    tools: list[Json]
    messages: list[Message]
    turns: int = 0
    right: int = 0
    broken: bool = False

    def take(self, turn: Turn, *, last: bool) -> Repeat:
        """Ask, judge the call, answer it, and hear what the model makes of the result."""
        self.turns += 1
        self.messages.append({"role": "user", "content": turn.prompt})
        answer = self.setting.stream(self.messages, tools=self.tools, tool_choice="auto", max_tokens=CALL_TOKENS)
        verdict = judged(answer, [turn.wanted])
        self.broken = bool(answer.failure) or not verdict.right
        more: dict[str, float] = {"turn": self.turns, "correct": float(verdict.right)}
        if not self.broken:
            self.right += 1
            reply = self._reply(turn, answer)
            if reply.failure:
                self.broken = True
                return repeat_of(reply)
            more["reply_s"] = reply.seconds
        more |= {"turns": self.right} if last or self.broken else {}
        repeat = repeat_of(answer, **more)
        return repeat if answer.failure else replace(repeat, kind=verdict.kind, error=verdict.text)

    def _reply(self, turn: Turn, answer: Answer) -> Answer:
        told = text("code", turn.size, self.setting.wish.seed, f"{self.name} {self.turns}")
        call = answer.calls[0]
        calls: list[Any] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        ]
        self.messages.append({"role": "assistant", "content": answer.text, "tool_calls": calls})
        self.messages.append({"role": "tool", "tool_call_id": call.id, "content": told})
        reply = self.setting.stream(self.messages, tools=self.tools, tool_choice="none", max_tokens=REPLY_TOKENS)
        self.messages.append({"role": "assistant", "content": reply.text})
        return reply


def run(setting: Setting) -> Iterator[Event | Case]:
    """A case for each conversation, whose repeats are its turns; `turns` says how many went right before it broke."""
    turns = script(setting.facts.limit)
    steps = Steps("agentic", len(turns) * setting.wish.repeats)
    for number in range(1, setting.wish.repeats + 1):
        plan = Plan(
            f"conversation {number}", {"conversation": number, "turns": len(turns)}, _asks(setting, number, steps)
        )
        yield from measured(plan, steps)


def _asks(setting: Setting, number: int, steps: Steps) -> Iterator[Callable[[], Repeat]]:
    """The turns of one conversation, until it breaks."""
    name, turns = f"conversation {number}", script(setting.facts.limit)
    mark = setting.mark(name)
    talk = Talk(setting, name, marked(TOOLS, mark), [{"role": "system", "content": f"{mark}\n{SYSTEM}"}])
    for at, turn in enumerate(turns):
        yield partial(talk.take, turn, last=turn is turns[-1])
        if talk.broken:
            steps.total -= len(turns) - 1 - at
            return
