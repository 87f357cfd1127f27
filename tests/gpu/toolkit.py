"""The toolkit's own command line as a process, with the moment at which it said each thing; judges nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Said:
    """One thing that the toolkit said: an event of its `--json`, or a line of stderr (`kind` is stderr).

    `at` is in seconds since the epoch, as are the times of the containers on the same host. `level` is a note's level,
    what a watch tells, or "error".
    """

    at: float
    kind: str
    text: str
    rank: int | None = None
    level: str = ""


class Toolkit:
    """One run of build-and-deploy.py; everything that it says is kept in `log` as well."""

    def __init__(self, words: Sequence[str], python_path: str, log: Path) -> None:
        self.said: list[Said] = []
        self.began = time.time()
        self._log, self._lock = log.open("a"), threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "build-and-deploy.py"), *words],
            env={**os.environ, "PYTHONPATH": python_path, "PYTHONUNBUFFERED": "1", "XDG_STATE_HOME": str(log.parent)},
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        for stream, read in ((self._process.stdout, event), (self._process.stderr, line)):
            threading.Thread(target=self._hear, args=(stream, read), daemon=True).start()

    def _hear(self, stream: TextIO, read: Callable[[float, str], Said]) -> None:
        for text in stream:
            said = read(time.time(), text.rstrip("\n"))
            with self._lock:
                self.said.append(said)
                self._log.write(f"{said.at:.3f} {text}")
                self._log.flush()

    @property
    def code(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.poll()

    def first(self, wanted: Callable[[Said], bool], since: float = 0.0) -> Said | None:
        """The first thing said at or after `since` (seconds since the epoch) that is wanted."""
        with self._lock:
            return next((one for one in self.said if one.at >= since and wanted(one)), None)

    def end(self, patience: float) -> int | None:
        """Ask it to end, as Ctrl-C does, and wait; what does not end is killed."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)
        return self.wait(patience)

    def wait(self, patience: float) -> int | None:
        """Its exit code; None where it had to be killed after so many seconds."""
        try:
            return self._process.wait(max(patience, 0.1))
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            return None


def event(at: float, text: str) -> Said:
    """An event as `--json` prints it; any other line as it is."""
    try:
        told: dict[str, Any] = json.loads(text)
        kind = str(told["event"])
    except (ValueError, LookupError, TypeError):
        return line(at, text)
    words = [str(told[key]) for key in ("phase", "detail", "text", "task") if told.get(key)]
    return Said(at, kind, " ".join(words) or text, told.get("rank"), str(told.get("level") or told.get("what") or ""))


def line(at: float, text: str) -> Said:
    """A line of stderr; an error counts as one."""
    return Said(at, "stderr", text, level="error" if text.startswith("error:") else "")
