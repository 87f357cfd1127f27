"""A registry of one image, read-only, spoken over any stream. Listens nowhere itself."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any, BinaryIO, Protocol

from deploy.delivery import archive
from deploy.delivery.depot import Depot, LostError
from deploy.delivery.parcel import Parcel

ROUTE = re.compile(r"/v2/.+/(?P<kind>manifests|blobs)/(?P<digest>sha256:[0-9a-f]{64})")
ARCHIVE = re.compile(r"/archive/(?P<layer>\d{1,4})")
BYTES = "application/octet-stream"
TOGETHER = 1 << 15
"""Bytes that fit into one packet of SSH."""


class Stream(Protocol):
    """What is asked of a connection."""

    def makefile(self, mode: str) -> BinaryIO: ...
    def sendall(self, data: bytes, /) -> Any: ...


@dataclass
class Lent:
    """An image that is lent to one node; `sent` counts the bytes that went there."""

    parcel: Parcel
    depot: Depot
    sent: int = 0

    def answer(self, stream: Stream) -> None:
        """Answer requests until the other side is through, or the stream breaks."""
        try:
            _Handler(stream, ("node", 0), self)  # type: ignore[arg-type]
        except (OSError, EOFError, LostError):
            return  # the engine asks for the rest again, or says what is wrong


@dataclass(frozen=True)
class _Content:
    kind: str
    size: int
    pieces: Iterator[bytes]
    start: int = 0
    packed: bool = False


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Lent  # type: ignore[assignment]

    def setup(self) -> None:
        self.rfile = self.request.makefile("rb")
        self.wfile = _Counted(self.request, self.server)  # type: ignore[assignment]

    def finish(self) -> None:
        self.rfile.close()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nobody reads along."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        found = self._found()
        if found is None:
            self._head(404, {"Content-Type": "application/json", "Content-Length": "2"})
            self.wfile.write(b"{}" if body else b"")
            return
        left = found.size - found.start
        headers = {"Content-Type": found.kind, "Content-Length": str(left)}
        headers |= {"Content-Encoding": "gzip"} if found.packed else {}
        headers |= {"Content-Range": f"bytes {found.start}-{found.size - 1}/{found.size}"} if found.start else {}
        self._head(206 if found.start else 200, headers)
        for piece in found.pieces if body else ():
            self.wfile.write(piece)

    def send_error(self, *_: object, **__: object) -> None:
        """What is no request gets no answer: an engine tries TLS first, and takes the end for a no."""
        self.close_connection = True

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _start(self) -> int:
        """Where an engine wants to go on."""
        found = re.fullmatch(r"bytes=(\d+)-\d*", self.headers.get("Range", ""))
        return int(found[1]) if found else 0

    def _found(self) -> _Content | None:
        if self.path.rstrip("/") == "/v2":
            return _Content("application/json", 2, iter((b"{}",)))
        if route := ARCHIVE.fullmatch(self.path):
            return self._archive(int(route["layer"]))
        route = ROUTE.fullmatch(self.path)
        if not route:
            return None
        return (self._manifest if route["kind"] == "manifests" else self._blob)(route["digest"])

    def _archive(self, layer: int) -> _Content:
        parcel, read = self.server.parcel, self.server.depot.read
        return _Content("application/x-tar", archive.size(parcel, layer), archive.pieces(parcel, layer, read))

    def _manifest(self, digest: str) -> _Content | None:
        found = next((one for one in self.server.parcel.manifests if one.digest == digest), None)
        return self._text(found.media_type, found.raw) if found else None

    def _blob(self, digest: str) -> _Content | None:
        parcel, start = self.server.parcel, self._start()
        blob = parcel.blobs.get(digest)
        if blob is None or start >= blob.size:
            return None
        if digest == parcel.manifest.config.digest and not start:
            return self._text(BYTES, parcel.config)
        return _Content(BYTES, blob.size, self.server.depot.read(blob, start), start)

    def _text(self, kind: str, text: bytes) -> _Content:
        """JSON, packed for whoever takes it so: beside a small layer it is much."""
        accepted = "gzip" in self.headers.get("Accept-Encoding", "")
        sent = gzip.compress(text) if accepted else text
        return _Content(kind, len(sent), iter((sent,)), packed=accepted)


class _Counted:
    """What goes to the node, counted; small writes go together."""

    closed = False

    def __init__(self, stream: Stream, lent: Lent) -> None:
        self._stream, self._lent, self._held = stream, lent, bytearray()

    def write(self, data: bytes) -> int:
        self._held += data
        if len(self._held) >= TOGETHER:
            self.flush()
        return len(data)

    def flush(self) -> None:
        self._stream.sendall(bytes(self._held))
        self._lent.sent += len(self._held)
        self._held.clear()
