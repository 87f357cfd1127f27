"""Requests that run together, a chunk of tokens each per step of all ranks; the text comes from elsewhere."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass
class Work:
    """A running request: tokens still to be said, and the chunks said so far as they come."""

    tokens: list[str]
    chunks: queue.Queue[str | None] = field(default_factory=queue.Queue)
    verified: int = 0

    def __iter__(self) -> Iterator[str]:
        """Chunks until the end; each is one or several tokens."""
        while (chunk := self.chunks.get()) is not None:
            yield chunk


class Scheduler:
    """Runs all requests at once, at most `most` of them, on a thread of its own."""

    def __init__(self, step: Callable[[], None], tokens_per_second: float, longest: int, most: int) -> None:
        self._step, self._longest, self._most = step, longest, most
        self._pause = (1 + longest) / 2 / tokens_per_second
        self._running: list[Work] = []
        self._waiting: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._random = random.Random(0)
        self.last_answer = 0.0
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
    def remaining(self) -> int:
        """Requests that run or wait."""
        return len(self._running) + self._waiting.qsize()

    def submit(self, tokens: list[str]) -> Work:
        """Queue a request; iterate over what comes back."""
        work = Work(list(tokens))
        self._waiting.put(work)
        return work

    def _loop(self) -> None:
        while True:
            if not self._running:
                self._running.append(self._waiting.get())
            while len(self._running) < self._most and not self._waiting.empty():
                self._running.append(self._waiting.get())
            self._step()
            self._running = [work for work in self._running if self._advance(work)]
            self.last_answer = time.monotonic()
            time.sleep(self._pause)

    def _advance(self, work: Work) -> bool:
        """Say a request's next tokens; False when it is done."""
        count = min(self._random.randint(1, self._longest), len(work.tokens))
        chunk, work.tokens = work.tokens[:count], work.tokens[count:]
        if count:
            work.chunks.put("".join(chunk))
            work.verified += 1
            self.verified += 1
            self.accepted += count
        if not work.tokens:
            work.chunks.put(None)
        return bool(work.tokens)
