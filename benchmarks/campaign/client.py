"""One command of the product, run as a user runs it, with the time of every line that it says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLI = (sys.executable, str(ROOT / "build-and-deploy.py"))


class Client:
    """A running command. It is a session of its own, so that what it leaves behind can be found."""

    def __init__(self, words: tuple[str, ...], environ: Mapping[str, str]) -> None:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self._process: subprocess.Popen[str] = subprocess.Popen(
            (*CLI, *words), cwd=ROOT, env=dict(environ), text=True, errors="replace", start_new_session=True, **pipes
        )  # type: ignore[call-overload]
        self.lines: list[tuple[float, str]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def code(self) -> int | None:
        code: int | None = self._process.poll()
        return code

    @property
    def text(self) -> str:
        return "\n".join(line for _, line in self.lines)

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self.lines.append((time.monotonic(), line.rstrip()))

    def said(self, matches: Callable[[str], object], since: float = 0.0) -> tuple[float, str] | None:
        """The first line from `since` on (monotonic seconds) that matches."""
        return next(((at, line) for at, line in list(self.lines) if at >= since and matches(line)), None)

    def messages(self, since: float) -> list[tuple[float, str]]:
        """What was said from `since` on, each line together with the indented ones that belong to it."""
        return joined([one for one in list(self.lines) if one[0] >= since])

    def wait(self, timeout: float) -> int | None:
        """The exit code; None where it did not end in time."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        self._reader.join(5)
        return int(code)

    def kill(self) -> None:
        """SIGKILL, to this process alone."""
        self._process.kill()
        self._process.wait()

    def end(self, timeout: float = 20.0) -> int | None:
        """Ctrl-C, and SIGKILL to the whole session where that does not help."""
        if self.running:
            self._process.send_signal(signal.SIGINT)
        code = self.wait(timeout)
        if code is None:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        return code


def joined(lines: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """(time, line) with each indented line put behind the line that it belongs to."""
    found: list[tuple[float, str]] = []
    for at, line in lines:
        if found and line.startswith(" "):
            found[-1] = (found[-1][0], f"{found[-1][1]}; {line.strip()}")
        else:
            found.append((at, line))
    return found


def until(condition: Callable[[], object], timeout: float, step: float = 0.1) -> bool:
    """Wait for a condition; False where it did not come true in time."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(step)
    return True
