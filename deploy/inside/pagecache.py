"""Gives back the page cache of a model's shards while they load: on unified memory it is taken from the GPU's.

Runs in the rank's container and needs no root: `python3 -m deploy.inside.pagecache MODEL`, until its input ends. Prints
JSON, a line a round: `files`, and the machine's page cache in bytes, `before` and `after`. What a process maps stays.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

EVERY = 5.0
SUFFIXES = (".safetensors", ".bin", ".pt", ".gguf")
MEMINFO = Path("/proc/meminfo")


def shards(model: str, hub: Path) -> list[Path]:
    """The weight files of a model: of a folder, or of every snapshot of a hub's name below `hub`; each file once."""
    folder = Path(model)
    homes = [folder] if folder.is_dir() else (hub / f"models--{model.replace('/', '--')}").glob("snapshots/*")
    files = (file for home in homes for file in home.iterdir() if file.suffix in SUFFIXES and file.is_file())
    return sorted({file.resolve() for file in files})


def cached(meminfo: Path = MEMINFO) -> int:
    """Bytes of the machine's memory that are page cache."""
    rows = (line.split() for line in meminfo.read_text().splitlines())
    return next(int(row[1]) for row in rows if row[0] == "Cached:") * 1024


def release(file: Path) -> None:
    """Let the kernel drop what it keeps of a file. Raises OSError."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def one_round(files: Iterable[Path]) -> dict[str, int]:
    """Release every file; how many there are, and the machine's page cache before and after, in bytes.

    What a file itself has there is not asked for: that takes seconds for a model of this size.
    """
    before, count = cached(), 0
    for file in files:
        release(file)
        count += 1
    return {"files": count, "before": before, "after": cached()}


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
