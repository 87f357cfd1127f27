"""Starts ranks as local processes and watches their logs, exits and health; judges nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.gpu.adapt import Launch

# Rank 0 answers 503 only after 20 s.
PATIENCE = 26.0
PAUSE = 0.5


class Rank:
    """One process with the lines of its log, the answers of its /health, and when it left with which code."""

    def __init__(self, launch: Launch, log: Path, began: float) -> None:
        self.launch, self.began = launch, began
        self.lines: list[tuple[float, str]] = []
        self.health: list[dict[str, object]] = []
        self.exit: tuple[float, int] | None = None
        environment = {**os.environ, **launch.env}
        self.process = subprocess.Popen(
            launch.argv,
            env=environment,
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        for work in (lambda: self._read(log), self._ask, self._wait):
            threading.Thread(target=work, daemon=True).start()

    def now(self) -> float:
        """Seconds since the ranks were started."""
        return time.monotonic() - self.began

    def healthy(self) -> bool:
        """Whether the last answer of /health was 200."""
        return bool(self.health) and self.health[-1]["says"] == 200

    def says(self, fragment: str) -> bool:
        """Whether a line of the log holds that text."""
        return any(fragment in text for _, text in list(self.lines))

    def signal(self, number: signal.Signals, all_of_it: bool = True) -> None:
        """Send a signal to the whole process group, or to the first process alone."""
        send = os.killpg if all_of_it else os.kill
        with suppress(ProcessLookupError):
            send(self.process.pid, number)

    def _read(self, log: Path) -> None:
        assert self.process.stdout is not None
        with log.open("wb") as kept:
            for line in self.process.stdout:
                self.lines.append((self.now(), line.decode(errors="replace").rstrip()))
                kept.write(line)
                kept.flush()

    def _wait(self) -> None:
        code = self.process.wait()
        self.exit = (round(self.now(), 2), code)

    def _ask(self) -> None:
        while self.exit is None:
            at = self.now()
            says = answer(self.launch.port, "/health", PATIENCE)
            note(self.health, at, self.now() - at, says)
            time.sleep(PAUSE)


class Quiet(Rank):
    """A server that nobody asks for its health: each such question is a request too."""

    def _ask(self) -> None:
        return


def note(health: list[dict[str, object]], at: float, took: float, says: int | str) -> None:
    """Add an answer, or lengthen the last entry if it says the same."""
    if health and health[-1]["says"] == says:
        last = health[-1]
        last["until"], last["asked"] = round(at, 2), int(str(last["asked"])) + 1
        last["slowest"] = max(float(str(last["slowest"])), round(took, 2))
    else:
        entry: dict[str, object] = {
            "says": says,
            "from": round(at, 2),
            "until": round(at, 2),
            "asked": 1,
            "slowest": round(took, 2),
        }
        health.append(entry)


def answer(port: int, path: str, patience: float) -> int | str:
    """The status of a GET, or in a word why there was none: refused, timeout, reset."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=patience) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError) as error:
        return reason(error)


def page(port: int, path: str, patience: float) -> str:
    """The text of a GET. Raises OSError where there is none."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=patience) as response:
        text: str = response.read().decode()
    return text


def reason(error: Exception) -> str:
    """One word for what went wrong with a connection."""
    cause = getattr(error, "reason", error)
    if isinstance(cause, ConnectionRefusedError):
        return "refused"
    if isinstance(cause, TimeoutError):
        return "timeout"
    return "reset" if isinstance(cause, ConnectionError) else type(cause).__name__


@contextmanager
def running(launches: Sequence[Launch], folder: Path) -> Iterator[list[Rank]]:
    """Start all ranks at once with logs in `folder`, and leave no process of theirs behind."""
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    ranks: list[Rank] = []
    with none_left(ranks):
        for launch in launches:
            ranks.append(Rank(launch, (folder / f"rank{launch.rank}.log").absolute(), began))
        yield ranks


@contextmanager
def none_left(ranks: Sequence[Rank]) -> Iterator[None]:
    """At its end no process of these ranks is left, of those that came meanwhile too."""
    try:
        yield
    finally:
        for rank in ranks:
            rank.signal(signal.SIGKILL)
        for rank in ranks:
            rank.process.wait()


def until(condition: Callable[[], bool], seconds: float, pause: float = 0.1) -> bool:
    """Wait until the callable says true; False where it did not within `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(pause)
    return condition()
