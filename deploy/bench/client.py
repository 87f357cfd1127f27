"""The home of HTTP that is measured: one request, whole or streamed, with a time for every piece; parses nothing.

While an answer streams, a piece costs one system call, a clock and two appends. What goes wrong is a value, never an
exception.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import SplitResult, urlsplit

from deploy.bench.framing import Framed, framed
from deploy.errors import ConfigError

CHAT = "/v1/chat/completions"
PIECE = 1 << 16
SHOWN = 300
"""Characters of a refusal that are kept."""
BUSY = 0.8
"""Share of one core above which Python's own work may have delayed a stamp: its threads share one."""
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Failure:
    """Why a request failed: refused, cut, stalled, status, malformed, unfinished or error (said in the stream)."""

    kind: str
    text: str


@dataclass(frozen=True)
class Target:
    """An OpenAI-compatible server. `patience`: seconds without a byte until a request counts as stalled.

    `dial`: connects to the server where its URL cannot be reached from here.
    """

    url: str
    key: str = field(default="", repr=False)
    patience: float = 300.0
    dial: Callable[[float], Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.parts.scheme not in PORTS or not self.parts.hostname:
            raise ConfigError(f"--url {self.url}: is no URL of a server", "give one such as http://10.0.0.11:30000")

    @property
    def parts(self) -> SplitResult:
        return urlsplit(self.url)

    @property
    def base(self) -> str:
        """The path before /v1, for a server behind another; an OpenAI base URL may name /v1 itself."""
        return self.parts.path.rstrip("/").removesuffix("/v1")


@dataclass(frozen=True)
class Raw:
    """What came of a request: the body's pieces with the seconds since it was sent, and what that cost this side.

    `cpu`: CPU seconds of the thread while it received; `busy`: the process's share of a core meanwhile.
    """

    status: int = 0
    stamps: tuple[float, ...] = ()
    pieces: tuple[bytes, ...] = ()
    seconds: float = 0.0
    cpu: float = 0.0
    busy: float = 0.0
    failure: Failure | None = None

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def bottleneck(self) -> bool:
        return self.busy > BUSY


@dataclass
class _Received:
    """Bytes and their times, on the clock that also says when the request was sent."""

    sent: float
    stamps: list[float] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)
    failure: Failure | None = None

    def take(self, connection: Any, patience: float) -> None:
        """Receive to the end; the server closes the connection after its answer."""
        clock, receive, stamp, keep = time.perf_counter, connection.recv, self.stamps.append, self.pieces.append
        try:
            while piece := receive(PIECE):
                stamp(clock())
                keep(piece)
        except (TimeoutError, BlockingIOError):
            self.failure = Failure("stalled", f"no byte for {patience:g} s")
        except OSError as error:
            self.failure = Failure("cut", f"the connection ended: {_text(error)}")


def request(target: Target, path: str, body: Any = None, method: str = "") -> Raw:
    """Send a request and take all of its answer; `method` is POST where there is a body, else GET."""
    told = b"" if body is None else json.dumps(body).encode()
    message = _head(target, method or ("GET" if body is None else "POST"), path, len(told)) + told
    try:
        connection = _connected(target)
    except OSError as error:
        return Raw(failure=Failure("refused", _text(error)))
    try:
        return _exchanged(connection, message, target.patience)
    finally:
        connection.close()


def _exchanged(connection: Any, message: bytes, patience: float) -> Raw:
    """The clock starts when the first byte is sent: the connection is there by then."""
    received = _Received(time.perf_counter())
    cpu, process, began = time.thread_time(), time.process_time(), received.sent
    try:
        connection.sendall(message)
        cpu, process, began = time.thread_time(), time.process_time(), time.perf_counter()
        received.take(connection, patience)
    except OSError as error:
        received.failure = Failure("cut", f"the connection ended while the request was sent: {_text(error)}")
    ended = time.perf_counter()
    costs = Raw(cpu=time.thread_time() - cpu, busy=(time.process_time() - process) / max(ended - began, 1e-9))
    return replace(_read(received), seconds=ended - received.sent, cpu=costs.cpu, busy=costs.busy)


def _read(received: _Received) -> Raw:
    """Status and body of what was received, or why there are none."""
    try:
        found = framed([stamp - received.sent for stamp in received.stamps], received.pieces)
    except ValueError as error:
        return Raw(failure=received.failure or Failure("malformed", f"the answer is no HTTP: {error}"))
    if found is None:
        return Raw(failure=received.failure or Failure("cut", "the connection ended before an answer"))
    failure = _after(received.failure, found) or _refusal(found)
    return Raw(found.status, found.stamps, found.pieces, failure=failure)


def _after(failure: Failure | None, found: Framed) -> Failure | None:
    """What ended an answer before its end, and after how much of it."""
    if failure or not found.whole:
        what = failure or Failure("cut", "the connection ended")
        return replace(what, text=f"{what.text} after {len(found.pieces)} chunks")
    return None


def _refusal(found: Framed) -> Failure | None:
    if found.status < 400:
        return None
    known = {one.value: one.phrase for one in HTTPStatus}
    said = b"".join(found.pieces).decode(errors="replace").strip()
    return Failure("status", f"{found.status} {known.get(found.status, '')}: {said[:SHOWN]}")


def _connected(target: Target) -> Any:
    """A socket on which a `recv` is one system call: a timeout of Python's own would poll before each."""
    if target.dial:
        return target.dial(target.patience)
    parts = target.parts
    host = str(parts.hostname)
    connection = socket.create_connection((host, parts.port or PORTS[parts.scheme]), target.patience)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if parts.scheme == "https":
        return ssl.create_default_context().wrap_socket(connection, server_hostname=host)
    connection.settimeout(None)
    seconds, rest = divmod(target.patience, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(seconds), int(rest * 1e6)))
    return connection


def _head(target: Target, method: str, path: str, length: int) -> bytes:
    lines = [f"{method} {target.base}{path} HTTP/1.1", f"Host: {target.parts.netloc.rpartition('@')[2]}"]
    lines += ["Connection: close", "Accept: */*", "Content-Type: application/json", f"Content-Length: {length}"]
    lines += [f"Authorization: Bearer {target.key}"] if target.key else []
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
