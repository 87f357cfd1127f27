"""Thinking off, on and preserved over two turns: time, tokens, thoughts, and whether the answers are right."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from deploy.bench.reading import Answer
from deploy.bench.results import Case, Repeat
from deploy.bench.suite import Message, Plan, Setting, Steps, measured, repeat_of
from deploy.event import Event, Note

MOST_TOKENS = 4096
MODES: dict[str, dict[str, bool]] = {
    "off": {"enable_thinking": False},
    "on": {"enable_thinking": True, "clear_thinking": True},
    "preserved": {"enable_thinking": True, "clear_thinking": False},
}
"""What GLM-4.7's chat template is told. Preserved: the thoughts of earlier turns stay in the conversation."""
FORM = "End with a line of the form `Answer: N`, with N a whole number."


@dataclass(frozen=True)
class Puzzle:
    """Two questions, the second about the first, and their answers."""

    questions: tuple[str, str]
    answers: tuple[int, int]


def puzzle(seed: int, number: int) -> Puzzle:
    """A puzzle of the seed's own."""
    dice = random.Random(f"{seed}/puzzle/{number}")
    crates, each, broken, more = (dice.randint(low, high) for low, high in ((12, 48), (13, 37), (5, 60), (3, 9)))
    left = crates * each - broken
    questions = (
        f"A mill has {crates} crates of {each} lamps each, and {broken} lamps are broken. It packs the whole ones into "
        f"boxes of {more}. How many lamps are left over? {FORM}",
        f"Now {more} further crates of {each} lamps come in, all whole. How many whole lamps are there? {FORM}",
    )
    return Puzzle(questions, (left % more, left + more * each))


def run(setting: Setting) -> Iterator[Event | Case]:
    """A case for each mode; every repeat is a conversation about another puzzle, the same ones in each mode."""
    if not setting.facts.extras:
        yield Note("the server is not known to take chat_template_kwargs: all modes may be the same", "warning")
    steps = Steps("thinking", len(MODES) * setting.wish.repeats)
    for mode in MODES:
        asks: list[Callable[[], Repeat]] = [
            partial(_talk, setting, mode, puzzle(setting.wish.seed, number)) for number in range(setting.wish.repeats)
        ]
        yield from measured(Plan(mode, {"thinking": mode, "turns": 2}, asks), steps)


def _talk(setting: Setting, mode: str, asked: Puzzle) -> Repeat:
    """One conversation as a repeat, or its first request that failed."""
    messages: list[Message] = []
    answers: list[Answer] = []
    mark = setting.mark(f"thinking {mode} {asked.questions[0]}")
    for question in (f"{mark}\n{asked.questions[0]}", asked.questions[1]):
        messages.append({"role": "user", "content": question})
        extra = {"chat_template_kwargs": MODES[mode]}
        answers.append(setting.stream(messages, max_tokens=MOST_TOKENS, extra=extra))
        if answers[-1].failure:
            return repeat_of(answers[-1])
        thought = {"reasoning_content": answers[-1].reasoning} if mode == "preserved" else {}
        messages.append({"role": "assistant", "content": answers[-1].text, **thought})
    return _summed(answers, asked)


def _summed(answers: Sequence[Answer], asked: Puzzle) -> Repeat:
    """Speeds of the first turn; time, tokens and thoughts of both; right where both are."""
    wrong = [
        (answer, wanted) for answer, wanted in zip(answers, asked.answers, strict=True) if said(answer.text) != wanted
    ]
    sums = {
        "total_s": sum(answer.seconds for answer in answers),
        "completion_tokens": float(sum(answer.completion_tokens for answer in answers)),
        "prompt_tokens": float(sum(answer.prompt_tokens for answer in answers)),
        "thought_chars": float(sum(len(answer.reasoning) for answer in answers)),
        "correct": float(not wrong),
    }
    kind, text = _why(*wrong[0]) if wrong else ("", "")
    return replace(repeat_of(answers[0], **sums), kind=kind, error=text)


def _why(answer: Answer, wanted: int) -> tuple[str, str]:
    if answer.finish == "length":
        return "truncated", f"max_tokens ended it after {answer.completion_tokens} tokens"
    return "wrong answer", f"{said(answer.text)} where {wanted} is right: {answer.text[-120:]!r}"


def said(text: str) -> int | None:
    """The number that an answer ends with, in the form that was asked for; None where there is none."""
    found = re.findall(r"Answer:[\s*$]*(-?\d[\d,]*)", text)
    return int(found[-1].replace(",", "")) if found else None
