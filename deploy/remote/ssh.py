"""The home of Fabric: one checked connection a node, kept open. Does not know what the commands mean."""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import fabric
import paramiko

from deploy.cluster.spec import Node, Ssh
from deploy.command import Command, Result
from deploy.errors import HostKeyError, RemoteError
from deploy.remote.exchange import SIGNALLED, Ends, Exchange
from deploy.remote.liveness import BROKE, Liveness

# What fails is told by Results and errors; paramiko's own lines would break into the view.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


LOOPBACK = "127.0.0.1"
LENT_SILENCE = 600.0
"""Seconds that a stream from a node may take nothing and say nothing."""


class Session:
    """One SSH connection to one node. A node that falls silent ends it, and every command on it, within 10 s."""

    def __init__(self, node: Node, ssh: Ssh) -> None:
        self.node = node
        self._ssh, self._timeout = ssh, ssh.connect_timeout
        self._connection: Any = None
        self._liveness: Liveness | None = None
        self.closed = threading.Event()
        self.opened = 0.0

    def open(self) -> None:
        """Log in; also anew, after the connection broke. Raises RemoteError that says what to do."""
        self._drop()
        self._connection = connection = _connection(self.node, self._ssh)
        try:
            connection.open()
            self._liveness = Liveness(connection.client.get_transport(), self.node.host)
        except Exception as error:
            connection.client.close()
            raise _translated(self.node, error) from None
        self.opened = time.time()
        if self.closed.is_set():
            self._drop()

    def close(self) -> None:
        """End every command that still runs, and the connection; no thread of it is left."""
        self.closed.set()
        self._drop()

    def _drop(self) -> None:
        if self._connection:
            self._connection.client.close()
        if self._liveness:
            self._liveness.close()
        self._liveness = None

    @property
    def alive(self) -> bool:
        """The connection is there, as far as it is known."""
        transport = self._connection and self._connection.client.get_transport()
        # paramiko closes the channels of a connection that ended, and only then says that it did.
        over = self._liveness and self._liveness.ending
        return bool(transport and transport.active and not over)

    @property
    def silent(self) -> bool:
        """The connection was given up because nothing came from the node any more."""
        return bool(self._liveness and self._liveness.silent)

    @property
    def _transport(self) -> paramiko.Transport:
        if not self.alive:
            raise EOFError("it is closed")
        return self._connection.client.get_transport()  # type: ignore[no-any-return]

    def run(self, command: Command, ends: Ends | None = None) -> Result:
        """Run a command to its end. Never raises for a node's sake: a Result without a code says what happened."""
        liveness = self._liveness
        try:
            result = self._result(command, ends or Ends())
        except (paramiko.SSHException, OSError, EOFError) as error:
            result = Result(command, None, stderr=f"the connection is lost: {_text(error)}")
        if result.code is None and liveness and liveness.ending:
            said = result.stderr.removesuffix(BROKE).removesuffix(SIGNALLED).rstrip()
            return replace(result, stderr=f"{said}\n{liveness.ending}".strip())
        return result

    def _result(self, command: Command, ends: Ends) -> Result:
        channel = self._transport.open_session(timeout=self._timeout)
        try:
            return Exchange(command, channel, ends, self.closed).result()
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

    @contextmanager
    def lent(self, port: int, serve: Callable[[Tunnel], None]) -> Iterator[None]:
        """Give streams that come to `port` of the node's loopback to `serve`, each in a thread, at most one port at a
        time; they end with the context. Raises RemoteError where the node refuses."""
        transport, liveness, streams = self._transport, self._liveness, list[paramiko.Channel]()

        def took(channel: paramiko.Channel, *_: object) -> None:
            streams.append(channel)
            threading.Thread(target=_served, args=(channel, serve), name=f"{self.node.host} lent", daemon=True).start()

        with liveness.asking if liveness else nullcontext():
            try:
                transport.request_port_forward(LOOPBACK, port, took)
            except (paramiko.SSHException, OSError, EOFError) as error:
                hint = "its sshd must allow remote forwarding (AllowTcpForwarding), and the port must be free"
                raise RemoteError(f"port {port} cannot be forwarded to this machine: {_text(error)}", hint) from None
        try:
            yield
        finally:
            with liveness.asking if liveness else nullcontext(), suppress(paramiko.SSHException, OSError, EOFError):
                transport.cancel_port_forward(LOOPBACK, port)
            for channel in streams:
                channel.close()


def _served(channel: paramiko.Channel, serve: Callable[[Tunnel], None]) -> None:
    channel.settimeout(LENT_SILENCE)
    try:
        serve(Tunnel(channel))
    finally:
        channel.close()


class Tunnel:
    """A channel with what is asked of a socket, also by `http.client`; paramiko's own files cannot peek."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self.sendall, self.recv, self.close, self._channel = channel.sendall, channel.recv, channel.close, channel

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


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__


def _hold_to_known_hosts(connection: Any, known: Path) -> None:
    """Fabric trusts unknown hosts unless it is told not to, the jump hosts of ~/.ssh/config (ProxyJump) among them."""
    while isinstance(connection, fabric.Connection):
        if known.exists():
            connection.client.load_host_keys(str(known))
        connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        connection = connection.gateway


def _translated(node: Node, error: Exception) -> RemoteError:
    """What a failed login means, and what mends it."""
    text = _text(error)
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
