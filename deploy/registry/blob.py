"""A blob as a file that is read once, start to end: it goes on where a connection broke, and is checked."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from deploy.errors import CutError, RegistryError
from deploy.registry.call import PIECE, Call
from deploy.registry.client import Answer, Registry
from deploy.registry.patience import Tries

STEADY = 1 << 20
"""Bytes in one go after which earlier breaks no longer count."""
AGAIN_HINT = "see the registry's log; the same command goes on with what is missing"


class Blob(io.RawIOBase):
    """`size` bytes, -1 where that is not known, from `start` on. Raises RegistryError.

    Read from 0, its last bytes come only if the checksum is right. From further on there is none to hold it to.
    """

    def __init__(self, registry: Registry, call: Call, digest: str, size: int = -1, start: int = 0) -> None:
        self._registry, self._call = registry, call
        self._digest, self._size, self._at = digest, size, start
        self._hash = None if start else hashlib.sha256()
        self._answer: Answer | None = None
        self._tries, self._since_cut = Tries(registry.patience), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._piece(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def pieces(self) -> Iterator[bytes]:
        """All of it, piece by piece."""
        with self:
            while piece := self._piece(PIECE):
                yield piece

    def close(self) -> None:
        self._drop()
        super().close()

    def _piece(self, most: int) -> bytes:
        """The next bytes, b"" at the end."""
        while self._at != self._size:
            try:
                piece = self._opened().read(most)
                if not piece and self._size >= 0:
                    raise CutError(f"{self._call.what}: it ended after {self._at} of {self._size} bytes", AGAIN_HINT)
            except CutError as error:
                self._drop()
                self._tries.after(error)
                self._since_cut = 0
                continue
            self._count(piece)
            return piece
        return b""

    def _opened(self) -> Answer:
        if self._answer is None:
            answer = self._answer = self._registry.ask(self._asked())
            if answer.status == 206:
                self._check_range(answer)
            else:
                self._check_length(answer)
                self._skip(answer)
        return self._answer

    def _asked(self) -> Call:
        if not self._at:
            return self._call
        headers = {**self._call.headers, "Range": f"bytes={self._at}-"}
        return replace(self._call, headers=headers, expected=(200, 206))

    def _check_range(self, answer: Answer) -> None:
        found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
        if not found or int(found[1]) != self._at:
            said = answer.headers.get("Content-Range")
            raise RegistryError(f"{self._call.what}: asked from byte {self._at} on, it sent {said}", "try again")

    def _check_length(self, answer: Answer) -> None:
        """Of a whole answer. What a registry says is as good as nothing where the manifest says otherwise."""
        length = int(answer.headers.get("Content-Length", "-1"))
        if self._size < 0:
            self._size = length
        if length not in (-1, self._size):
            what = f"{self._call.what}: the registry has {length} bytes where there should be {self._size}"
            raise RegistryError(what, "the image in that registry is broken; push it again")

    def _skip(self, answer: Answer) -> None:
        """A registry that knows no ranges begins anew."""
        left = self._at
        while left:
            left -= len(piece := answer.read(min(left, PIECE)))
            if not piece:
                raise CutError(f"{self._call.what}: it ended before byte {self._at}", AGAIN_HINT)

    def _count(self, piece: bytes) -> None:
        self._at += len(piece)
        self._since_cut += len(piece)
        if self._since_cut >= STEADY:
            self._tries.anew()
        if self._hash is None:
            return
        self._hash.update(piece)
        if (self._at == self._size or not piece) and f"sha256:{self._hash.hexdigest()}" != self._digest:
            what = f"{self._call.what}: what came is not what its checksum says, but sha256:{self._hash.hexdigest()}"
            raise RegistryError(what, "the registry's copy is broken, or something on the way changes it")

    def _drop(self) -> None:
        if self._answer:
            self._answer.close()
            self._answer = None
