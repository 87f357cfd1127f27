"""One layer of a base, read as a stream of a tar up to where enough is found. Fetches nothing."""

from __future__ import annotations

import gzip
import io
import posixpath
import re
import tarfile
import zlib
from collections.abc import Callable, Generator
from typing import IO, cast

from deploy.errors import BuildError
from deploy.image.base.sight import File, Sight, Wanted

PACKAGE = "nvidia_nccl_cu13"
_GZIPPED = ("+gzip", ".gzip")
_PLAIN = (".tar", ".diff")
_PIECE = 1 << 16
OFTEN = 32 << 20
"""Bytes between two words on how far it is."""


class Looking:
    """A layer under way: takes each entry of its tar, and keeps what is wanted."""

    def __init__(self, wanted: Wanted, layer: str) -> None:
        self.sight = Sight()
        self._layer, self._paths = layer, wanted.paths
        self._folders = frozenset(wanted.folders)
        self._stems = frozenset((posixpath.dirname(one), _stem(one)) for one in wanted.paths)
        self._nccl = re.compile(rf"(.*/{PACKAGE}-[^/]+\.dist-info)(?:/|$)")

    def take(self, entry: tarfile.TarInfo, read: Callable[[], bytes]) -> None:
        path = posixpath.normpath(entry.name).lstrip("/")
        name = posixpath.basename(path)
        if name.startswith(".wh."):
            self._taken_away(posixpath.dirname(path), name.removeprefix(".wh."))
        elif path in self._paths:
            self._wanted(path, entry, read)
        elif name.endswith(".pyc"):
            self._compiled(path, name)
        else:
            self._place(path, entry)

    def _taken_away(self, folder: str, name: str) -> None:
        if name == ".wh..opq":
            self.sight.emptied.add(folder)
        elif not name.startswith(".wh."):
            self.sight.hidden.add(f"{folder}/{name}".lstrip("/"))

    def _wanted(self, path: str, entry: tarfile.TarInfo, read: Callable[[], bytes]) -> None:
        if entry.isreg():
            self.sight.files[path] = File(read(), entry.mode & 0o777, self._layer)
        else:
            kind = f"a link to {entry.linkname}" if entry.linkname else "no plain file"
            self.sight.odd[path] = kind

    def _compiled(self, path: str, name: str) -> None:
        folder, _, cache = posixpath.dirname(path).rpartition("/")
        if cache == "__pycache__" and (folder, name.partition(".")[0]) in self._stems:
            self.sight.compiled.add(path)

    def _place(self, path: str, entry: tarfile.TarInfo) -> None:
        if entry.isdir():
            if path in self._folders:
                self.sight.folders.add(path)
        elif (parent := posixpath.dirname(path)) in self._folders:
            self.sight.folders.add(parent)
        elif entry.issym() and path in ("usr/bin/python3", "usr/local/bin/python3"):
            self.sight.pythons.add(posixpath.basename(entry.linkname))
        if found := self._nccl.match(path):
            self.sight.nccl.add(found[1])


def scan(
    blob: IO[bytes], media_type: str, layer: str, wanted: Wanted, stop: Callable[[Sight], bool] = lambda _: False
) -> Generator[int, None, Sight]:
    """What the layer has, up to where `stop` says that it is enough, or whole; says now and then how many bytes were
    read. Raises BuildError."""
    looking, packed = Looking(wanted, layer), _Counted(blob)
    said = 0
    try:
        with tarfile.open(
            fileobj=opened(cast("IO[bytes]", packed), media_type, layer), mode="r|", bufsize=1 << 18
        ) as tar:
            for entry in tar:
                looking.take(entry, lambda one=entry: _content(tar, one))  # type: ignore[misc]
                if stop(looking.sight):
                    return looking.sight
                if packed.size - said > OFTEN:
                    said = packed.size
                    yield said
        while packed.read(_PIECE):
            pass  # its checksum is known at its end
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BuildError(f"layer {layer} of the base cannot be read: {error}", "mirror or pull the base anew") from None
    looking.sight.whole = True
    return looking.sight


class _Counted(io.RawIOBase):
    """Reads on, and counts."""

    def __init__(self, blob: IO[bytes]) -> None:
        self._blob, self.size = blob, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        piece = self._blob.read(size)
        self.size += len(piece)
        return piece


def opened(blob: IO[bytes], media_type: str, layer: str) -> IO[bytes]:
    """The layer's tar. Raises BuildError where it is packed in a way that is not known."""
    if media_type.endswith(_GZIPPED):
        return gzip.GzipFile(fileobj=blob, mode="rb")  # type: ignore[return-value]
    if media_type.endswith(_PLAIN):
        return blob
    raise BuildError(
        f"layer {layer} of the base is {media_type}, which is not read here", "build with --engine docker, and push"
    )


def _content(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    content = tar.extractfile(entry)
    return content.read() if content else b""


def _stem(path: str) -> str:
    return posixpath.basename(path).partition(".")[0]
