"""Requests that run together, a chunk of tokens each per step of all ranks; the text comes from elsewhere."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

LOGGED_STEPS = 40
"""SGLang's own interval between two lines about decoding."""
CAPACITY = 337_408
LATEST = 1.0
"""Seconds that steps may lie behind their clock and catch up; after a longer stop the clock begins anew."""
GARBAGE = "!"
"""What kernels made for another GPU were seen to generate."""


@dataclass
class Work:
    """A running request: tokens still to be said, and the chunks said so far as they come.

    `held` counts its tokens in the cache, its prompt among them. `check` marks a health check's own request.
    `arrived` is when it came, by time.monotonic.
    """

    tokens: list[str]
    held: int = 1
    check: bool = False
    arrived: float = field(default_factory=time.monotonic)
    chunks: queue.Queue[str | None] = field(default_factory=queue.Queue)
    verified: int = 0

    def __iter__(self) -> Iterator[str]:
        """Chunks until the end; each is one or several tokens."""
        while (chunk := self.chunks.get()) is not None:
            yield chunk


@dataclass(frozen=True)
class Pace:
    """Tokens a second of one request, tokens that one verification gives at most, requests that run at once.

    `fixed`: tokens of every chunk, or 0 for a random number up to `longest`. `first`: seconds from a request's arrival
    to its first chunk.
    """

    tokens_per_second: float
    longest: int
    most: int
    fixed: int = 0
    first: float = 0.0

    @property
    def pause(self) -> float:
        """Seconds between two steps."""
        return (self.fixed or (1 + self.longest) / 2) / self.tokens_per_second


class Scheduler:
    """Runs all requests at once on a thread of its own; `say` writes its log.

    While `wedged`, what runs stands still, what comes waits, and health checks pass all the same. While `garbled`,
    every character that is said is an exclamation mark.
    """

    def __init__(self, step: Callable[[], None], pace: Pace, say: Callable[[str], None]) -> None:
        self._step, self._pace, self._say = step, pace, say
        self._next = 0.0
        self._running: list[Work] = []
        self._waiting: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._parked: list[Work] = []
        self._asked: queue.SimpleQueue[threading.Event] = queue.SimpleQueue()
        self._random = random.Random(0)
        self._steps = 0
        self.last_answer = 0.0
        self.wedged = self.garbled = False
        self.meet: Callable[[int], None] | None = None
        """Told of every prompt's number of tokens before it is prefilled."""
        self.reset()
        threading.Thread(target=self._loop, daemon=True).start()

    def reset(self) -> None:
        """Forget what was counted, as flushing the cache does."""
        self.accepted = self.verified = 0

    @property
    def accept_length(self) -> float:
        """Mean tokens a verification gave since the last reset."""
        return self.accepted / self.verified if self.verified else 0.0

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return self._waiting.qsize() + len(self._parked)

    @property
    def remaining(self) -> int:
        """Requests that run or wait."""
        return len(self._running) + self.waiting

    @property
    def held(self) -> int:
        """Tokens in the cache that running requests need."""
        return sum(work.held for work in self._running)

    def submit(self, tokens: list[str], prompt: int = 1, *, check: bool = False, arrived: float = 0.0) -> Work:
        """Queue a request with a prompt of so many tokens; iterate over what comes back. `arrived`: now by default."""
        work = Work(list(tokens), prompt, check, arrived or time.monotonic())
        self._waiting.put(work)
        return work

    def settle(self) -> None:
        """Wait for a step of all ranks: where one is stuck, this does not return."""
        asked = threading.Event()
        self._asked.put(asked)
        if not self.remaining:
            self.submit([], check=True)
        asked.wait()

    def _loop(self) -> None:
        while True:
            if not self._running:
                self._admit(self._parked.pop(0) if self._parked else self._waiting.get())
                self._next = self._begin(self._running[0])
            parked, self._parked = self._parked, []
            while len(self._running) < self._pace.most and (parked or not self._waiting.empty()):
                self._admit(parked.pop(0) if parked else self._waiting.get())
            self._parked += parked
            time.sleep(max(0.0, self._next - time.monotonic()))
            self._step()
            self._running = [work for work in self._running if not self._due(work) or self._advance(work)]
            self.last_answer = time.monotonic()
            self._count_step()
            while not self._asked.empty():
                self._asked.get().set()
            # An absolute clock: what a sleep oversleeps is not added to the next step's time.
            self._next = max(self._next + self._pace.pause, time.monotonic() - LATEST)

    def _begin(self, work: Work) -> float:
        """When steps begin after a rest: so that one of them falls on the request's first chunk."""
        due, now = work.arrived + self._delay(work), time.monotonic()
        return due - max(0.0, (due - now) // self._pace.pause) * self._pace.pause

    def _due(self, work: Work) -> bool:
        """Whether the step that is taken is not before the request's first chunk."""
        return self._next >= work.arrived + self._delay(work) - self._pace.pause / 1000

    def _delay(self, work: Work) -> float:
        return 0.0 if work.check else self._pace.first

    def _admit(self, work: Work) -> None:
        if self.wedged and not work.check and self._running:
            self._parked.append(work)
            return
        if work.tokens:
            if self.meet:
                self.meet(work.held)
            self._say(
                f"Prefill batch, #new-seq: 1, #new-token: {work.held}, #cached-token: 0, token usage: "
                f"{self.held / CAPACITY:.2f}, #running-req: {len(self._running)}, #queue-req: {self.waiting}, "
            )
        self._running.append(work)

    def _count_step(self) -> None:
        if not self._running or self.wedged:
            return
        self._steps += 1
        if self._steps % LOGGED_STEPS == 0:
            self._say(
                f"Decode batch, #running-req: {len(self._running)}, #token: {self.held}, "
                f"token usage: {self.held / CAPACITY:.2f}, cuda graph: True, "
                f"gen throughput (token/s): {self._pace.tokens_per_second:.2f}, #queue-req: {self.waiting}, "
            )

    def _advance(self, work: Work) -> bool:
        """Say a request's next tokens; False when it is done."""
        if self.wedged and not work.check:
            return True
        count = min(self._pace.fixed or self._random.randint(1, self._pace.longest), len(work.tokens))
        chunk, work.tokens = "".join(work.tokens[:count]), work.tokens[count:]
        if count:
            work.chunks.put(GARBAGE * len(chunk) if self.garbled else chunk)
            work.verified += 1
            work.held += count
            self.verified += 1
            self.accepted += count
        if not work.tokens:
            work.chunks.put(None)
        return bool(work.tokens)
