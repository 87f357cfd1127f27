"""Asks a running server what only it can tell: health of each rank, load, power, and a short text. Judges nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from deploy.command import Command
from deploy.launch import load
from deploy.launch.load import Sample
from deploy.launch.watch.scene import Health, Said, Seen
from deploy.workflow.probe import CHAT, short_question, text_of
from deploy.workflow.ready import HEALTH_TIMEOUT, SMOKE_TIMEOUT, current_load, endpoint
from deploy.workflow.watch.post import Post

HEALTH_EVERY, LOAD_EVERY = 5.0, 5.0
WORKER_TIMEOUT, LOAD_TIMEOUT = 5.0, 4.0
NO_CONTACT = "no connection to its node"


class Probes:
    """One thread a question. What comes after `close` is not heard any more."""

    def __init__(self, post: Post) -> None:
        self._post, self._stop = post, threading.Event()
        self._serving = threading.Event()
        every = post.cluster.watch.text_seconds
        for rank in range(len(post.cluster.nodes)):
            self._begin(f"health-{rank}", HEALTH_EVERY, lambda rank=rank: self._health(rank))  # type: ignore[misc]
        self._begin("load", LOAD_EVERY, self._load)
        if every:
            self._begin("text", every, self._text)

    def close(self) -> None:
        """Not waited for: a question may be under way, and its thread ends with its answer."""
        self._stop.set()
        self._serving.set()

    def _begin(self, name: str, every: float, ask: Callable[[], None]) -> None:
        def work() -> None:
            while not self._stop.is_set():
                ask()
                self._stop.wait(every)

        threading.Thread(target=work, name=name, daemon=True).start()

    def _tell(self, seen: Seen) -> None:
        if not self._stop.is_set():
            self._post.seen.put(seen)

    def _health(self, rank: int) -> None:
        fleet = self._post.contacts.fleet(rank)
        if fleet is None:
            self._stop.wait(1)
            return
        answer = endpoint(fleet, self._post.cluster, rank).get(
            "/health", HEALTH_TIMEOUT if rank == 0 else WORKER_TIMEOUT
        )
        what = f"{answer.status}" if answer.status else f"no answer ({answer.body})"
        self._tell(Health(rank, time.monotonic(), answer.ok, what))
        if rank == 0 and answer.ok:
            self._serving.set()

    def _load(self) -> None:
        self._serving.wait()
        fleet = self._post.contacts.fleet(0)
        if fleet is None or self._stop.is_set():
            return
        found = current_load(endpoint(fleet, self._post.cluster, 0, self._post.key), LOAD_TIMEOUT)
        busy = found is None or found.running + found.waiting > 0
        watts = self._watts() if busy else ()
        self._tell(Sample(time.monotonic(), found, watts))

    def _watts(self) -> tuple[float, ...]:
        fleets = {rank: self._post.contacts.fleet(rank) for rank in range(len(self._post.cluster.nodes))}
        command = Command(load.POWER, timeout=LOAD_TIMEOUT, loose=True)
        running = [fleet.submit(rank, command) for rank, fleet in fleets.items() if fleet]
        return tuple(value for one in running for value in load.watts(one.result().stdout))

    def _text(self) -> None:
        """Garbage is asked for again at once: one bad answer alone is no reason to end a server."""
        self._serving.wait()
        for _ in range(2):
            fleet = self._post.contacts.fleet(0)
            if fleet is None or self._stop.is_set():
                return
            head = endpoint(fleet, self._post.cluster, 0, self._post.key)
            answer = head.post(CHAT, short_question(self._post.cluster), SMOKE_TIMEOUT)
            said = Said(time.monotonic(), text_of(answer.body) if answer.ok else None)
            self._tell(said)
            if not said.bad:
                return
