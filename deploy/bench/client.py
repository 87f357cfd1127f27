"""The home of HTTP that is measured: one request, whole or streamed, with a time for every piece; parses nothing.

While an answer streams, a piece costs a read, a clock and two appends. What goes wrong is a value, never an exception.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from deploy.errors import ConfigError

CHAT = "/v1/chat/completions"
PIECE = 1 << 16
SHOWN = 300
"""Characters of a refusal that are kept."""
BUSY = 0.8
"""Share of one core above which Python's own work may have delayed a stamp: its threads share one."""


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
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"--url {self.url}: is no URL of a server", "give one such as http://10.0.0.11:30000")

    @property
    def base(self) -> str:
        """The path before /v1, for a server behind another; an OpenAI base URL may name /v1 itself."""
        return urlsplit(self.url).path.rstrip("/").removesuffix("/v1")


@dataclass(frozen=True)
class Raw:
    """What came of a request: bytes with the seconds since it was sent, and what that cost this side.

    `cpu`: CPU seconds of the reading thread since the headers came; `busy`: the process's share of a core meanwhile.
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


def request(target: Target, path: str, body: Any = None, method: str = "") -> Raw:
    """Send a request and take all of its answer; `method` is POST where there is a body, else GET."""
    told = None if body is None else json.dumps(body).encode()
    try:
        connection = _connection(target)
    except OSError as error:
        return Raw(failure=Failure("refused", _text(error)))
    try:
        asked = (method or ("GET" if told is None else "POST"), target.base + path, told)
        return _exchange(connection, asked, _headers(target))
    finally:
        connection.close()


def _exchange(connection: http.client.HTTPConnection, asked: tuple[str, str, bytes | None], headers: Any) -> Raw:
    """The clock starts when the first byte is sent: the connection is there by then."""
    stamps: list[float] = []
    pieces: list[bytes] = []
    status, failure, cpu, began = 0, None, time.thread_time(), (time.perf_counter(), time.process_time())
    sent = began[0]
    try:
        connection.request(*asked, headers)
        response = connection.getresponse()
        status, cpu, began = response.status, time.thread_time(), (time.perf_counter(), time.process_time())
        _take(response, stamps, pieces)
    except (OSError, http.client.HTTPException) as error:
        failure = _failure(error, connection.timeout, len(pieces))
    ended, used = time.perf_counter(), time.process_time()
    return Raw(
        status,
        tuple(stamp - sent for stamp in stamps),
        tuple(pieces),
        ended - sent,
        time.thread_time() - cpu,
        (used - began[1]) / max(ended - began[0], 1e-9),
        failure or _refusal(status, pieces),
    )


def _take(response: http.client.HTTPResponse, stamps: list[float], pieces: list[bytes]) -> None:
    """An HTTP chunk at a time where there are chunks, else what has come."""
    clock, read, stamp, keep = time.perf_counter, response.read1, stamps.append, pieces.append
    while piece := read(PIECE):
        stamp(clock())
        keep(piece)


def _failure(error: Exception, patience: float | None, pieces: int) -> Failure:
    if isinstance(error, TimeoutError):
        return Failure("stalled", f"no byte for {patience:g} s after {pieces} chunks")
    what = "the connection ended" if isinstance(error, http.client.HTTPException | ConnectionError) else _text(error)
    return Failure("cut", f"{what} after {pieces} chunks")


def _refusal(status: int, pieces: list[bytes]) -> Failure | None:
    if status < 400:
        return None
    said = b"".join(pieces).decode(errors="replace").strip()
    return Failure("status", f"{status} {http.client.responses.get(status, '')}: {said[:SHOWN]}")


def _connection(target: Target) -> http.client.HTTPConnection:
    parts = urlsplit(target.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(str(parts.hostname), parts.port, timeout=target.patience)
    if target.dial:
        connection.sock = target.dial(target.patience)
    else:
        connection.connect()
    return connection


def _headers(target: Target) -> dict[str, str]:
    kind = {"Content-Type": "application/json"}
    return kind | ({"Authorization": f"Bearer {target.key}"} if target.key else {})


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
