"""Blobs on their way from one repository to another, told as they go. Puts no manifest: that comes last of all."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

from deploy.event import Event, Note, Progress
from deploy.registry.manifest import Descriptor, Manifest
from deploy.registry.repository import Opened, Repository

TICK = 0.25
"""Seconds between two words on how far it is."""


def copied(source: Repository, target: Repository, manifest: Manifest) -> Generator[Event, None, int]:
    """Have all blobs of a manifest in the target; returns the bytes that went through here. Raises RegistryError.

    One after the other: side by side they would share the line, and registries end an upload that takes too long.
    """
    moved, near = 0, source.registry.host == target.registry.host
    blobs = list({one.digest: one for one in (*manifest.layers, manifest.config)}.values())
    for place, blob in enumerate(blobs, 1):
        if target.has(blob.digest) or (near and target.mount(blob.digest, source.name)):
            continue
        moved += blob.size
        task = f"copying blob {place} of {len(blobs)}"
        yield from sent(target, blob, lambda start, blob=blob: _read(source, blob, start), task)  # type: ignore[misc]
    yield Note(f"{target} has all {len(blobs)} blobs; {moved / 1e6:.1f} MB of them came from {source}")
    return moved


def sent(target: Repository, blob: Descriptor, opened: Opened, task: str) -> Generator[Event, None, None]:
    """Send one blob that the target lacks, with its progress. Raises RegistryError."""
    count = _Count(opened)
    began = time.monotonic()
    with ThreadPoolExecutor(1, "upload") as pool:
        sending: Future[None] = pool.submit(target.upload, blob, count.opened)
        try:
            while not wait((sending,), TICK).done:
                yield _progress(task, count.at, blob.size, began)
        finally:
            # Whoever ends this generator early ends the upload too.
            count.ended.set()
    sending.result()
    yield _progress(task, blob.size, blob.size, began)


class _EndedError(Exception):
    """Nobody waits for this upload any more."""


class _Count:
    """Content that counts how much of it was taken, and ends where nobody waits for it."""

    def __init__(self, opened: Opened) -> None:
        self._opened, self.at, self.ended = opened, 0, threading.Event()

    def opened(self, start: int) -> Iterator[bytes]:
        self.at = start
        for piece in self._opened(start):
            if self.ended.is_set():
                raise _EndedError
            yield piece
            self.at += len(piece)


def _read(source: Repository, blob: Descriptor, start: int) -> Iterator[bytes]:
    return source.blob(blob.digest, blob.size, start).pieces()


def _progress(task: str, at: int, size: int, began: float) -> Progress:
    return Progress(task, at, size, rate=at / max(time.monotonic() - began, 1e-3))
