"""One `up` or `down` at a time a cluster: a flock on every node, gone by itself when its holder goes away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from functools import partial

from deploy.command import Command, Result
from deploy.errors import LockedError
from deploy.remote.execute import Fleet

_LOCKED = 75
_SCRIPT = """
folder=$HOME/.cache/sglang-spark
mkdir -p "$folder" && exec 9>>"$folder/$1.lock" || exit 1
flock -n 9 || { cat "$folder/$1.holder" 2>/dev/null; exit 75; }
printf '%s\\n' "$2" > "$folder/$1.holder"; echo locked
cat > /dev/null; rm -f "$folder/$1.holder"
"""


@contextmanager
def lock(fleet: Fleet, holder: str, then: Command | None = None) -> Iterator[dict[int, Result]]:
    """Hold the lock of every node of the fleet. Raises RemoteError where a login failed, LockedError.

    `then` runs on each node as soon as its own lock is held; its Results are what the context gives.
    """
    taken = {rank: _Lock(fleet, rank, holder) for rank in fleet.ranks}
    try:
        behind = {rank: fleet.call(partial(one.run, then)) for rank, one in taken.items()} if then else {}
        fleet.connect()
        problems = {rank: what for rank, one in taken.items() if (what := one.problem())}
        if problems:
            raise fleet.error(problems, "wait for it, or stop it; the lock goes with its holder", LockedError)
        yield {rank: future.result() for rank, future in behind.items()}
    finally:
        for one in taken.values():
            one.release()


class _Lock:
    """The lock of one node: a shell there that holds a flock for as long as it can read from us."""

    def __init__(self, fleet: Fleet, rank: int, holder: str) -> None:
        self._fleet, self._rank = fleet, rank
        self._answered, self._release = threading.Event(), threading.Event()
        self._first = ""
        command = Command(("sh", "-c", _SCRIPT, "sh", fleet.name, holder), held=True, timeout=float("inf"))
        self._future = fleet.call(partial(fleet.run, rank, command, self._hear, self._release))
        self._future.add_done_callback(lambda _: self._answered.set())

    def _hear(self, line: str) -> None:
        self._first = self._first or line
        self._answered.set()

    def problem(self) -> str:
        """Empty once the lock is held; else who holds it, or why it cannot be taken."""
        if not self._answered.wait(60):
            return "the lock did not answer in 60 s"
        if self._first == "locked":
            return ""
        result = self._future.result()
        return f"locked by {self._first or 'another run'}" if result.code == _LOCKED else f"no lock: {result.tail(1)}"

    def run(self, command: Command) -> Result:
        """Run a command behind this lock; nothing is run where it is not held."""
        what = self.problem()
        return Result(command, None, stderr=what) if what else self._fleet.run(self._rank, command, None, None)

    def release(self) -> None:
        self._release.set()
        wait([self._future], timeout=5)
