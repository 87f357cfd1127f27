"""The lab's hands: runs commands on this machine and ends those it started. Decides nothing."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from deploy.errors import LabError

T = TypeVar("T")
_LAST_LINES = 8
_SECONDS_TO_LEAVE = 20


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str

    def checked(self) -> str:
        """What it printed; raises LabError with its last lines if it failed."""
        if self.code == 0:
            return self.out
        lines = (self.err.strip() or self.out.strip()).splitlines()[-_LAST_LINES:]
        said = "\n  ".join(lines) or "it said nothing"
        shown = shlex.join(self.argv[:6]) + (" …" if len(self.argv) > 6 else "")
        raise LabError(f"`{shown}` failed with exit code {self.code}:\n  {said}", "`lab down` removes what is left")


class Host:
    """Runs commands; when one of several fails or the user interrupts, the others are ended too."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()

    def attempt(self, argv: Sequence[str], stdin: str | None = None, env: Mapping[str, str] | None = None) -> Outcome:
        """Run a command to its end. `env` adds to this process's environment."""
        feed = subprocess.DEVNULL if stdin is None else subprocess.PIPE
        with self._started(argv, stdin=feed, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as child:
            out, err = child.communicate(stdin)
        return Outcome(tuple(argv), child.returncode, out, err)

    def run(self, argv: Sequence[str], stdin: str | None = None, env: Mapping[str, str] | None = None) -> str:
        """What a command printed; raises LabError if it failed."""
        return self.attempt(argv, stdin, env).checked()

    def pipe(self, source: Sequence[str], sink: Sequence[str]) -> str:
        """What `source | sink` printed; raises LabError if either failed."""
        with (
            self._started(source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as first,
            self._started(sink, stdin=first.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as second,
        ):
            if first.stdout is not None:
                first.stdout.close()
            out, err = second.communicate()
            first.wait()
        Outcome(tuple(source), first.returncode, "", "").checked()
        return Outcome(tuple(sink), second.returncode, out, err).checked()

    def together(self, calls: Sequence[Callable[[], T]]) -> list[T]:
        """The results of all calls, made at once; the first failure ends what still runs."""
        with ThreadPoolExecutor(max_workers=max(1, len(calls))) as pool:
            futures = [pool.submit(call) for call in calls]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                # What is ended below fails too; the first failure is the one to tell.
                for future in done:
                    future.result()
            except BaseException:
                self.end_all()
                raise
            return [future.result() for future in futures]

    def end_all(self) -> None:
        """Ask every running command to end."""
        with self._lock:
            running = list(self._running)
        for child in running:
            _ask_to_end(child)

    @contextmanager
    def _started(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None, **pipes: object
    ) -> Iterator[subprocess.Popen[str]]:
        child = _start(argv, env, pipes)
        with self._lock:
            self._running.add(child)
        try:
            yield child
        except BaseException:
            _ask_to_end(child)
            _wait_or_kill(child)
            raise
        finally:
            with self._lock:
                self._running.discard(child)


def as_root(argv: Sequence[str]) -> tuple[str, ...]:
    """The same command, through sudo where this user is not root."""
    return tuple(argv) if os.geteuid() == 0 else ("sudo", *argv)


def _start(argv: Sequence[str], env: Mapping[str, str] | None, pipes: Mapping[str, object]) -> subprocess.Popen[str]:
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}
    # Debian keeps its administration tools out of a plain user's PATH.
    environment["PATH"] = environment.get("PATH", "") + ":/usr/sbin:/sbin"
    try:
        return subprocess.Popen(list(argv), env=environment, text=True, errors="replace", **pipes)  # type: ignore[call-overload, no-any-return]
    except FileNotFoundError:
        raise LabError(f"no command {argv[0]!r} on this machine", "run `deploy/lab/host.sh install`") from None


def _ask_to_end(child: subprocess.Popen[str]) -> None:
    # A child run through sudo belongs to root; the terminal's own Ctrl-C has reached it already.
    with contextlib.suppress(PermissionError):
        child.terminate()


def _wait_or_kill(child: subprocess.Popen[str]) -> None:
    try:
        child.communicate(timeout=_SECONDS_TO_LEAVE)
    except (subprocess.TimeoutExpired, ValueError):
        with contextlib.suppress(PermissionError):
            child.kill()
        child.wait()
