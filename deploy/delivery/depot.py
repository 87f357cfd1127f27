"""Blobs of one image, fetched when first asked for and kept for whoever asks next. Speaks no registry's protocol."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from deploy.errors import DeployError
from deploy.registry.manifest import Descriptor

Fetch = Callable[[Descriptor], Iterator[bytes]]
PIECE = 1 << 18


class LostError(Exception):
    """The blob cannot be had any further; why is among the depot's troubles."""


class Depot:
    """`folder` holds what was fetched, in files without a name, so that nothing is left of a process that was killed.

    Several readers of a blob share one fetch, and read on while it goes on.
    """

    def __init__(self, fetch: Fetch, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._fetch, self._folder = fetch, folder
        self._shelves: dict[str, _Shelf] = {}
        self._lock = threading.Lock()
        self.troubles: list[str] = []

    def read(self, blob: Descriptor, start: int = 0) -> Iterator[bytes]:
        """A blob from a byte on. Raises LostError where it breaks off."""
        return self._shelf(blob).read(start)

    def _shelf(self, blob: Descriptor) -> _Shelf:
        with self._lock:
            shelf = self._shelves.get(blob.digest)
            if shelf is None or shelf.lost:
                shelf = self._shelves[blob.digest] = _Shelf(blob.size, self._folder)
                threading.Thread(target=self._fill, args=(shelf, blob), name="depot", daemon=True).start()
            return shelf

    def _fill(self, shelf: _Shelf, blob: Descriptor) -> None:
        try:
            for piece in self._fetch(blob):
                if not shelf.take(piece):
                    return
            shelf.end()
        except (DeployError, OSError) as error:
            self.troubles.append(getattr(error, "message", "") or str(error))
            shelf.end()

    def close(self) -> None:
        """Give everything back; readers that are left end."""
        with self._lock:
            for shelf in self._shelves.values():
                shelf.close()


class _Shelf:
    """One blob, as far as it has come."""

    def __init__(self, size: int, folder: Path) -> None:
        self._size, self._there, self._over = size, 0, False
        self._more = threading.Condition()
        self._file: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by close

    @property
    def lost(self) -> bool:
        return self._over and self._there < self._size

    def take(self, piece: bytes) -> bool:
        """Keep the next piece; False once nobody wants more."""
        with self._more:
            if self._over:
                return False
            self._file.write(piece)
            self._file.flush()
            self._there += len(piece)
            self._more.notify_all()
            return True

    def end(self) -> None:
        with self._more:
            self._over = True
            self._more.notify_all()

    def close(self) -> None:
        self.end()
        with self._more:
            self._file.close()

    def read(self, at: int) -> Iterator[bytes]:
        while at < self._size:
            piece = self._next(at)
            yield piece
            at += len(piece)

    def _next(self, at: int) -> bytes:
        with self._more:
            self._more.wait_for(lambda: self._there > at or self._over)
            if self._there <= at or self._file.closed:
                raise LostError
            return os.pread(self._file.fileno(), min(PIECE, self._there - at), at)
