"""All nodes at once: connections, and the carrying out of steps. Decides nothing about what to run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from typing import TypeVar

from deploy.cluster.spec import Cluster, Node
from deploy.command import Command, Result
from deploy.errors import RemoteError
from deploy.remote.exchange import Ends
from deploy.remote.pending import Pending
from deploy.remote.ssh import Session

OnLine = Callable[[int, str], None]
T = TypeVar("T")


class Fleet:
    """One open session a node, by rank; `ranks` limits which nodes are contacted.

    `fence` changes a command into one that its node refuses once this side may no longer act there (see `lock`).
    """

    def __init__(self, cluster: Cluster, ranks: tuple[int, ...] | None = None) -> None:
        self.ranks = tuple(range(len(cluster.nodes))) if ranks is None else ranks
        self.nodes: Sequence[Node] = cluster.nodes
        self.sessions = [Session(node, cluster.ssh) for node in cluster.nodes]
        self.name = cluster.name
        self.fence: Callable[[Command], Command] | None = None
        self._opening: dict[int, Future[None]] = {}
        self._stop = threading.Event()
        self._pending = Pending()
        # A thread a node for its lock, pulse, log and health, and some for steps and watchers.
        self._pool = ThreadPoolExecutor(max_workers=8 * len(cluster.nodes) + 8, thread_name_prefix="node")

    def open(self) -> None:
        """Begin to log in on every node, once; commands wait for the login of their own node alone."""
        self._opening = self._opening or {rank: self._pool.submit(self.sessions[rank].open) for rank in self.ranks}

    def entered(self, rank: int) -> bool:
        """Wait for the login of one node; whether it was let in."""
        return self._opening[rank].exception() is None

    def reach(self) -> dict[int, RemoteError]:
        """Log in wherever it is possible, and leave the other nodes out; their errors, by rank."""
        self.open()
        errors = {rank: future.exception() for rank, future in self._opening.items()}
        self.ranks = tuple(rank for rank, error in errors.items() if error is None)
        return {rank: error for rank, error in errors.items() if isinstance(error, RemoteError)}

    def connect(self) -> None:
        """Log in everywhere. Raises one RemoteError that lists every node that refused."""
        errors = self.reach()
        if errors:
            raise self.refused(errors)

    def revive(self, ranks: Iterable[int], timeout: float) -> dict[int, RemoteError]:
        """Log in anew wherever the connection is gone, and try again for `timeout` s; who stays away, and why."""
        gone = [rank for rank in ranks if not self.sessions[rank].alive]
        until = time.monotonic() + timeout
        tries = {rank: self._pool.submit(self._reopened, rank, until) for rank in gone}
        self._opening |= tries
        wait(tries.values(), timeout=timeout)
        late = RemoteError(f"no SSH login in {timeout:g} s", "check its power and its network")
        found = {rank: one.exception() if one.done() else late for rank, one in tries.items()}
        return {rank: error for rank, error in found.items() if isinstance(error, RemoteError)}

    def _reopened(self, rank: int, until: float) -> None:
        """Log in, again and again until `until`. Raises the last RemoteError."""
        while True:
            try:
                return self.sessions[rank].open()
            except RemoteError:
                # A refusal comes at once, as from a node that still starts.
                if time.monotonic() + 1 > until or self.sessions[rank].closed.wait(1):
                    raise

    def refused(self, errors: Mapping[int, RemoteError]) -> RemoteError:
        hints = dict.fromkeys(error.hint for error in errors.values() if error.hint)
        return self.error({rank: error.message for rank, error in errors.items()}, "; ".join(hints))

    def error(self, problems: Mapping[int, str], hint: str, kind: type[RemoteError] = RemoteError) -> RemoteError:
        """One error that names every failing node."""
        lines = [f"  {self.nodes[rank].host}: {what}" for rank, what in sorted(problems.items())]
        count = f"{len(problems)} of {len(self._opening)} nodes"
        return kind(f"{self.name}: {count} failed\n" + "\n".join(lines), hint)

    def submit(self, rank: int, command: Command, on_line: OnLine | None = None) -> Future[Result]:
        """Start a command on one node."""
        ends = Ends(partial(on_line, rank) if on_line else None, self._stop if command.loose else None)
        if command.loose:
            return self._pool.submit(self.run, rank, command, ends)
        return self._pool.submit(self._bound, rank, command, ends, self._pending.generation)

    def _bound(self, rank: int, command: Command, ends: Ends, generation: int) -> Result:
        """Run what must be known to have ended before it can be undone; not at all once `settle` has passed it by."""
        with self._pending.one(generation) as begin:
            if not begin:
                return Result(command, None, stderr="stopped before it began")
            sent = self.fence(command) if self.fence else command
            return replace(self.run(rank, sent, ends), command=command)

    def run(self, rank: int, command: Command, ends: Ends | None = None) -> Result:
        """Run a command in this thread, once its node is logged in."""
        if self._opening[rank].exception():
            return Result(command, None, stderr="not connected")
        return self.sessions[rank].run(command, ends)

    def call(self, work: Callable[[], T]) -> Future[T]:
        """Run a watcher beside the commands."""
        return self._pool.submit(work)

    def each(self, commands: Mapping[int, Command]) -> dict[int, Result]:
        """Run one command a node at the same time, and wait for all of them; failures are Results."""
        return {rank: future.result() for rank, future in self.begin(commands).items()}

    def begin(self, commands: Mapping[int, Command], on_line: OnLine | None = None) -> dict[int, Future[Result]]:
        """Start one command a node at the same time."""
        return {rank: self.submit(rank, command, on_line) for rank, command in commands.items()}

    def finish(self, running: Mapping[int, Future[Result]]) -> None:
        """Wait for a step. Raises one RemoteError with every failing node's command, code and last lines."""
        results = {rank: future.result() for rank, future in running.items()}
        failed = {rank: _failure(result) for rank, result in results.items() if not result.ok}
        if failed:
            raise self.error(failed, hint_for("\n".join(failed.values())))

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def settle(self, timeout: float) -> None:
        """Let go of loose commands and watchers, and wait up to `timeout` s for all others; what has not begun never
        does."""
        self._stop.set()
        self._pending.settle(timeout)

    def close(self) -> None:
        """End every command and connection; no thread is left."""
        self._stop.set()
        for session in self.sessions:
            session.close()
        self._pool.shutdown(wait=True, cancel_futures=True)


def _failure(result: Result) -> str:
    # Where the node is the trouble, that comes first, not below what the command said.
    code = f"did not end ({result.tail(1)})" if result.code is None else f"exit code {result.code}"
    tail = result.tail(6).replace("\n", "\n      ")
    shown = str(result.command)
    shown = shown if len(shown) <= 300 else shown[:297] + "..."
    return f"{code}: {shown}\n      {tail}"


HINTS = (
    ("no space left on device", "make room on the node: `docker image prune`, or remove an old model"),
    ("unauthorized", "log in to the registry on the nodes with `docker login`"),
    ("no basic auth credentials", "log in to the registry on the nodes with `docker login`"),
    ("permission denied while trying to connect", "add the SSH user to the group docker on the nodes"),
    ("denied", "log in to the registry on the nodes with `docker login`"),
    ("has not answered", "check the node's power and its network"),
    ("connection broke", "check the node's power and its network"),
    ("manifest unknown", "build and push first: `python build-and-deploy.py build`, then `push`"),
)


def hint_for(text: str) -> str:
    """What usually mends an error of Docker's."""
    lower = text.lower()
    return next((hint for mark, hint in HINTS if mark in lower), "run the command on the node by hand to see more")
