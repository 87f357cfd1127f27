"""A stand-in for containers: processes of this host, each tree kept by a process of its own; isolates nothing."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

State = dict[str, Any]
NEVER = "0001-01-01T00:00:00Z"
_SUBREAPER = 36
_PAUSE = 0.02


def now() -> str:
    """This moment as Docker writes it: RFC 3339 in UTC, with nanoseconds."""
    at = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at // 10**9)) + f".{at % 10**9:09d}Z"


def descendants(root: int) -> list[int]:
    """Every process below `root`, from /proc."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                stat = Path("/proc", name, "stat").read_text(errors="replace")
                state, parent = stat.rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    children.setdefault(int(parent), []).append(int(name))
    found, todo = list[int](), [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


class Container:
    """One container's folder: what it was made of, its state, its log."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"

    @property
    def made(self) -> State:
        """What `docker run` was told; `argv` and `env` are what is really started."""
        return json.loads((self.folder / "made.json").read_text())  # type: ignore[no-any-return]

    @property
    def state(self) -> State:
        """The state as `docker inspect` shows it, and the keeper's process id."""
        return json.loads((self.folder / "state.json").read_text())  # type: ignore[no-any-return]

    @property
    def running(self) -> bool:
        return bool(self.state["Running"])

    def processes(self) -> list[int]:
        """All processes of the container, the first one first; the keeper is none of them."""
        return descendants(self.state["Keeper"]) if self.running else []

    def signal(self, number: int) -> None:
        """To every process, those included that are born meanwhile."""
        seen: set[int] = set()
        while fresh := set(self.processes()) - seen:
            for process in fresh:
                with suppress(ProcessLookupError):
                    os.kill(process, number)
            seen |= fresh

    def signal_main(self, number: int) -> None:
        main = self.state["Pid"]
        if main:
            with suppress(ProcessLookupError):
                os.kill(main, number)

    def ended(self, patience: float) -> bool:
        """Wait so many seconds for its end."""
        end = time.monotonic() + patience
        while self.running and time.monotonic() < end:
            time.sleep(_PAUSE)
        return not self.running

    def begin(self) -> None:
        """Start the container's process below a keeper that outlives this one; returns once its state is there."""
        if os.fork() == 0:
            os.setsid()
            _Keeper(self).keep()
        while not (self.folder / "state.json").exists():
            time.sleep(0.005)


class _Keeper:
    """What containerd's shim and docker-init are: reaps, writes down the end, and leaves no process behind."""

    def __init__(self, container: Container) -> None:
        self.container, self.made = container, container.made
        # Orphans of the tree come to us, so that none escapes.
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
        nothing = os.open(os.devnull, os.O_RDWR)
        for one in (0, 1, 2):
            os.dup2(nothing, one)
        # The caller's locks are none of a container's: Docker's daemon is no child of its command line.
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))

    def keep(self) -> None:
        main, started = self._start(), now()
        self._write(Status="running", Running=True, Pid=main, StartedAt=started)
        code = os.waitstatus_to_exitcode(self._reaped(main))
        self._end_the_rest()
        self._write(Status="exited", ExitCode=code if code >= 0 else 128 - code, StartedAt=started, FinishedAt=now())
        os._exit(0)

    def _start(self) -> int:
        main = os.fork()
        if main == 0:
            os.setsid()
            log = os.open(self.container.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.chdir(self.container.folder)
            try:
                os.execvpe(self.made["argv"][0], self.made["argv"], self.made["env"])
            except OSError as error:
                os.write(2, f"exec: {self.made['argv'][0]}: {error}\n".encode())
                os._exit(127)
        return main

    def _reaped(self, main: int) -> int:
        while True:
            process, status = os.wait()
            if process == main:
                return status

    def _end_the_rest(self) -> None:
        """With the first process of a PID namespace all others end at once."""
        while below := descendants(os.getpid()):
            for process in below:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(_PAUSE)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass

    def _write(self, **changed: Any) -> None:
        state: State = {"Status": "", "Running": False, "Paused": False, "Restarting": False, "OOMKilled": False}
        state |= {"Dead": False, "Pid": 0, "ExitCode": 0, "Error": "", "StartedAt": NEVER, "FinishedAt": NEVER}
        text = json.dumps(state | changed | {"Keeper": os.getpid()})
        part = self.container.folder / "state.part"
        part.write_text(text)
        part.rename(self.container.folder / "state.json")


class Shelf:
    """All containers of one node, in the order in which they were made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "containers"
        self.folder.mkdir(parents=True, exist_ok=True)

    def all(self) -> list[Container]:
        found = [Container(one) for one in self.folder.iterdir() if (one / "state.json").exists()]
        return sorted(found, key=lambda one: str(one.made["created"]))

    def find(self, name: str) -> Container | None:
        """By name, id, or the start of an id."""
        return next((one for one in self.all() if name.lstrip("/") == one.made["name"] or _is(one, name)), None)

    def make(self, argv: Sequence[str], env: Mapping[str, str], told: Mapping[str, Any]) -> Container:
        """A new container, started; `told` is what `docker inspect` shows of it."""
        identity = os.urandom(32).hex()
        folder = self.folder / identity
        folder.mkdir()
        made = {**told, "id": identity, "created": now(), "argv": list(argv), "env": dict(env)}
        (folder / "made.json").write_text(json.dumps(made))
        container = Container(folder)
        container.begin()
        return container


def _is(container: Container, start: str) -> bool:
    return len(start) >= 12 and container.folder.name.startswith(start)


if __name__ == "__main__":
    sys.exit(__doc__)
