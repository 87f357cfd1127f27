"""Blobs on their way from one repository to another, told as they go. Puts no manifest: that comes last of all."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial

from deploy.event import Event, Note, Progress
from deploy.registry.manifest import Descriptor, Manifest
from deploy.registry.repository import Opened, Repository

TICK = 0.25
"""Seconds between two words on how far it is."""


class Meter:
    """A task of so many bytes, and how fast it goes."""

    def __init__(self, task: str, total: int) -> None:
        self._task, self._total = task, total
        self.done = 0
        self._began = time.monotonic()

    def progress(self, under_way: int = 0) -> Progress:
        """`under_way`: bytes of a blob that is not there yet."""
        at = self.done + under_way
        return Progress(self._task, at, self._total, rate=at / max(time.monotonic() - self._began, 1e-3))


def copied(source: Repository, target: Repository, manifest: Manifest) -> Generator[Event, None, int]:
    """Have all blobs of a manifest in the target; returns the bytes that went through here. Raises RegistryError.

    One after the other: side by side they would share the line, and registries end an upload that takes too long.
    """
    blobs = list({one.digest: one for one in (*manifest.layers, manifest.config)}.values())
    missing = [blob for blob in blobs if not _there(source, target, blob)]
    size = sum(blob.size for blob in missing)
    yield Note(f"{target} has {len(blobs) - len(missing)} of {len(blobs)} blobs; {size / 1e6:.1f} MB are missing")
    meter = Meter(f"copying {manifest.digest[7:19]}", size)
    for blob in missing:
        yield from sent(target, blob, partial(_read, source, blob), meter)
    return size


def _there(source: Repository, target: Repository, blob: Descriptor) -> bool:
    if target.has(blob.digest):
        return True
    return source.registry.host == target.registry.host and target.mount(blob.digest, source.name)


def sent(target: Repository, blob: Descriptor, opened: Opened, task: Meter | str) -> Generator[Event, None, None]:
    """Send one blob that the target lacks, with its progress. Raises RegistryError."""
    meter = Meter(task, blob.size) if isinstance(task, str) else task
    count = _Count(opened)
    with ThreadPoolExecutor(1, "upload") as pool:
        sending: Future[None] = pool.submit(target.upload, blob, count.opened)
        try:
            while not wait((sending,), TICK).done:
                yield meter.progress(count.at)
        finally:
            # Whoever ends this generator early ends the upload too.
            count.ended.set()
    sending.result()
    meter.done += blob.size
    yield meter.progress()


class _EndedError(Exception):
    """Nobody waits for this upload any more."""


class _Count:
    """Content that counts how much of it was taken, and ends where nobody waits for it."""

    def __init__(self, opened: Opened) -> None:
        self._opened, self.at, self.ended = opened, 0, threading.Event()

    def opened(self) -> Iterator[bytes]:
        self.at = 0
        for piece in self._opened():
            if self.ended.is_set():
                raise _EndedError
            yield piece
            self.at += len(piece)


def _read(source: Repository, blob: Descriptor) -> Iterator[bytes]:
    return source.blob(blob.digest, blob.size).pieces()
