"""One command on one SSH channel, from its start to its Result. Opens no connection and knows no node."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deploy.command import Command, Result
from deploy.remote.liveness import BROKE

OnLine = Callable[[str], None]
SIGNALLED = "a signal ended it on the node"
_PIECE = 1 << 16
_TICK = 0.2


@dataclass(frozen=True)
class Ends:
    """This side of a running command: who hears its lines, what drops it, and what it is fed while it runs.

    `feed` is asked a few times a second for text for the command's input; mostly it has none.
    """

    on_line: OnLine | None = None
    stop: threading.Event | None = None
    feed: Callable[[], str] | None = None


def fed(command: Command, size: int) -> str:
    """A command line whose standard input ends by itself, after `size` bytes, unless the command is held.

    An end that this side sends can come after the node has closed the channel of a quick command. OpenSSH then
    disconnects ("referred to nonexistent channel"): one of some hundred to thousand commands broke its connection.
    """
    if command.held:
        return str(command)
    return f"head -c {size} | {command}" if size else f"{command} < /dev/null"


class _Reply(threading.Event):
    """What paramiko waits on for the answer to a request, without limit; this one waits no longer than it makes sense.

    Without it a connection that ends between the sending of a request and the waiting is waited for until the end of
    time.
    """

    def __init__(self, over: Callable[[], str]) -> None:
        super().__init__()
        self._over = over

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002
        while not super().wait(_TICK):
            if why := self._over():
                raise EOFError(why)
        return True


class Exchange:
    """What goes to and comes from one channel until it ends, is stopped, or is out of time."""

    def __init__(self, command: Command, channel: Any, ends: Ends, closed: threading.Event) -> None:
        self.command, self.channel, self.ends, self._closed = command, channel, ends, closed
        self.out, self.err = bytearray(), bytearray()
        self.said = 0
        self._sent = self._heard = 0.0
        self._deadline = time.monotonic() + command.timeout

    def result(self) -> Result:
        """Raises what paramiko raises where the connection breaks before the command has begun."""
        self._begin()
        while not self._ended():
            if why := self._over():
                return self._result(None, why)
            self._turn()
        self._say(last=True)
        code = self.channel.recv_exit_status()
        # A command that a signal ended has no code, and its connection stays.
        why = "" if code >= 0 else self._over() or SIGNALLED
        return self._result(code if code >= 0 else None, why)

    def _begin(self) -> None:
        self.channel.event = _Reply(self._over)
        self.channel.settimeout(min(self.command.timeout, 30))
        self._sent = time.time()
        given = self.command.stdin.encode()
        self.channel.exec_command(fed(self.command, len(given)))
        if given:
            self.channel.sendall(given)

    def _over(self) -> str:
        """Why there is nothing more to wait for, or an empty string."""
        if self._closed.is_set() or (self.ends.stop and self.ends.stop.is_set()):
            return "stopped"
        if time.monotonic() > self._deadline:
            return f"no answer in {self.command.timeout:g} s"
        return "" if self.channel.get_transport().active else BROKE

    def _turn(self) -> None:
        """Wait a moment for more, and feed what is due."""
        if self.channel.eof_received:
            time.sleep(0.02)  # from here on the channel is always readable
        else:
            select.select([self.channel], [], [], _TICK)
        text = self.ends.feed() if self.ends.feed else ""
        if text:
            self.channel.sendall(text.encode())

    def _ended(self) -> bool:
        """The exit code is here and both streams are read to their end, or the channel is gone."""
        gone = self.channel.closed
        self._take()
        ended = gone or (self.channel.exit_status_ready() and self.channel.eof_received)
        return bool(ended and not self._pending())

    def _pending(self) -> bool:
        return bool(self.channel.recv_ready() or self.channel.recv_stderr_ready())

    def _take(self) -> None:
        while self.channel.recv_ready():
            self.out += self.channel.recv(_PIECE)
            self._heard = self._heard or time.time()
        while self.channel.recv_stderr_ready():
            piece = self.channel.recv_stderr(_PIECE)
            self.err += piece
            if self.ends.on_line:
                self.out += piece
        self._say()

    def _say(self, *, last: bool = False) -> None:
        """Hand on whole lines; with a listener the two streams are one, as in a log."""
        if not self.ends.on_line:
            return
        end = len(self.out) if last else self.out.rfind(b"\n") + 1
        for line in self.out[self.said : max(end, self.said)].decode(errors="replace").splitlines():
            self.ends.on_line(line)
        self.said = max(end, self.said)
        if self.said > 1 << 20:
            del self.out[: self.said]
            self.said = 0

    def _result(self, code: int | None, why: str) -> Result:
        out, err = self.out.decode(errors="replace"), self.err.decode(errors="replace")
        return Result(self.command, code, out, f"{err}\n{why}".strip() if why else err, (self._sent, self._heard))
