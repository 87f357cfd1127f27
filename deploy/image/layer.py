"""One layer as a compressed tar: the same entries give the same bytes anywhere. Knows no image, reads no base."""

from __future__ import annotations

import gzip
import hashlib
import io
import posixpath
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import IO

FORM = 1
"""Counts up where the same entries give other bytes than before, so that no cache hands out old ones."""
LEVEL = 6
_PIECE = 1 << 20


@dataclass(frozen=True)
class Entry:
    """A file, or a folder where it has no content. `path` is relative to the root of the image, with slashes."""

    path: str
    mode: int
    size: int = 0
    open: Callable[[], IO[bytes]] | None = None


@dataclass(frozen=True)
class Packed:
    """What a manifest and a config say of a layer: digests as sha256:HEX, bytes once compressed."""

    digest: str
    diff_id: str
    size: int


def file(path: str, content: bytes, mode: int = 0o644) -> Entry:
    return Entry(path, mode, len(content), lambda: io.BytesIO(content))


def folder(path: str) -> Entry:
    """Only for what the base lacks: it would set mode and time of what is there."""
    return Entry(path, 0o755)


def hidden(path: str) -> Entry:
    """A file or folder of the base that the image has no more."""
    return file(posixpath.join(posixpath.dirname(path), f".wh.{posixpath.basename(path)}"), b"")


def emptied(path: str) -> tuple[Entry, Entry]:
    """A folder of which nothing remains but what this layer puts there."""
    return folder(path), file(f"{path}/.wh..wh..opq", b"")


def write(entries: Iterable[Entry], target: IO[bytes], epoch: int = 0) -> Packed:
    """Write the entries, in an order of their own; `epoch` is the time of all of them. Raises ValueError."""
    packed = _Hashed(target)
    # Neither name nor time is in its head, and GzipFile calls no system, whatever the Python.
    with gzip.GzipFile(filename="", mode="wb", compresslevel=LEVEL, fileobj=packed, mtime=0) as squeezed:
        plain = _Hashed(squeezed)
        with tarfile.open(fileobj=plain, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_PIECE) as tar:
            for entry in _in_order(entries):
                _add(tar, entry, epoch)
    return Packed(packed.digest, plain.digest, packed.size)


def _in_order(entries: Iterable[Entry]) -> list[Entry]:
    """By path, so that a folder comes before what is in it. Raises ValueError where two have one path."""
    ordered = sorted(entries, key=lambda one: one.path)
    for one, other in pairwise(ordered):
        if one.path == other.path:
            raise ValueError(f"{one.path}: twice in one layer")
    return ordered


def _add(tar: tarfile.TarFile, entry: Entry, epoch: int) -> None:
    """As root's, and of its mode nothing but the permissions."""
    head = tarfile.TarInfo(entry.path)
    head.mode, head.mtime, head.size = entry.mode & 0o777, epoch, entry.size
    if entry.open is None:
        head.type = tarfile.DIRTYPE
        tar.addfile(head)
        return
    with entry.open() as content:
        tar.addfile(head, content)


class _Hashed(io.RawIOBase):
    """Passes bytes on, with their number and SHA-256."""

    def __init__(self, target: IO[bytes] | gzip.GzipFile) -> None:
        self._target, self._sum, self.size = target, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._target.write(data)
        self._sum.update(data)
        self.size += len(data)
        return len(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._sum.hexdigest()}"
