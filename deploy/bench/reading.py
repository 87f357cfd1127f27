"""From the raw bytes of an answer to what was said, when, and how many tokens it was; opens no connection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from deploy.bench.client import SHOWN, Failure, Raw
from deploy.launch.streamed import Call, Streamed

DONE = b"data: [DONE]"


@dataclass(frozen=True)
class Answer:
    """A chat answer. Times are seconds since the request was sent.

    `times`: one for each chunk that carried text, thought or a piece of a call. `ended`: when its finish_reason came.
    `first_tokens`: completion tokens in the first of these chunks, where the server counts as it goes, else None.
    `failure`: what went wrong, also where a part came; the counts are then not whole.
    """

    text: str = ""
    reasoning: str = ""
    calls: tuple[Call, ...] = ()
    usage: dict[str, Any] = field(default_factory=dict)
    finish: str = ""
    times: tuple[float, ...] = ()
    ended: float = 0.0
    seconds: float = 0.0
    first_tokens: int | None = None
    failure: Failure | None = None

    @property
    def completion_tokens(self) -> int:
        return int(self.usage.get("completion_tokens") or 0)

    @property
    def prompt_tokens(self) -> int:
        return int(self.usage.get("prompt_tokens") or 0)

    @property
    def cached_tokens(self) -> int | None:
        """Prompt tokens that came from the prefix cache, where the server tells."""
        details = self.usage.get("prompt_tokens_details") or {}
        return details.get("cached_tokens")


@dataclass
class _Growing:
    """A streamed answer while its lines are read."""

    said: Streamed = field(default_factory=Streamed)
    usage: dict[str, Any] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    first_tokens: int | None = None
    ended: float = 0.0
    done: bool = False

    def add(self, chunk: dict[str, Any], at: float) -> None:
        usage, choices = chunk.get("usage"), chunk.get("choices") or ()
        self.usage = usage or self.usage
        added = self.said.add(chunk)
        if added or any(choice["delta"].get("tool_calls") for choice in choices):
            if not self.times and usage:
                self.first_tokens = int(usage["completion_tokens"])
            self.times.append(at)
        if any(choice.get("finish_reason") for choice in choices):
            self.ended = at


def lines(raw: Raw) -> Iterator[tuple[float, bytes]]:
    """Whole lines with the time at which their last byte came; what follows the last line's end is one too."""
    rest, at = b"", 0.0
    for at, piece in zip(raw.stamps, raw.pieces, strict=True):
        *whole, rest = (rest + piece).split(b"\n")
        yield from ((at, line) for line in whole)
    if rest:
        yield at, rest


def read_stream(raw: Raw) -> Answer:
    """The answer that a stream of events holds; what cannot be read is its failure."""
    growing, failure = _Growing(), raw.failure
    try:
        for at, line in lines(raw) if raw.status == 200 else ():
            growing.done = growing.done or line.startswith(DONE)
            if line.startswith(b"data:") and not growing.done:
                growing.add(_parsed(line[5:]), at)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        failure = failure or Failure("malformed", f"{error!r} in {line[:SHOWN].decode(errors='replace')}")
    return _answer(growing, raw, failure or _unfinished(growing))


def _parsed(line: bytes) -> Any:
    """JSON of a line, in half the time that `json` takes; what is refused so is left for `json` to judge."""
    try:
        return from_json(line)
    except ValueError:
        return json.loads(line)


def _unfinished(growing: _Growing) -> Failure | None:
    if growing.said.error:
        return Failure("error", growing.said.error[:SHOWN])
    lacks = [name for name, there in (("finish_reason", growing.said.finish), ("[DONE]", growing.done)) if not there]
    if lacks:
        return Failure(
            "unfinished", f"the stream ended without {' and '.join(lacks)} after {len(growing.times)} chunks"
        )
    return None if growing.usage else Failure("unfinished", "the stream ended without usage: tokens cannot be counted")


def _answer(growing: _Growing, raw: Raw, failure: Failure | None) -> Answer:
    said = growing.said
    return Answer(
        said.content,
        said.reasoning,
        tuple(said.calls[index] for index in sorted(said.calls)),
        growing.usage,
        said.finish,
        tuple(growing.times),
        growing.ended,
        raw.seconds,
        growing.first_tokens,
        failure,
    )


def read_whole(raw: Raw) -> Answer:
    """The answer in one piece of JSON; it has no times but its end."""
    if raw.failure:
        return Answer(seconds=raw.seconds, failure=raw.failure)
    try:
        told = json.loads(raw.body)
        message, finish = told["choices"][0]["message"], told["choices"][0]["finish_reason"]
        calls = tuple(
            Call(one["function"]["name"], one["function"]["arguments"], one.get("id") or "")
            for one in message.get("tool_calls") or ()
        )
        text, thought = str(message.get("content") or ""), str(message.get("reasoning_content") or "")
        usage = dict(told["usage"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        what = f"{error!r} in {raw.body[:SHOWN].decode(errors='replace')}"
        return Answer(seconds=raw.seconds, failure=Failure("malformed", what))
    return Answer(text, thought, calls, usage, str(finish or ""), ended=raw.seconds, seconds=raw.seconds)
