"""A proxy before a real registry that makes faults on demand, and a token server. A stand-in for bad days, no registry.

It checks tokens as a registry does, counts the bytes of bodies each way, and keeps what it was asked.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import secrets
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PIECE = 1 << 16


@dataclass
class Fault:
    """What goes wrong with the next `times` requests that fit. One kind each:

    `status` with `headers` in place of an answer; the connection cut after `sent` bytes of the answer's body, or after
    `taken` of the request's, after a `stall` of so many seconds; one byte of the body `changed`; `delay` seconds before
    anything.
    """

    method: str
    path: str
    times: int = 1
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    sent: int = -1
    taken: int = -1
    changed: bool = False
    delay: float = 0.0
    stall: float = 0.0


@dataclass
class Asked:
    """One request, as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]


@dataclass
class Proxy:
    """`tokens`: seconds that a token is good for, 0 for no tokens at all; `login`: USER:PASSWORD of both servers."""

    backend: str
    login: str
    tokens: float = 0.0
    scheme: str = "http"
    host: str = ""
    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    received: int = 0
    given: int = 0
    granted: dict[str, tuple[float, set[str]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.method == method and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None

    def grant(self, query: dict[str, list[str]]) -> bytes:
        token = secrets.token_hex(8)
        with self.lock:
            self.granted[token] = time.monotonic() + self.tokens, set(query.get("scope", []))
        return json.dumps({"token": token, "expires_in": 300}).encode()

    def admits(self, header: str, wanted: set[str]) -> bool:
        """`wanted`: "REPOSITORY:ACTION". A token that ended is none."""
        until, scopes = self.granted.get(header.removeprefix("Bearer "), (0.0, set()))
        have = set()
        for scope in scopes:
            _, name, actions = scope.rsplit(":", 2) if scope.count(":") == 2 else ("", "", "")
            have |= {f"{name}:{action}" for action in actions.split(",")}
        return until > time.monotonic() and wanted <= have

    def count(self, method: str, path: str) -> int:
        return sum(one.method == method and bool(re.search(path, one.path)) for one in self.asked)


@contextmanager
def proxy(backend: str, login: str, tokens: float = 0.0, tls: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    """A proxy on loopback before the registry at HOST:PORT."""
    made = Proxy(backend, login, tokens, "https" if tls else "http")
    server = _Server(("127.0.0.1", 0), type("Ours", (_Handler,), {"proxy": made}))
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    made.host = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, address: object) -> None:
        """A client that drops its connection is none; anything else is."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: object) -> None:
        return

    def _any(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        self.proxy.asked.append(Asked(self.command, parts.path, query, dict(self.headers.items())))
        fault = self.proxy.next_fault(self.command, parts.path) or Fault(self.command, "")
        time.sleep(fault.delay)
        if fault.status:
            self._answer(fault.status, fault.headers)
        elif parts.path == "/token":
            self._token(query)
        elif self.proxy.tokens and not self.proxy.admits(self.headers.get("Authorization", ""), self._wanted(query)):
            challenge = f'Bearer realm="{self.proxy.scheme}://{self.proxy.host}/token",service="tests"'
            self._answer(401, {"WWW-Authenticate": challenge})
        else:
            self._forward(fault)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815

    def _wanted(self, query: dict[str, list[str]]) -> set[str]:
        found = re.match(r"/v2/(.+)/(?:manifests|blobs|tags|referrers)/", self.path)
        actions = ["pull"] if self.command in ("GET", "HEAD") and "/uploads/" not in self.path else ["pull", "push"]
        wanted = {f"{found[1]}:{action}" for action in actions} if found else set()
        return wanted | {f"{one}:pull" for one in query.get("from", [])}

    def _token(self, query: dict[str, list[str]]) -> None:
        known = "Basic " + base64.b64encode(self.proxy.login.encode()).decode()
        if self.headers.get("Authorization") != known:
            self._answer(401, {})
        else:
            self._answer(200, {"Content-Type": "application/json"}, self.proxy.grant(query))

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        # The request's body was not read.
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def _forward(self, fault: Fault) -> None:
        backend = http.client.HTTPConnection(self.proxy.backend, timeout=30)
        try:
            answer = self._sent_on(backend, fault)
            if answer is not None:
                self._given_back(answer, fault)
        except OSError:
            self._cut()
        finally:
            backend.close()

    def _sent_on(self, backend: http.client.HTTPConnection, fault: Fault) -> http.client.HTTPResponse | None:
        """The request with the registry's own login; the body as far as it may go."""
        own = {"host", "authorization", "connection"}
        backend.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in own:
                backend.putheader(name, value)
        backend.putheader("Host", self.proxy.host)
        backend.putheader("X-Forwarded-Proto", self.proxy.scheme)
        if self.proxy.tokens:
            backend.putheader("Authorization", "Basic " + base64.b64encode(self.proxy.login.encode()).decode())
        elif self.headers.get("Authorization"):
            backend.putheader("Authorization", self.headers["Authorization"])
        backend.endheaders()
        left = int(self.headers.get("Content-Length") or 0)
        most = fault.taken if fault.taken >= 0 else left
        while most and left:
            piece = self.rfile.read(min(left, most, PIECE))
            if not piece:
                break
            backend.send(piece)
            self.proxy.received += len(piece)
            left, most = left - len(piece), most - len(piece)
        if left:
            self._cut()
            return None
        return backend.getresponse()

    def _given_back(self, answer: http.client.HTTPResponse, fault: Fault) -> None:
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "date", "server", "transfer-encoding"):
                self.send_header(name, value)
        if answer.getheader("Content-Length") is None:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command == "HEAD":
            return None
        left = fault.sent
        while piece := answer.read(PIECE if left < 0 else min(PIECE, left)):
            if fault.changed:
                piece, fault.changed = bytes([piece[0] ^ 1]) + piece[1:], False
            self.wfile.write(piece)
            self.proxy.given += len(piece)
            left -= len(piece) if left > 0 else 0
            if left == 0:
                time.sleep(fault.stall)
                return self._cut()
        return None

    def _cut(self) -> None:
        """The end of the connection, in the middle of what is being said."""
        self.close_connection = True
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
