"""The home of Fabric: one checked connection a node, kept open. Does not know what the commands mean."""

from __future__ import annotations

import io
import logging
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fabric
import paramiko

from deploy.cluster.spec import Node, Ssh
from deploy.command import Command, Result
from deploy.errors import HostKeyError, RemoteError

# What fails is told by Results and errors; paramiko's own lines would break into the view.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

OnLine = Callable[[str], None]
_PIECE = 1 << 16


class Session:
    """One SSH connection to one node. Commands run on channels of it; a dead node ends each by its timeout."""

    def __init__(self, node: Node, ssh: Ssh) -> None:
        self.node = node
        self._timeout = ssh.connect_timeout
        self._connection = _connection(node, ssh)
        self._closed = threading.Event()
        self.opened = 0.0

    def open(self) -> None:
        """Log in once. Raises RemoteError that says what to do."""
        try:
            self._connection.open()
        except Exception as error:
            raise _translated(self.node, error) from None
        self._transport.set_keepalive(15)
        self.opened = time.time()

    def close(self) -> None:
        """End every command that still runs, and the connection."""
        self._closed.set()
        self._connection.close()

    @property
    def _transport(self) -> paramiko.Transport:
        transport = self._connection.client.get_transport()
        if transport is None:
            raise EOFError("the connection is closed")
        return transport  # type: ignore[no-any-return]

    def run(self, command: Command, on_line: OnLine | None = None, stop: threading.Event | None = None) -> Result:
        """Run a command to its end. Never raises for a node's sake: a Result without a code says what happened."""
        try:
            channel = self._transport.open_session(timeout=self._timeout)
        except (paramiko.SSHException, OSError, EOFError) as error:
            return Result(command, None, stderr=f"the connection is lost: {error}")
        try:
            return _Exchange(command, channel, on_line, (self._closed, stop or self._closed)).result()
        except (paramiko.SSHException, OSError, EOFError) as error:
            return Result(command, None, stderr=f"the connection broke: {error}")
        finally:
            channel.close()

    def tunnel(self, host: str, port: int, timeout: float) -> Tunnel:
        """A stream to a port as the node itself sees it. Raises OSError where nothing answers."""
        try:
            channel = self._transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=timeout)
        except (paramiko.SSHException, EOFError) as error:
            raise ConnectionError(str(error)) from None
        channel.settimeout(timeout)
        return Tunnel(channel)


class Tunnel:
    """A channel with what `http.client` asks of a socket; paramiko's own files cannot peek."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self.sendall, self.close, self._channel = channel.sendall, channel.close, channel

    def makefile(self, mode: str) -> io.BufferedReader:  # noqa: ARG002
        return io.BufferedReader(_Reader(self._channel))


class _Reader(io.RawIOBase):
    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._channel.recv(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


class _Exchange:
    """What goes to and comes from one channel until it ends, is stopped, or is out of time."""

    def __init__(self, command: Command, channel: Any, on_line: OnLine | None, stops: tuple[threading.Event, ...]):
        self.command, self.channel, self.on_line, self.stops = command, channel, on_line, stops
        self.out, self.err = bytearray(), bytearray()
        self.said = 0
        self.sent = self.heard = 0.0

    def result(self) -> Result:
        deadline = time.monotonic() + self.command.timeout
        self.channel.settimeout(min(self.command.timeout, 30))
        self.sent = time.time()
        self.channel.exec_command(str(self.command))
        if self.command.stdin:
            self.channel.sendall(self.command.stdin.encode())
        if not self.command.held:
            self.channel.shutdown_write()
        while not self._ended():
            if any(stop.is_set() for stop in self.stops):
                return self._result(None, "stopped")
            if time.monotonic() > deadline:
                return self._result(None, f"no answer in {self.command.timeout:g} s")
            select.select([self.channel], [], [], 0.2)
            self._take()
        self._say(last=True)
        code = self.channel.recv_exit_status()
        return self._result(code if code >= 0 else None, "" if code >= 0 else "the connection broke")

    def _ended(self) -> bool:
        """The exit code is here and both streams are read to their end."""
        self._take()
        return bool(self.channel.exit_status_ready() and self.channel.eof_received and not self._pending())

    def _pending(self) -> bool:
        return bool(self.channel.recv_ready() or self.channel.recv_stderr_ready())

    def _take(self) -> None:
        while self.channel.recv_ready():
            self.out += self.channel.recv(_PIECE)
            self.heard = self.heard or time.time()
        while self.channel.recv_stderr_ready():
            piece = self.channel.recv_stderr(_PIECE)
            self.err += piece
            if self.on_line:
                self.out += piece
        self._say()

    def _say(self, *, last: bool = False) -> None:
        """Hand on whole lines; with a listener the two streams are one, as in a log."""
        if not self.on_line:
            return
        end = len(self.out) if last else self.out.rfind(b"\n") + 1
        for line in self.out[self.said : max(end, self.said)].decode(errors="replace").splitlines():
            self.on_line(line)
        self.said = max(end, self.said)
        if self.said > 1 << 20:
            del self.out[: self.said]
            self.said = 0

    def _result(self, code: int | None, why: str) -> Result:
        out, err = self.out.decode(errors="replace"), self.err.decode(errors="replace")
        return Result(self.command, code, out, f"{err}\n{why}".strip() if why else err, (self.sent, self.heard))


def _connection(node: Node, ssh: Ssh) -> Any:
    keys: dict[str, Any] = {"banner_timeout": ssh.connect_timeout, "auth_timeout": ssh.connect_timeout}
    keys["channel_timeout"] = ssh.connect_timeout
    if ssh.identity:
        keys |= {"key_filename": str(Path(ssh.identity).expanduser()), "look_for_keys": False, "allow_agent": False}
    connection = fabric.Connection(
        node.host, user=ssh.user, port=node.port or ssh.port, connect_timeout=ssh.connect_timeout, connect_kwargs=keys
    )
    _hold_to_known_hosts(connection, Path(ssh.known_hosts).expanduser())
    return connection


def _hold_to_known_hosts(connection: Any, known: Path) -> None:
    """Fabric trusts unknown hosts unless it is told not to, the jump hosts of ~/.ssh/config (ProxyJump) among them."""
    while isinstance(connection, fabric.Connection):
        if known.exists():
            connection.client.load_host_keys(str(known))
        connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        connection = connection.gateway


def _translated(node: Node, error: Exception) -> RemoteError:
    """What a failed login means, and what mends it."""
    text = str(error) or type(error).__name__
    if isinstance(error, paramiko.BadHostKeyException):
        return HostKeyError("its host key is not the one in known_hosts", "find out why before you remove the old key")
    if "not found in known_hosts" in text:
        hint = f"log in once with `ssh {node.host}` and compare the key"
        return HostKeyError("its host key is not in known_hosts", hint)
    if isinstance(error, paramiko.AuthenticationException):
        what, hint = f"login refused ({text.rstrip('.')})", "check ssh.user and ssh.identity; the key must be allowed"
    elif isinstance(error, FileNotFoundError):
        what, hint = f"{error.filename}: no such file", "check ssh.identity"
    elif isinstance(error, OSError):
        first = next(iter(getattr(error, "errors", {}).values()), error)
        what, hint = f"cannot be reached ({first.strerror or text})", "check its power, its address and its SSH service"
    else:
        what, hint = f"no SSH login ({text})", "try `ssh -v` with the same host"
    return RemoteError(what, hint)
