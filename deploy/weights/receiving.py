"""Takes a model's missing files from the node before this one, several at a time, and checks them while they come.

Standard library alone, Python 3.10.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from deploy.errors import WeightsError
from deploy.weights import checksum, handshake
from deploy.weights.cache import ModelCache
from deploy.weights.manifest import File, Manifest

STREAMS = 4
TRIES = 3
"""How often a file may come with a wrong checksum."""
UNHEARD = 40.0
"""Seconds without a connection after which the node before this one is taken for unreachable."""
_AGAIN = 0.3


@dataclass(frozen=True)
class Upstream:
    """The node before this one: where it listens on the fabric, and the key of this run."""

    address: str
    port: int
    key: str

    def connect(self, file: File, start: int) -> socket.socket:
        """A connection that brings the file from `start` on. Raises OSError."""
        connection = socket.create_connection((self.address, self.port), handshake.PATIENCE)
        try:
            handshake.ask(connection, self.key, file.checksum, start)
        except BaseException:
            connection.close()
            raise
        return connection


class Receiver:
    """Fetches what is missing; `fail` is told the first error, in another thread."""

    def __init__(
        self, cache: ModelCache, manifest: Manifest, source: Upstream, fail: Callable[[Exception], None]
    ) -> None:
        self._cache, self._source, self._fail = cache, source, fail
        self._todo: queue.SimpleQueue[File] = queue.SimpleQueue()
        for one in manifest.blobs:
            if not cache.whole(one, manifest.commit):
                self._todo.put(one)
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(STREAMS)]

    def start(self) -> None:
        self._cache.blobs.mkdir(parents=True, exist_ok=True)
        for one in self._threads:
            one.start()

    @property
    def done(self) -> bool:
        """Every file came, and is right."""
        return not any(one.is_alive() for one in self._threads)

    def _work(self) -> None:
        try:
            while True:
                self._fetch(self._todo.get_nowait())
        except queue.Empty:
            pass
        except Exception as error:
            self._fail(error)

    def _fetch(self, file: File) -> None:
        path = self._cache.part(file)
        for _ in range(TRIES):
            if self._received(file, path):
                self._cache.keep(file, path)
                return
            path.unlink()
            # The node before this one is finding the same.
            time.sleep(1)
        what = f"{file.path}: what {self._source.address} sends has not the checksum that the hub tells"
        raise WeightsError(what, "`model verify` says which node has a bad file, `model fetch --verify` replaces it")

    def _received(self, file: File, path: Path) -> bool:
        """Receive the rest of a file; whether its checksum is right."""
        if path.exists() and path.stat().st_size > file.size:
            path.unlink()
        path.touch()
        found = checksum.begin(file)
        have, until = checksum.feed(found, path), time.monotonic() + UNHEARD
        with path.open("ab", buffering=0) as out:
            while have < file.size:
                connection = self._connected(file, have, until)
                if connection:
                    have += _stream(connection, file.size - have, out, found)
                    until = time.monotonic() + UNHEARD
                if have < file.size:
                    time.sleep(_AGAIN)
        return bool(found.hexdigest() == file.checksum)

    def _connected(self, file: File, start: int, until: float) -> socket.socket | None:
        """None where it is not there yet. Raises WeightsError once it is too late for that."""
        try:
            return self._source.connect(file, start)
        except OSError as error:
            if time.monotonic() < until:
                return None
            where = f"{self._source.address}, TCP port {self._source.port}"
            hint = "let it through between the nodes' fabric addresses"
            raise WeightsError(f"no connection to {where}: {error}", hint) from None


def _stream(connection: socket.socket, wanted: int, out: IO[bytes], found: Any) -> int:
    """What one connection brings, until it breaks or has brought all that is wanted; bytes of it."""
    count, buffer = 0, memoryview(bytearray(checksum.PIECE))
    with connection:
        while count < wanted:
            size = _heard(connection, buffer[: wanted - count])
            if not size:
                break
            _write(out, buffer[:size])
            found.update(buffer[:size])
            count += size
    return count


def _heard(connection: socket.socket, buffer: memoryview) -> int:
    """How many bytes came; 0 where the connection is over, however it ended."""
    try:
        return connection.recv_into(buffer)
    except OSError:
        return 0


def _write(out: IO[bytes], piece: memoryview) -> None:
    while piece:
        piece = piece[out.write(piece) :]
