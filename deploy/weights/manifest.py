"""What one revision of a model consists of, as its hub says: files, sizes, checksums. Pure, and Python 3.10 alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Any

CHECKSUM = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
COMMIT = re.compile(r"[0-9a-f]{40}")
_OTHER_FORMATS = ("*.bin", "*.pt", "*.pth", "*.gguf", "*.onnx", "*.h5", "*.msgpack", "original/*")


@dataclass(frozen=True)
class File:
    """One file: its size in bytes, and git's SHA-1 of a small file's blob or the SHA-256 of a large one's content.

    The checksum is the file's name among the blobs of a hub's cache.
    """

    path: str
    size: int
    checksum: str


@dataclass(frozen=True)
class Manifest:
    """A model's files at one commit, in the order in which they are fetched and sent on."""

    repository: str
    commit: str
    files: tuple[File, ...]

    @property
    def blobs(self) -> tuple[File, ...]:
        """The files without those that have another's content."""
        found: dict[str, File] = {}
        for one in self.files:
            found.setdefault(one.checksum, one)
        return tuple(found.values())

    @property
    def size(self) -> int:
        return sum(one.size for one in self.blobs)

    def as_json(self) -> dict[str, Any]:
        files = [[one.path, one.size, one.checksum] for one in self.files]
        return {"repository": self.repository, "commit": self.commit, "files": files}


def manifest(told: Mapping[str, Any]) -> Manifest:
    """A manifest from its JSON. Raises ValueError where a name would lead out of the model's folder."""
    files = tuple(File(str(path), int(size), str(checksum)) for path, size, checksum in told["files"])
    found = Manifest(str(told["repository"]), str(told["commit"]), files)
    if not COMMIT.fullmatch(found.commit):
        raise ValueError(f"{found.commit!r} is no commit")
    for one in files:
        if not inside(one.path) or one.size < 0 or not CHECKSUM.fullmatch(one.checksum):
            raise ValueError(f"{one.path!r}: not a file of {one.size} bytes with the checksum {one.checksum!r}")
    return found


def inside(path: str) -> bool:
    """Whether a path stays below the folder that it is relative to."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and "\0" not in path


def needed(files: Sequence[File]) -> tuple[File, ...]:
    """What SGLang reads: of a model with safetensors, no copy of the weights in another format."""
    if not any(one.path.endswith(".safetensors") for one in files):
        return tuple(files)
    return tuple(one for one in files if not _matches(one.path, _OTHER_FORMATS))


def _matches(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(path, pattern) for pattern in patterns)
