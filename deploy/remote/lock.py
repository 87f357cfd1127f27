"""One `up` or `down` at a time a cluster: a flock on every node, gone by itself when its holder goes away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial

from deploy.command import Command, Result
from deploy.errors import LockedError
from deploy.remote.execute import Fleet

_LOCKED = 75
_ENDED = "command ended with "
_SCRIPT = """
folder=$HOME/.cache/sglang-spark name=$1 holder=$2; shift 2
[ -d "$folder" ] || mkdir -p "$folder" || exit 1
exec 9>>"$folder/$name.lock" || exit 1
flock -n 9 || { cat "$folder/$name.holder" 2>/dev/null; exit 75; }
echo "$holder" > "$folder/$name.holder"; echo locked
[ $# -eq 0 ] || { "$@" < /dev/null; echo "command ended with $?"; }
cat > /dev/null; rm -f "$folder/$name.holder"
"""


@contextmanager
def lock(fleet: Fleet, holder: str, then: Mapping[int, Command] | None = None) -> Iterator[dict[int, Result]]:
    """Hold the lock of every node of the fleet. Raises RemoteError where a login failed, LockedError.

    `then`, a command a node, runs as soon as its own lock is held, with no input and in the same round trip; its
    Results are what the context gives.
    """
    taken = {rank: _Lock(fleet, rank, holder, then[rank] if then else None) for rank in fleet.ranks}
    try:
        fleet.connect()
        problems = {rank: what for rank, one in taken.items() if (what := one.problem())}
        if problems:
            raise fleet.error(problems, "wait for it, or stop it; the lock goes with its holder", LockedError)
        yield {rank: one.result(then[rank]) for rank, one in taken.items()} if then else {}
    finally:
        for one in taken.values():
            one.release()


class _Lock:
    """The lock of one node: a shell there that holds a flock for as long as it can read from us."""

    def __init__(self, fleet: Fleet, rank: int, holder: str, then: Command | None) -> None:
        self._lines: list[str] = []
        self._session, self._first_heard = fleet.sessions[rank], 0.0
        self._answered, self._ended, self._release = threading.Event(), threading.Event(), threading.Event()
        argv = ("sh", "-c", _SCRIPT, "sh", fleet.name, holder, *(then.argv if then else ()))
        command = Command(argv, held=True, timeout=float("inf"))
        self._future = fleet.call(partial(fleet.run, rank, command, self._hear, self._release))
        self._future.add_done_callback(self._over)

    def _over(self, _: Future[Result]) -> None:
        self._answered.set()
        self._ended.set()

    def _hear(self, line: str) -> None:
        self._lines.append(line)
        if len(self._lines) == 2:
            self._first_heard = time.time()
        self._answered.set()
        if line.startswith(_ENDED):
            self._ended.set()

    def problem(self) -> str:
        """Empty once the lock is held; else who holds it, or why it cannot be taken."""
        if not self._answered.wait(60):
            return "the lock did not answer in 60 s"
        if self._lines[:1] == ["locked"]:
            return ""
        result = self._future.result()
        who = self._lines[0] if self._lines else "another run"
        return f"locked by {who}" if result.code == _LOCKED else f"no lock: {result.tail(1)}"

    def result(self, command: Command) -> Result:
        """How the command behind the lock ended; its two streams come as one."""
        in_time = self._ended.wait(command.timeout)
        lines, last = self._lines[1:-1], self._lines[-1]
        if not last.startswith(_ENDED):
            return Result(command, None, "\n".join(lines), "it broke off" if in_time else "it did not end in time")
        span = (self._session.opened, self._first_heard)
        return Result(command, int(last.removeprefix(_ENDED)), "\n".join(lines), span=span)

    def release(self) -> None:
        self._release.set()
        wait([self._future], timeout=5)
