"""What suites have in common: a setting to ask in, repeats that become cases, and the names of all suites."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from deploy.bench.client import CHAT, Raw, Target, request
from deploy.bench.facts import Facts
from deploy.bench.fit import Roofline
from deploy.bench.metrics import figures, summary
from deploy.bench.reading import Answer, read_stream, read_whole
from deploy.bench.results import Case, Repeat, Scalar
from deploy.bench.stage import Fallen, Stage
from deploy.bench.workload import Kind, Scale, text
from deploy.duration import duration
from deploy.event import Event, Note, Progress

SUITES = {
    "context": "Time to first token and speed of decoding by context length, with a cold and a warm prefix.",
    "agentic": "Conversations of many turns with tools, a growing context and a large file.",
    "eagle": "Speculation on against off, on prose, code and random words; with --nodes both by launches.",
    "tables": "Kernel tables against SGLang's default, without and with speculation, by launches; with --nodes.",
    "thinking": "Thinking off, on and preserved: time, tokens and right answers.",
    "toolcall": "A validation set of tool calls, streamed and whole.",
    "load": "Sweeps of concurrency and request rate, by SGLang's own bench_serving.",
    "kernels": "Kernel table against kernel table on this machine's GPU, without a server.",
}
"""What `bench run` knows, with a line on each, in a report's order; the module of that name in `suites` has
`run(setting)`."""
Message = dict[str, Any]


@dataclass
class Meter:
    """What measuring costs this side: CPU seconds over chunks, and whether it was ever too busy."""

    cpu: float = 0.0
    chunks: int = 0
    bottleneck: bool = False

    def add(self, raw: Raw, reading: float) -> None:
        self.cpu += raw.cpu + reading
        self.chunks += len(raw.pieces)
        self.bottleneck = self.bottleneck or raw.bottleneck

    @property
    def us_per_chunk(self) -> float:
        return 1e6 * self.cpu / self.chunks if self.chunks else 0.0


@dataclass(frozen=True)
class Sweep:
    """What `load` sweeps: requests at a time, and requests a second. `requests`: of each run, 0 for four rounds.

    `tokenizer`: a folder or a hub name, empty for the model's own.
    """

    concurrency: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    rates: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)
    requests: int = 0
    tokenizer: str = ""


@dataclass(frozen=True)
class Wish:
    """What a user may ask of a run. `tokens`: completion tokens of a request where a suite measures speed.

    `lengths` and `roofline` are for the suite `context`: prompt tokens, and what bandwidth is held against.
    """

    repeats: int = 5
    seed: int = 0
    tokens: int = 256
    lengths: tuple[int, ...] = ()
    roofline: Roofline | None = None
    sweep: Sweep = field(default_factory=Sweep)


@dataclass(frozen=True)
class Setting:
    """Whom a suite asks, what is known of it, and what is wished. `stage`: where servers can be launched, or None."""

    target: Target
    facts: Facts
    wish: Wish
    meter: Meter = field(default_factory=Meter)
    stage: Stage | None = None

    def stream(self, messages: list[Message], **more: Any) -> Answer:
        """One streamed chat answer."""
        options = {"include_usage": True} | ({"continuous_usage_stats": True} if self.facts.counts else {})
        raw = request(self.target, CHAT, self._body(messages, more) | {"stream": True, "stream_options": options})
        began = time.thread_time()
        answer = read_stream(raw)
        self.meter.add(raw, time.thread_time() - began)
        return answer

    def whole(self, messages: list[Message], **more: Any) -> Answer:
        """One chat answer in one piece."""
        return read_whole(request(self.target, CHAT, self._body(messages, more)))

    def mark(self, name: str) -> str:
        """A first line that only this seed and name have, so that no prefix cache knows what follows."""
        return text("prose", 1, self.wish.seed, name).strip()

    def _body(self, messages: list[Message], more: dict[str, Any]) -> dict[str, Any]:
        """`extra` holds what only SGLang and vLLM take, and is left out elsewhere."""
        more = dict(more)
        extra = more.pop("extra", {})
        extra = extra if self.facts.extras else {}
        return {"model": self.facts.server.model, "messages": messages, "temperature": 0, **more, **extra}


Suite = Callable[[Setting], Generator[Event | Case, None, None]]
"""A suite is run by taking its events and cases one by one; it may be closed at any of them."""


@dataclass
class Steps:
    """Progress through a known number of requests, with the time that is left at the pace so far."""

    task: str
    total: int
    done: int = 0
    began: float = field(default_factory=time.monotonic)

    def step(self, count: int = 1) -> Progress:
        self.done += count
        left = (time.monotonic() - self.began) / self.done * (self.total - self.done) if self.done else 0
        return Progress(self.task, self.done, self.total, f"requests, about {duration(left)} left")


def repeat_of(answer: Answer, **more: float) -> Repeat:
    """A request as a repeat: its figures and `more`, or why there are none."""
    chunks = [round(at, 6) for at in answer.times]
    if answer.failure:
        return Repeat(False, answer.failure.text, answer.failure.kind, answer.usage, {}, chunks)
    return Repeat(True, usage=answer.usage, figures=figures(answer) | more, chunks=chunks)


@dataclass(frozen=True)
class Plan:
    """A case before it is measured: `asks` are its repeats, called one after another."""

    name: str
    parameters: dict[str, Scalar]
    asks: Iterable[Callable[[], Repeat]]


def measured(plan: Plan, steps: Steps) -> Iterator[Event | Case]:
    """Make the repeats and sum them up. A server that refuses to be connected to is not asked again."""
    repeats: list[Repeat] = []
    for ask in plan.asks:
        repeats.append(ask())
        yield steps.step()
        if not repeats[-1].ok:
            yield Note(f"{plan.name}: {repeats[-1].kind}: {repeats[-1].error}", "warning")
        if repeats[-1].kind == "refused":
            break
    yield Case(plan.name, plan.parameters, summary(repeats), repeats)


def spoken(setting: Setting, said: str) -> Answer:
    """An answer of a fixed number of tokens, wherever the model would have ended, and without a thought."""
    extra = {"ignore_eos": True, "chat_template_kwargs": {"enable_thinking": False}}
    return setting.stream([{"role": "user", "content": said}], max_tokens=setting.wish.tokens, extra=extra)


def outcome(name: str, parameters: dict[str, Scalar], figures: Mapping[str, float]) -> Case:
    """A case that happened once, and is no request."""
    repeats = [Repeat(True, figures=dict(figures))]
    return Case(name, parameters, summary(repeats), repeats)


def fell(name: str, parameters: dict[str, Scalar], fallen: Fallen, case: Case | None = None) -> Case:
    """A server that fell, as a result and no failure. `case`: what was asked of it, whose good answers are kept."""
    good = [repeat for repeat in case.repeats if repeat.ok] if case else []
    repeats = [*good, Repeat(True, fallen.text, fallen.kind, figures={"served": 0.0})]
    return Case(name, parameters, summary(repeats), repeats)


def calibrated(setting: Setting, kind: Kind) -> Scale:
    """How many characters a token of this kind of text has, by the server's own count; the default where it fails."""
    found = []
    for characters in (600, 6000):
        said = text(kind, characters, setting.wish.seed, f"calibration {characters}")
        answer = setting.whole([{"role": "user", "content": said}], max_tokens=1)
        found.append((len(said), answer.prompt_tokens))
    return Scale.between(found[0], found[1])


def runner(name: str) -> Suite:
    """The suite of this name. Raises KeyError for one that is not known."""
    if name not in SUITES:
        raise KeyError(name)
    found: Suite = importlib.import_module(f"deploy.bench.suites.{name}").run
    return found
