"""Gives back the page cache of a model's shards while they load: on unified memory it is taken from the GPU's.

Runs in the rank's container and needs no root: `python3 -m deploy.inside.pagecache MODEL`, until its input ends. Prints
JSON, a line a round: `files`, and bytes of them in the page cache, `before` and `after`. What a process maps stays.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import select
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

EVERY = 5.0
SUFFIXES = (".safetensors", ".bin", ".pt", ".gguf")
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_LIBC.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_FAILED = ctypes.c_void_p(-1).value


def shards(model: str, hub: Path) -> list[Path]:
    """The weight files of a model: of a folder, or of every snapshot of a hub's name below `hub`; each file once."""
    folder = Path(model)
    homes = [folder] if folder.is_dir() else (hub / f"models--{model.replace('/', '--')}").glob("snapshots/*")
    files = (file for home in homes for file in home.iterdir() if file.suffix in SUFFIXES and file.is_file())
    return sorted({file.resolve() for file in files})


def resident(file: Path) -> int:
    """Bytes of a file that are in the page cache. Raises OSError."""
    size = file.stat().st_size
    with file.open("rb") as handle:
        return _resident(handle.fileno(), size) if size else 0


def _resident(descriptor: int, size: int) -> int:
    # PROT_NONE: the file is mapped, and never read for it.
    address = _LIBC.mmap(None, size, 0, mmap.MAP_SHARED, descriptor, 0)
    if address == _FAILED:
        raise OSError(ctypes.get_errno(), "mmap")
    try:
        pages = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
        if _LIBC.mincore(address, size, pages):
            raise OSError(ctypes.get_errno(), "mincore")
        return sum(byte & 1 for byte in pages.raw[: len(pages)]) * mmap.PAGESIZE
    finally:
        _LIBC.munmap(address, size)


def release(file: Path) -> None:
    """Let the kernel drop what it keeps of a file. Raises OSError."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def one_round(files: Iterable[Path]) -> dict[str, int]:
    """Release each file that has something in the page cache; what was there before and after, in bytes."""
    seen = {"files": 0, "before": 0, "after": 0}
    for file in files:
        before = resident(file)
        if before:
            release(file)
        seen["files"] += 1
        seen["before"] += before
        seen["after"] += resident(file) if before else 0
    return seen


def rounds(model: str, hub: Path) -> Iterator[dict[str, int]]:
    """A round every few seconds until the input ends; files that come meanwhile are found."""
    yield one_round(shards(model, hub))
    while not select.select([sys.stdin], [], [], EVERY)[0]:
        yield one_round(shards(model, hub))
    yield one_round(shards(model, hub))


def main() -> None:
    hub = Path(os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or "~/.cache/huggingface", "hub"))
    for seen in rounds(sys.argv[1], hub.expanduser()):
        print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()
