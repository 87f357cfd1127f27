"""Hands a model's files on while they still grow here; a file's last byte once its checksum is right.

So the nodes of a chain receive at the same time, and none takes for whole what the one before it found wrong.
Standard library alone, Python 3.10.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from contextlib import suppress
from pathlib import Path

from deploy.weights import handshake
from deploy.weights.cache import ModelCache
from deploy.weights.manifest import File, Manifest

LOOK_EVERY = 0.02
_AT_ONCE = 32 << 20


class Sender:
    """Answers whoever knows the key, a thread for each connection, for as long as the process lives."""

    def __init__(self, cache: ModelCache, manifest: Manifest, key: str) -> None:
        self._cache, self._commit, self._key = cache, manifest.commit, key
        self._files = {one.checksum: one for one in manifest.blobs}

    def serve(self, server: socket.socket) -> None:
        """Take connections until the socket is closed."""
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        # Whoever asked in vain asks again; a stranger gets nothing.
        with connection, suppress(OSError, ValueError, KeyError):
            checksum, start = handshake.asked(connection, self._key)
            self._send(connection, self._files[checksum], start)

    def _send(self, connection: socket.socket, file: File, start: int) -> None:
        while start < file.size:
            path = self._growing(connection, file, start)
            with path.open("rb", buffering=0) as content:
                start = self._follow(connection, content.fileno(), file, start)

    def _growing(self, connection: socket.socket, file: File, start: int) -> Path:
        """Where the file is, once it has more than `start` bytes to give. Raises ConnectionError."""
        while True:
            whole = self._cache.whole(file, self._commit)
            if whole:
                return whole
            for path in self._cache.parts(file):
                with suppress(OSError):
                    if min(path.stat().st_size, file.size - 1) > start:
                        return path
            # Nothing is said at this end, so what can be read is the end of the other node's.
            if select.select([connection], [], [], LOOK_EVERY)[0]:
                raise ConnectionError("nobody waits for it any more")

    def _follow(self, connection: socket.socket, handle: int, file: File, start: int) -> int:
        """Send what an open file has, as far as it may be sent; up to where that was."""
        found = os.fstat(handle)
        if not found.st_nlink:
            return start
        right = self._cache.whole(file, self._commit) is not None
        end = min(found.st_size, file.size if right else file.size - 1)
        while start < end:
            start += os.sendfile(connection.fileno(), handle, start, min(end - start, _AT_ONCE))
        return start
