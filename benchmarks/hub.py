"""A stand-in for a model hub: the paths and headers that huggingface_hub asks for, a model of random bytes, and faults.

It is no hub: it has one repository at one commit, and no Xet storage. What it says and sends is made up, and so small.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = hashlib.sha1(b"the one commit").hexdigest()
LARGE = 1 << 16
"""Bytes from which a file is kept apart from git (LFS), with a SHA-256 of its content."""
_PIECE = 1 << 16


@dataclass(frozen=True)
class Content:
    """One file of the repository."""

    data: bytes

    @property
    def large(self) -> bool:
        return len(self.data) >= LARGE

    @property
    def checksum(self) -> str:
        if self.large:
            return hashlib.sha256(self.data).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()

    def as_json(self, path: str) -> dict[str, Any]:
        told: dict[str, Any] = {
            "rfilename": path,
            "size": len(self.data),
            "blobId": hashlib.sha1(self.data).hexdigest(),
        }
        if self.large:
            return {**told, "lfs": {"sha256": self.checksum, "size": len(self.data), "pointerSize": 134}}
        return {**told, "blobId": self.checksum}


def model(shards: int, size: int, seed: int = 1) -> dict[str, Content]:
    """A model's files: shards of `size` random bytes each, their index, and a config.json."""
    names = [f"model-{at:05d}-of-{shards:05d}.safetensors" for at in range(1, shards + 1)]
    weights = {f"model.layers.{at}.weight": name for at, name in enumerate(names)}
    index = {"metadata": {"total_size": shards * size}, "weight_map": weights}
    draw = random.Random(seed)
    return {
        "config.json": Content(json.dumps({"architectures": ["None"], "model_type": "random"}).encode()),
        "model.safetensors.index.json": Content(json.dumps(index).encode()),
        "README.md": Content(b"Random bytes, for tests.\n"),
        "pytorch_model.bin": Content(b"the same in another format" * 8192),
        "extra/empty.txt": Content(b""),
        **{name: Content(draw.randbytes(size)) for name in names},
    }


@dataclass
class Hub:
    """What it has, whom it lets in, how fast it is, and its faults, each of which may be set at any time.

    `rate` is in bytes/s over all connections (0: no limit); `status` answers everything; `wrong` and `cut` count down:
    so many downloads come with a wrong byte, or break in the middle.
    """

    files: dict[str, Content]
    repository: str = "lab/random"
    token: str = ""
    rate: float = 0
    status: int = 0
    wrong: int = 0
    cut: int = 0
    sent: int = 0
    requests: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _due: float = 0

    def take(self, name: str) -> bool:
        """Count a fault down; whether it is to happen now."""
        with self.lock:
            left = getattr(self, name)
            setattr(self, name, max(left - 1, 0))
            return bool(left)

    def pace(self, size: int) -> None:
        """Wait as long as the rate wants for so many bytes."""
        with self.lock:
            self.sent += size
            if self.rate:
                self._due = max(self._due, time.monotonic()) + size / self.rate
            wait = self._due - time.monotonic()
        if self.rate and wait > 0:
            time.sleep(wait)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, path = self.hub, self.path.partition("?")[0].strip("/")
        hub.requests.append(f"{self.command} {path}")
        if hub.status:
            return self._error(hub.status)
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self._error(401, "GatedRepo")
        about = f"api/models/{hub.repository}/revision/"
        if path.startswith(about):
            return self._about(path.removeprefix(about))
        repository, _, rest = path.partition("/resolve/")
        commit, _, name = rest.partition("/")
        if repository == hub.repository and commit == COMMIT and name in hub.files:
            return self._file(hub.files[name])
        return self._error(404, "EntryNotFound" if repository == hub.repository else "RepoNotFound")

    def _error(self, status: int, code: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()

    def _about(self, revision: str) -> None:
        if revision not in ("main", COMMIT):
            return self._error(404, "RevisionNotFound")
        siblings = [one.as_json(path) for path, one in sorted(self.hub.files.items())]
        text = json.dumps({"id": self.hub.repository, "sha": COMMIT, "siblings": siblings}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
        return None

    def _file(self, content: Content) -> None:
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        size = len(content.data)
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-Etag" if content.large else "ETag", f'"{content.checksum}"')
        self.send_header("X-Linked-Size", str(size))
        self.send_header("Content-Length", str(size - start))
        self.send_header("Accept-Ranges", "bytes")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.end_headers()
        if self.command == "GET":
            self._send(content, start)

    def _send(self, content: Content, start: int) -> None:
        data = content.data
        if content.large and self.hub.take("wrong"):
            data = data[:-1] + bytes([data[-1] ^ 1])
        end = (start + len(data)) // 2 if content.large and self.hub.take("cut") else len(data)
        for at in range(start, end, _PIECE):
            piece = data[at : min(at + _PIECE, end)]
            self.hub.pace(len(piece))
            self.wfile.write(piece)
        if end < len(data):
            self.close_connection = True


@contextlib.contextmanager
def serving(hub: Hub, address: str, port: int = 0) -> Iterator[str]:
    """The hub on an address of this machine; its URL, for HF_ENDPOINT."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer((address, port), handler)
    server.daemon_threads = True
    # A reader that is gone is no news here.
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://{address}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
